"""The page in Chromium, on the real server with nano: from a photo to a saved file, by pointer and by key."""

import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="the page is tested through playwright")
pytest.importorskip("starlette", reason="the page belongs to dimrt[serve]")

from page_harness import COFFEE, COFFEE_SIZE, Visit, edit, nano_server, open_photo, wait_result
from PIL import Image, ImageChops
from playwright.sync_api import Browser, Locator, Page, expect
from serving import wait_until

SEPIA = "make it look like an old sepia photo"
WARMER = "make it warmer"


@pytest.fixture(scope="module")
def address(browser: Browser) -> Iterator[str]:
    with nano_server() as address:
        yield address


@pytest.fixture(scope="module")
def edited(browser: Browser, address: str) -> Iterator[Page]:
    """A page with a photo that was edited once; a test leaves it as it found it."""
    with Visit(browser, address, accept_downloads=True) as page:
        open_photo(page)
        edit(page, SEPIA)
        wait_result(page, SEPIA)
        yield page


def saved(page: Page, label: str) -> tuple[str, bytes]:
    """Name and bytes of the file that the menu of formats gives."""
    page.get_by_role("button", name="Save", exact=True).click()
    with page.expect_download() as download:
        page.get_by_role("dialog", name="Save at full size").get_by_role("button", name=label).click()
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


def test_the_plan_of_an_edit_is_set_in_its_five_sections(edited: Page) -> None:
    sections = edited.get_by_role("region", name="Plan").get_by_role("listitem")
    expect(sections).to_have_count(5)
    titles = [section.get_by_role("heading").inner_text() for section in sections.all()]
    assert titles == [
        "Edit Instruction",
        "Global Layout Perception",
        "Local Object Perception",
        "Edit Area Localization",
        "Edited Image Imagination",
    ]
    expect(sections.nth(0)).to_contain_text("sepia")
    assert all(section.locator("p").inner_text() for section in sections.all())


def test_the_token_is_taken_out_of_the_address(edited: Page) -> None:
    assert "#" not in edited.url


@pytest.mark.parametrize(
    ("label", "kind", "ending"), [("JPEG Small", "JPEG", "jpg"), ("PNG", "PNG", "png"), ("WebP", "WEBP", "webp")]
)
def test_the_saved_file_has_the_photos_size(edited: Page, label: str, kind: str, ending: str) -> None:
    name, data = saved(edited, label)
    assert name == f"coffee-edited.{ending}"
    picture = Image.open(io.BytesIO(data))
    assert picture.format == kind
    assert picture.size == COFFEE_SIZE
    assert (
        ImageChops.difference(picture.convert("RGB"), Image.open(COFFEE).convert("RGB")).getextrema() != ((0, 0),) * 3
    )


def test_the_slider_follows_keys_and_pointer(edited: Page) -> None:
    slider = edited.get_by_role("slider", name="Before and after")
    slider.focus()
    for key, value in [("Home", "0"), ("ArrowRight", "2"), ("PageUp", "12"), ("ArrowLeft", "10"), ("End", "100")]:
        slider.press(key)
        expect(slider).to_have_attribute("aria-valuenow", value)
    frame = edited.locator("#frame").bounding_box()
    assert frame is not None
    edited.mouse.click(frame["x"] + frame["width"] / 4, frame["y"] + frame["height"] / 2)
    expect(slider).to_have_attribute("aria-valuenow", "25")
    expect(slider).to_have_attribute("aria-valuetext", re.compile("25 %"))


