"""Pictures of the page for the documents: the real server on the nano bundle, real edits, a headless Chromium.

    python benchmarks/page_pictures.py

Writes page-light.jpg and page-phone.jpg into benchmarks/results/images/. The typeface is the machine's own.
"""

import sys
from pathlib import Path

from playwright.sync_api import Browser

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "benchmarks" / "results" / "images"
PHOTOS = ROOT / "benchmarks" / "photos"
QUALITY = 70
SETTLED = 2500
"""Milliseconds until the slider has come to rest."""

sys.path.insert(0, str(ROOT / "tests" / "serve"))
from page_harness import Visit, chromium, edit, nano_server, open_photo, wait_result  # noqa: E402


def take(browser: Browser, address: str, name: str, photo: str, instruction: str, **view: object) -> None:
    """One picture of the page with an edited photo."""
    with Visit(browser, address, **view) as page:
        open_photo(page, PHOTOS / photo)
        edit(page, instruction)
        wait_result(page, instruction)
        page.locator("#edits-title").focus()
        page.wait_for_timeout(SETTLED)
        path = IMAGES / name
        page.screenshot(path=path, type="jpeg", quality=QUALITY)
        sys.stdout.write(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1000:.0f} KB\n")


def main() -> None:
    """Both pictures."""
    with chromium() as browser, nano_server() as address:
        desk = {"viewport": {"width": 1280, "height": 760}, "device_scale_factor": 1.4}
        take(browser, address, "page-light.jpg", "coffee.jpg", "make it look like an old sepia photo", **desk)
        phone = {"viewport": {"width": 390, "height": 780}, "device_scale_factor": 2, "color_scheme": "dark",
                 "is_mobile": True, "has_touch": True}  # fmt: skip
        take(browser, address, "page-phone.jpg", "chelsea.jpg", "turn day into night", **phone)


if __name__ == "__main__":
    main()
