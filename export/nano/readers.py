"""What reads the designer's states in training, so that they hold what plan and painter need; dropped afterwards."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from dimrt.export.nano.designer import HIDDEN
from dimrt.export.nano.scenes import CELLS, Scene
from dimrt.export.nano.shapes import BACKGROUNDS, COLOURS, SHAPES, SIZES, TEXTURES

IMAGE_TOKENS = 16
CELL_TOKENS = tuple(row * 4 + column for row in (0, 1, 3) for column in (0, 1, 3))
"""Of the 4 x 4 image tokens, the one at the middle of each cell of the 3 x 3 grid (the middle itself lies between two).
"""
RECALLED = 6
"""Tokens that a hidden state of the condition gives back: its own and those before it (see `TextReader`)."""


class SceneReader(nn.Module):
    """Reads a scene off the image tokens. It only serves training: it gives the vision tower a direct reason to tell
    shapes, colours, sizes and backgrounds apart.

    Each cell is read off one token, and by one linear layer for all cells: what stands somewhere is then written in the
    same way everywhere, and the language model can learn to read it there once for all places.
    """

    def __init__(self) -> None:
        super().__init__()
        self.item_sizes = [len(table) + 1 for table in (SHAPES, COLOURS, SIZES)]
        self.background_sizes = [len(TEXTURES) + 1, len(BACKGROUNDS) + 1]
        self.item = nn.Linear(HIDDEN, sum(self.item_sizes))
        self.background = nn.Linear(HIDDEN, sum(self.background_sizes))

    def loss(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean cross entropy and accuracy over all slots. `images` [B,16,hidden], `labels` int64 [B, slots]."""
        images = images.float()
        items = self.item(images[:, CELL_TOKENS]).split(self.item_sizes, dim=2)
        background = self.background(images.mean(1)).split(self.background_sizes, dim=1)
        guesses = [part[:, cell] for cell in range(len(CELLS)) for part in items] + list(background)
        losses = [functional.cross_entropy(part, labels[:, index]) for index, part in enumerate(guesses)]
        hits = [(part.argmax(1) == labels[:, index]).float().mean() for index, part in enumerate(guesses)]
        return torch.stack(losses).mean(), torch.stack(hits).mean()


class TextReader(nn.Module):
    """Reads a condition token's own word and the words before it off its hidden state. It only serves training.

    A language model's last hidden state foretells the next word, and one as small as this forgets the present for it.
    The painter reads nothing else, so here "top left" at the end of "large red circle top left" learns to hold all.
    """

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Linear(HIDDEN, HIDDEN * RECALLED)

    def loss(self, hidden: Tensor, ids: Tensor, read: Tensor, embedding: Tensor) -> tuple[Tensor, Tensor]:
        """Mean cross entropy and accuracy over the recalled words.

        Args:
            hidden: [B, L, hidden].
            ids: int64 [B, L].
            read: bool [B, L], True where the condition's text stands (no pad, no picture).
            embedding: [vocabulary, hidden].
        """
        rows, columns = torch.nonzero(read, as_tuple=True)
        guesses = self.maps(hidden[rows, columns]).view(len(rows), RECALLED, HIDDEN)
        back = torch.arange(RECALLED, device=ids.device)
        places = (columns[:, None] - back).clamp_min(0)
        inside = read[rows[:, None], places] & (columns[:, None] >= back)
        logits = guesses[inside] @ embedding.T
        truth = ids[rows[:, None], places][inside]
        return functional.cross_entropy(logits, truth), (logits.argmax(1) == truth).float().mean()


class Readers(nn.Module):
    """What reads the designer's states during training and is dropped afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.scene, self.text = SceneReader(), TextReader()


def scene_labels(scene: Scene | None) -> list[int]:
    """Class of each slot of `SceneReader`: 0 for nothing there, else one more than the place in its table."""
    items = {item.cell: item for item in scene.items} if scene else {}
    labels: list[int] = []
    for cell in CELLS:
        item = items.get(cell)
        names = (item.shape, item.colour, item.size) if item else (None, None, None)
        for name, table in zip(names, (SHAPES, COLOURS, SIZES), strict=True):
            labels.append(list(table).index(name) + 1 if name else 0)
    background = scene.background if scene else None
    labels.append(TEXTURES.index(background.texture) + 1 if background else 0)
    labels.append(list(BACKGROUNDS).index(background.colour) + 1 if background else 0)
    return labels