@pytest.fixture(scope="module")
def large_visit(browser: Browser, address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A page with a photo of 3000 x 2000 that was edited once."""
    photo = tmp_path_factory.mktemp("large") / "large.jpg"
    Image.open(COFFEE).resize((3000, 2000)).save(photo)
    with Visit(browser, address) as page:
        open_photo(page, photo)
        edit(page, WARMER)
        wait_result(page, WARMER)
        yield page


@pytest.fixture
def large(large_visit: Page) -> Page:
    """That page with the photo fitted into the window."""
    fit = large_visit.get_by_role("button", name="Fit the photo into the window")
    if fit.is_visible():
        fit.click()
    expect(large_visit.get_by_role("button", name="Show at 100 %")).to_be_enabled()
    return large_visit


def scroll(page: Page) -> tuple[float, float]:
    left, top = page.locator("#stage").evaluate("stage => [stage.scrollLeft, stage.scrollTop]")
    return left, top


def centre(part: Locator) -> tuple[float, float]:
    box = part.bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def drag(page: Page, start: tuple[float, float], by: tuple[float, float]) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(start[0] + by[0], start[1] + by[1], steps=4)
    page.mouse.up()


def test_at_100_percent_a_pixel_of_the_photo_is_one_of_the_screens(large: Page) -> None:
    assert large.locator("#after").evaluate("picture => picture.naturalWidth") < 3000
    large.get_by_role("button", name="Show at 100 %").click()
    frame = large.locator("#frame")
    expect(frame).to_have_css("width", "3000px")
    assert large.locator("#after").evaluate("picture => picture.naturalWidth") == 3000
    large.locator("#stage").focus()
    left, top = scroll(large)
    large.keyboard.press("ArrowDown")
    wait_until(lambda: scroll(large)[1] > top)
    assert scroll(large)[0] == left
    large.keyboard.press("Escape")
    expect(frame).not_to_have_css("width", "3000px")


def test_at_100_percent_a_drag_moves_the_photo_and_the_slider_stays_in_the_window(large: Page) -> None:
    knob, stage = large.locator(".knob"), large.locator("#stage")
    large.get_by_role("button", name="Show at 100 %").click()
    expect(large.locator("#frame")).to_have_css("width", "3000px")
    before, (left, top) = centre(knob), scroll(large)
    assert before[0] == pytest.approx(centre(stage)[0], abs=12)  # less half a scroll bar
    pulled = pytest.approx((left - 100, top - 30), abs=1)
    corner = stage.bounding_box()
    assert corner is not None
    drag(large, (corner["x"] + 60, corner["y"] + 60), (100, 30))
    wait_until(lambda: scroll(large) == pulled)
    wait_until(lambda: centre(knob) == pytest.approx(before, abs=2))
    drag(large, centre(knob), (100, 0))
    wait_until(lambda: centre(knob)[0] == pytest.approx(before[0] + 100, abs=3))
    assert scroll(large) == pulled
    expect(large.get_by_role("slider")).to_be_in_viewport()


def test_a_double_click_enlarges_around_its_place_and_a_new_edit_fits_the_photo_again(large: Page) -> None:
    frame = large.locator("#frame").bounding_box()
    assert frame is not None
    large.mouse.dblclick(frame["x"] + frame["width"] * 0.25, frame["y"] + frame["height"] * 0.25)
    expect(large.locator("#frame")).to_have_css("width", "3000px")
    place = large.evaluate(
        """() => {
            const [stage, frame] = ["stage", "frame"].map((id) => document.getElementById(id));
            return (stage.scrollLeft + stage.clientWidth / 2 - frame.offsetLeft) / frame.offsetWidth;
        }"""
    )
    assert place == pytest.approx(0.25, abs=0.02)
    edit(large, SEPIA)
    expect(large.get_by_role("button", name="Show at 100 %")).to_be_visible()
    wait_result(large, SEPIA)


def test_undo_and_redo_show_photo_and_result_without_a_new_job(edited: Page) -> None:
    jobs: list[str] = []
    edited.on("request", lambda request: jobs.append(request.url) if request.method == "POST" else None)
    edited.get_by_role("button", name="Undo").click()
    expect(edited.get_by_alt_text("The edited photo")).to_be_hidden()
    expect(edited.get_by_role("button", name="Save", exact=True)).to_be_disabled()
    expect(edited.get_by_role("button", name=f"Remove “{SEPIA}”")).to_have_count(0)
    expect(edited.get_by_role("button", name="Undo")).to_be_disabled()
    edited.get_by_role("button", name="Redo").click()
    wait_result(edited, SEPIA)
    assert jobs == []


def test_a_second_edit_sends_both_instructions_and_either_can_be_taken_out(edited: Page) -> None:
    with edited.expect_request("**/v1/jobs") as job:
        edit(edited, WARMER)
    assert job.value.post_data_json["instructions"] == [SEPIA, WARMER]
    wait_result(edited, WARMER)
    with edited.expect_request("**/v1/jobs") as job:
        edited.get_by_role("button", name=f"Remove “{SEPIA}”").click()
    assert job.value.post_data_json["instructions"] == [WARMER]
    expect(edited.get_by_role("button", name="Undo")).to_be_visible()
    expect(edited.get_by_role("region", name="Edits").get_by_role("listitem").filter(has_text=SEPIA)).to_have_count(0)
    for _ in range(2):
        edited.get_by_role("button", name="Undo").click()
    wait_result(edited, SEPIA)
    expect(edited.get_by_role("button", name=f"Remove “{WARMER}”")).to_have_count(0)


def test_an_edit_in_a_rectangle_is_painted_on_the_edits_before_it_and_leaves_the_rest(edited: Page) -> None:
    before = Image.open(io.BytesIO(saved(edited, "PNG")[1]))
    edited.get_by_role("button", name="Area").click()
    for label, value in [("Left", 150), ("Top", 100), ("Width", 300), ("Height", 200)]:
        edited.get_by_label(label).fill(str(value))
    edited.get_by_role("button", name="Done").click()
    with edited.expect_request("**/v1/jobs") as job:
        edit(edited, "turn it into night")
    assert job.value.post_data_json["instructions"] == ["turn it into night"]
    wait_result(edited, "turn it into night")
    touched = ImageChops.difference(before, Image.open(io.BytesIO(saved(edited, "PNG")[1]))).getbbox()
    assert touched is not None
    left, top, right, bottom = touched
    assert left >= 150 and top >= 100 and right <= 450 and bottom <= 300
    edited.get_by_role("button", name="Edit the whole photo again").click()
    expect(edited.get_by_text("stays in the area")).to_be_hidden()
    edited.get_by_role("button", name="Undo").click()
    wait_result(edited, SEPIA)


def test_the_servers_words_about_a_bad_wish_are_shown_and_the_instruction_stays(browser: Browser, address: str) -> None:
    with Visit(browser, address, expect_errors=True) as page:
        open_photo(page)
        page.get_by_text("Options").click()
        page.get_by_label("Steps").fill("100000")
        edit(page, WARMER)
        expect(page.locator("#notice")).to_contain_text("steps")
        expect(page.get_by_role("textbox", name="Instruction")).to_have_value(WARMER)
        page.get_by_label("Steps").fill("")
        page.press("#instruction", "Enter")
        wait_result(page, WARMER)
        expect(page.locator("#notice")).to_be_hidden()


def test_a_file_that_is_no_photo_is_refused_in_words(browser: Browser, address: str, tmp_path: Path) -> None:
    text = tmp_path / "notes.jpg"
    text.write_text("no photo")
    with Visit(browser, address, expect_errors=True) as page:
        page.set_input_files("#chooser", text)
        expect(page.locator("#notice")).to_be_visible()
        expect(page.get_by_role("button", name="Choose a photo")).to_be_focused()


def test_all_of_it_by_keyboard(browser: Browser, address: str) -> None:
    with Visit(browser, address, accept_downloads=True) as page:
        page.on("filechooser", lambda chooser: chooser.set_files(COFFEE))  # listens well before it is needed
        choose = page.get_by_role("button", name="Choose a photo")
        choose.wait_for()
        for _ in range(4):
            page.keyboard.press("Tab")
            if choose.evaluate("element => element === document.activeElement"):
                break
        expect(choose).to_be_focused()
        page.keyboard.press("Enter")
        instruction = page.get_by_role("textbox", name="Instruction")
        expect(instruction).to_be_focused()
        page.keyboard.type(WARMER)
        page.keyboard.press("Enter")
        wait_result(page, WARMER)
        expect(instruction).to_be_focused()
        page.keyboard.press("Control+z")
        expect(page.get_by_role("slider")).to_be_hidden()
        page.keyboard.press("Control+Shift+z")
        wait_result(page, WARMER)
        press_until(page, "Shift+Tab", "Remove")
        press_until(page, "Shift+Tab", "Save")
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="JPEG Small")).to_be_focused()
        with page.expect_download() as download:
            page.keyboard.press("Enter")
        assert Image.open(download.value.path()).size == COFFEE_SIZE
        press_until(page, "Shift+Tab", "Before and after")
        page.keyboard.press("ArrowRight")
        expect(page.get_by_role("slider")).to_have_attribute("aria-valuenow", "52")
        press_until(page, "Tab", "Remove")
        page.keyboard.press("Enter")
        expect(page.get_by_role("slider")).to_be_hidden()
        expect(instruction).to_be_focused()


def press_until(page: Page, key: str, name: str) -> None:
    """Go on with Tab until what is called so has the focus; fails after a whole round."""
    for _ in range(25):
        page.keyboard.press(key)
        focused = page.evaluate("document.activeElement.ariaLabel ?? document.activeElement.textContent")
        if focused.strip().startswith(name):
            return
    raise AssertionError(f"{key} doesn't reach {name}")
