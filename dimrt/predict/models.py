"""Published models by name: their outlines, manifests without weights, so that an estimate needs no bundle."""

from pathlib import Path

import msgspec

from dimrt.bundle import Bundle
from dimrt.manifest import Manifest
from dimrt.predict.recipes import in_recipe

FOLDER = Path(__file__).parent / "models"


def model_names() -> list[str]:
    """Models whose outlines dimrt brings (`python -m dimrt.export.outline` writes them)."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def is_model(name: str | None) -> bool:
    """Whether a word names one, and no folder."""
    return name in model_names() and not Path(str(name)).exists()


def model(name: str) -> Bundle:
    """A published model as a bundle without files, in half precision."""
    manifest = msgspec.json.decode((FOLDER / f"{name}.json").read_bytes(), type=Manifest)
    return Bundle(Path(name), manifest, digest="")


def bundle_in(bundle: Bundle, recipe: str | None) -> Bundle:
    """A bundle as it would be in another recipe; None: as it is.

    Raises:
        InputError: see `dimrt.predict.recipes.in_recipe`.
    """
    if recipe is None or recipe == bundle.manifest.recipe:
        return bundle
    return Bundle(bundle.path, in_recipe(bundle.manifest, recipe), digest="")
