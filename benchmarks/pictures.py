"""The README's picture: one photo, several instructions, each result exactly as `dimrt edit` writes it.

python benchmarks/pictures.py
"""

import argparse
from pathlib import Path

import numpy as np
from common import RESULTS
from PIL import Image, ImageDraw, ImageFont

from dimrt import Editor

HERE = Path(__file__).parent
EDITS = (
    ("chelsea.jpg", "make it look like an old sepia photo"),
    ("chelsea.jpg", "turn it into night"),
    ("chelsea.jpg", "give it a cold blue tone"),
    ("coffee.jpg", "make it black and white"),
    ("coffee.jpg", "make it brighter"),
    ("coffee.jpg", "give it a faded look"),
)
WIDTH, LINE = 450, 26


def tile(pixels: np.ndarray, text: str) -> Image.Image:
    """A picture over its caption."""
    picture = Image.fromarray(pixels)
    height = round(picture.height * WIDTH / picture.width)
    board = Image.new("RGB", (WIDTH, height + LINE), "white")
    board.paste(picture.resize((WIDTH, height), Image.Resampling.LANCZOS))
    ImageDraw.Draw(board).text((4, height + 4), text, "black", ImageFont.load_default(15))
    return board


def main() -> None:
    """Edit and lay out, one row a photo: the photo itself, then its edits."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--out", type=Path, default=RESULTS / "images" / "readme.jpg")
    args = parser.parse_args()
    editor = Editor.load(args.bundle)
    rows: dict[str, list[Image.Image]] = {}
    for photo, instruction in EDITS:
        path = HERE / "photos" / photo
        row = rows.setdefault(photo, [tile(np.asarray(Image.open(path).convert("RGB")), "the photo")])
        row.append(tile(editor.edit(path, instruction).image, f"“{instruction}”"))
    height = sum(row[0].height for row in rows.values())
    board = Image.new("RGB", (WIDTH * max(map(len, rows.values())), height), "white")
    top = 0
    for row in rows.values():
        for column, picture in enumerate(row):
            board.paste(picture, (column * WIDTH, top))
        top += row[0].height
    args.out.parent.mkdir(parents=True, exist_ok=True)
    board.save(args.out, quality=88)


if __name__ == "__main__":
    main()
