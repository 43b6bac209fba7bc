"""The page for everybody: names and landmarks, narrow windows, dark and still ones."""

from collections.abc import Iterator

import pytest

pytest.importorskip("playwright", reason="the page is tested through playwright")
pytest.importorskip("starlette", reason="the page belongs to dimrt[serve]")

from page_harness import Visit, edit, open_photo, wait_result
from page_standin import StandIn
from playwright.sync_api import Browser, Page, expect

WISH = "give it evening light"
CONTROLS = "button, input, select, textarea, summary, a[href], [role=slider]"
NAMELESS = f"""() => [...document.querySelectorAll("{CONTROLS}")].filter((element) => {{
    if (!element.checkVisibility()) return false;
    const labels = [...(element.labels ?? [])].map((label) => label.textContent).join("");
    return !(element.ariaLabel || labels || element.textContent).trim();
}}).map((element) => element.outerHTML)"""
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
SMALL = """() => [...document.querySelectorAll("button")].filter((button) => {
    const box = button.getBoundingClientRect();
    return button.checkVisibility() && box.width > 0 && Math.min(box.width, box.height) < 24;
}).map((button) => button.outerHTML)"""
CONTRAST = """() => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const rgb = (colour) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
        .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, index) => sum + v * [0.2126, 0.7152, 0.0722][index], 0);
    const behind = (element) => {
        for (; element; element = element.parentElement) {
            const colour = rgb(getComputedStyle(element).backgroundColor);
            if (colour[3] === 255) return colour;
        }
        return rgb(getComputedStyle(document.body).backgroundColor);
    };
    const faint = [];
    for (const element of document.querySelectorAll("p, span, h1, h2, h3, label, button, summary")) {
        const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
        const apart = element.closest(":disabled, .frame, .plan-list li:not(.begun), .unseen");
        if (!own || !element.checkVisibility() || apart) continue;
        const [one, other] = [light(rgb(getComputedStyle(element).color)), light(behind(element))];
        const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
        if (ratio < 4.5) faint.push([element.textContent.trim().slice(0, 40), ratio]);
    }
    return faint;
}"""


def states(page: Page, server: StandIn) -> Iterator[str]:
    """The page's main states, one after the other."""
    page.get_by_role("button", name="Choose a photo").wait_for()
    yield "welcome"
    open_photo(page)
    yield "photo"
    server.hold = "paint"
    edit(page, WISH)
    expect(page.locator("#phase")).to_have_text("Painting")
    yield "busy"
    server.release.set()
    wait_result(page, WISH)
    page.get_by_text("Options").click()
    yield "result"
    page.get_by_role("button", name="Area").click()
    yield "area"
    page.get_by_text("Brush", exact=True).click()
    yield "brush"
    page.get_by_role("button", name="Done").click()
    page.get_by_role("button", name="Save", exact=True).click()
    yield "save"
    page.keyboard.press("Escape")
    server.fail = "this edit takes " + "a lot of memory and " * 12
    server.hold = None
    edit(page, "anything-" * 30)
    expect(page.locator("#notice")).to_be_visible()
    yield "error"


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_state_has_names_room_and_contrast(browser: Browser, server: StandIn, width: int, scheme: str) -> None:
    view = {"width": width, "height": 740}
    options = {"viewport": view, "color_scheme": scheme, "reduced_motion": "reduce"}
    with Visit(browser, server.address, expect_errors=True, **options) as page:
        for state in states(page, server):
            assert page.evaluate(NAMELESS) == [], state
            assert page.evaluate(OVERFLOW) == 0, state
            assert page.evaluate(SMALL) == [], state
            assert page.evaluate(CONTRAST) == [], state


def test_dark_and_light_are_what_they_say(browser: Browser, server: StandIn) -> None:
    for scheme, low, high in [("light", 200, 255), ("dark", 0, 60)]:
        with Visit(browser, server.address, color_scheme=scheme) as page:
            page.get_by_role("button", name="Choose a photo").wait_for()
            colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
            levels = [int(level) for level in colour.removeprefix("rgb(").removesuffix(")").split(",")]
            assert all(low <= level <= high for level in levels), colour


def test_the_tree_that_screen_readers_get(browser: Browser, server: StandIn) -> None:
    with Visit(browser, server.address) as page:
        open_photo(page)
        edit(page, WISH)
        wait_result(page, WISH)
        tree = page.locator("body").aria_snapshot()
        for part in (
            "- banner:",
            "- main:",
            'heading "dimrt" [level=1]',
            'region "Photo"',
            'region "Edits"',
            'region "Plan"',
            'heading "Edit Instruction" [level=3]',
            'group "Photo tools"',
            'slider "Before and after"',
            'textbox "Instruction"',
            'button "Edit"',
            'button "Undo"',
            f'button "Remove “{WISH}”"',
            'img "Your photo"',
            'img "The edited photo"',
            "- status: Done.",
        ):
            assert part in tree, f"{part} isn't in\n{tree}"


def test_phases_are_said_and_their_numbers_are_not(browser: Browser, server: StandIn) -> None:
    server.hold = "paint"
    with Visit(browser, server.address) as page:
        open_photo(page)
        edit(page, WISH)
        expect(page.get_by_role("status")).to_have_text("Painting")
        server.release.set()
        expect(page.get_by_role("status")).to_contain_text("Done")


def test_still_where_motion_is_unwanted(browser: Browser, server: StandIn) -> None:
    with Visit(browser, server.address, reduced_motion="reduce") as page:
        open_photo(page)
        server.hold = "paint"
        edit(page, WISH)
        expect(page.locator("#phase")).to_have_text("Painting")
        moving = page.evaluate(
            "document.getAnimations().filter((one) => one.effect.getTiming().iterations === Infinity).length"
        )
        assert moving == 0
        page.keyboard.press("Escape")
