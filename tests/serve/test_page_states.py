"""What the page does when the server waits, refuses, forgets or goes away: in Chromium, on a stand-in of the server."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("playwright", reason="the page is tested through playwright")
pytest.importorskip("starlette", reason="the page belongs to dimrt[serve]")

from page_harness import COFFEE, COFFEE_SIZE, Visit, edit, open_photo, wait_result
from page_standin import PLAN, TOKEN, StandIn
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from serving import wait_until

WISH = "give it evening light"


@pytest.fixture
def page(browser: Browser, server: StandIn) -> Iterator[Page]:
    """The page with a photo open."""
    with Visit(browser, server.address, expect_errors=True) as page:
        open_photo(page)
        yield page


def test_the_plan_appears_while_it_is_written(page: Page, server: StandIn) -> None:
    server.plan, server.hold = "1. Edit Instruction: more light\n2. Global Layout", "written"
    edit(page, WISH)
    sections = page.get_by_role("region", name="Plan").get_by_role("listitem")
    expect(sections.nth(0).locator("p")).to_have_text("more light")
    expect(page.locator("#plan")).to_have_attribute("aria-busy", "true")
    page.keyboard.press("Escape")
    expect(sections.nth(0).locator("p")).to_be_empty()


def test_a_whole_plan_lands_in_its_sections(page: Page) -> None:
    edit(page, WISH)
    wait_result(page, WISH)
    sections = page.get_by_role("region", name="Plan").get_by_role("listitem")
    assert [section.locator("p").inner_text() for section in sections.all()] == list(PLAN.values())


def test_previews_appear_and_go(page: Page, server: StandIn) -> None:
    server.hold, server.steps = "composite", 3
    edit(page, WISH)
    expect(page.locator("#previews img").last).to_be_visible()
    expect(page.locator("#phase")).to_have_text("Carrying the change to full size")
    server.release.set()
    wait_result(page, WISH)
    expect(page.locator("#previews img")).to_have_count(0)


@pytest.mark.parametrize("way", ["Escape", "button", "composer"])
def test_cancel_leaves_everything_as_it_was(page: Page, server: StandIn, way: str) -> None:
    server.hold = "paint"
    edit(page, WISH)
    expect(page.locator("#phase")).to_have_text("Painting")
    if way == "Escape":
        page.keyboard.press("Escape")
    elif way == "button":
        page.get_by_role("button", name="Cancel Esc").click()
    else:
        page.locator("#go").click()
    expect(page.get_by_role("status")).to_contain_text("Cancelled")
    expect(page.get_by_role("textbox", name="Instruction")).to_have_value(WISH)
    expect(page.get_by_role("region", name="Edits").get_by_role("button", name="Remove")).to_have_count(0)
    wait_until(lambda: server.jobs["job0"].state == "cancelled")
    server.hold = None
    page.locator("#instruction").press("Enter")
    wait_result(page, WISH)


def test_a_cancelled_second_edit_leaves_the_first(page: Page, server: StandIn) -> None:
    edit(page, WISH)
    wait_result(page, WISH)
    server.hold = "plan"
    edit(page, "and a spoon")
    expect(page.locator("#phase")).to_have_text("Writing the plan")
    page.keyboard.press("Escape")
    wait_result(page, WISH)


def test_a_failed_edit_says_why_and_keeps_the_words(page: Page, server: StandIn) -> None:
    server.fail = "this edit takes 3.4 GB and 2.1 GB are left; close other programs"
    edit(page, WISH)
    expect(page.locator("#notice")).to_contain_text("3.4 GB")
    expect(page.get_by_role("alert").first).to_contain_text("3.4 GB")
    expect(page.get_by_role("textbox", name="Instruction")).to_have_value(WISH)
    page.get_by_role("button", name="Dismiss").click()
    expect(page.locator("#notice")).to_be_hidden()


def test_a_full_queue_is_told_in_the_servers_words(page: Page, server: StandIn) -> None:
    server.refuse = 429, "16 edits wait already; try again when one is done", "queue_full"
    edit(page, WISH)
    expect(page.locator("#notice")).to_contain_text("16 edits wait")


def test_the_place_in_the_queue_is_shown(page: Page, server: StandIn) -> None:
    server.before, server.pause = 2, 2.0
    edit(page, WISH)
    expect(page.locator("#phase")).to_have_text("2 edits are before this one")
    expect(page.locator("#phase")).to_have_text("One edit is before this one")
    server.pause = 0
    wait_result(page, WISH)


def test_a_broken_stream_goes_on_where_it_stopped(page: Page, server: StandIn) -> None:
    server.break_after = 12
    edit(page, WISH)
    wait_result(page, WISH)
    assert server.break_after is None
    assert len(server.jobs) == 1
    sections = page.get_by_role("region", name="Plan").get_by_role("listitem")
    assert [section.locator("p").inner_text() for section in sections.all()] == list(PLAN.values())


def test_a_server_that_is_gone_is_waited_for(page: Page, server: StandIn) -> None:
    server.deaf = True
    edit(page, WISH)
    expect(page.locator("#notice")).to_contain_text("doesn't answer")
    expect(page.locator("#engine-text")).to_have_text("Not connected")
    server.deaf = False
    wait_result(page, WISH)
    expect(page.locator("#notice")).to_be_hidden()
    expect(page.locator("#engine-text")).to_have_text("stand-in")


def test_cancel_also_ends_the_waiting_for_a_server_that_is_gone_which_stays_said(page: Page, server: StandIn) -> None:
    server.deaf = True
    edit(page, WISH)
    expect(page.locator("#notice")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("textbox", name="Instruction")).to_have_value(WISH)
    edit(page, WISH)
    expect(page.get_by_role("button", name="Cancel Esc")).to_be_visible()
    expect(page.locator("#notice")).to_contain_text("doesn't answer")
    expect(page.locator("#notice")).to_be_visible()
    server.deaf = False


def test_a_photo_that_the_server_dropped_is_sent_again(page: Page, server: StandIn) -> None:
    server.photos.clear()
    edit(page, WISH)
    wait_result(page, WISH)
    assert len(server.photos) == 1


def test_a_result_that_the_server_dropped_is_painted_again_to_save_it(page: Page, server: StandIn) -> None:
    edit(page, WISH)
    wait_result(page, WISH)
    server.jobs.clear()
    page.get_by_role("button", name="Save", exact=True).click()
    with page.expect_download() as download:
        page.get_by_role("button", name="JPEG Small").click()
    assert Image.open(download.value.path()).size == COFFEE_SIZE
    assert len(server.jobs) == 1


def test_without_its_key_the_page_asks_for_it(browser: Browser, server: StandIn) -> None:
    with Visit(browser, server.origin, expect_errors=True) as page:
        field = page.get_by_label("Address or token")
        expect(field).to_be_focused()
        field.fill("wrong")
        page.keyboard.press("Enter")
        expect(page.locator("#token-problem")).to_contain_text("isn't the key")
        field.fill(server.address)
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Choose a photo")).to_be_visible()
        page.reload()
        expect(page.get_by_role("button", name="Choose a photo")).to_be_visible()


def test_a_server_with_another_key_is_asked_about_and_nothing_is_lost(page: Page, server: StandIn) -> None:
    server.token = "another"
    edit(page, WISH)
    field = page.get_by_label("Address or token")
    expect(field).to_be_focused()
    field.fill("another")
    page.keyboard.press("Enter")
    expect(page.get_by_role("textbox", name="Instruction")).to_have_value(WISH)
    page.locator("#instruction").press("Enter")
    wait_result(page, WISH)
    server.token = TOKEN


def test_a_photo_that_the_browser_cant_show_is_shown_by_the_server(
    browser: Browser, server: StandIn, tmp_path: Path
) -> None:
    photo = tmp_path / "photo.tif"
    Image.open(COFFEE).save(photo)
    with Visit(browser, server.address) as page:
        open_photo(page, photo)
        shown = page.get_by_alt_text("Your photo")
        expect(shown).to_be_visible()
        assert shown.evaluate("image => [image.naturalWidth, image.naturalHeight]") == list(COFFEE_SIZE)


def test_a_heavy_file_is_shown_by_the_server_alone(browser: Browser, server: StandIn, tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(COFFEE.read_bytes() + bytes(25_000_000))
    with Visit(browser, server.address) as page:
        blobs: list[str] = []
        page.on("request", lambda request: blobs.append(request.url) if request.url.startswith("blob:") else None)
        open_photo(page, photo)
        expect(page.get_by_alt_text("Your photo")).to_be_visible()
        assert len(blobs) == 1


def test_a_brush_is_sent_as_a_mask_of_the_photos_size(page: Page, server: StandIn) -> None:
    page.get_by_role("button", name="Area").click()
    page.get_by_text("Brush", exact=True).click()
    box = page.locator("#area-canvas").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + box["height"] * 0.5)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + box["height"] * 0.5, steps=5)
    page.mouse.up()
    page.get_by_role("button", name="Done").click()
    edit(page, WISH)
    wait_result(page, WISH)
    job = server.jobs["job0"]
    assert job.instructions == [WISH]
    mask = Image.open(io.BytesIO(job.mask or b""))
    assert (mask.size, mask.mode) == (COFFEE_SIZE, "1")
    levels = np.asarray(mask.convert("L"))
    assert levels[200, 160:440].min() == 255
    assert levels[200, :120].max() == levels[:150].max() == levels[250:].max() == 0


def test_a_rectangle_drawn_with_the_pointer_is_sent_in_the_photos_pixels(page: Page, server: StandIn) -> None:
    page.get_by_role("button", name="Area").click()
    box = page.locator("#area-canvas").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + box["height"] * 0.75)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + box["height"] * 0.25, steps=3)
    page.mouse.up()
    expect(page.get_by_label("Width")).to_have_value("300")
    edit(page, WISH)
    wait_result(page, WISH)
    assert server.jobs["job0"].fields["region"] == "150,100,300,200"


def test_edits_of_another_place_are_painted_on_those_before(page: Page, server: StandIn) -> None:
    for wish in ("one", "two"):
        edit(page, wish)
        wait_result(page, wish)
    page.get_by_role("button", name="Area").click()
    for label in ("Left", "Top", "Width", "Height"):
        page.get_by_label(label).fill("100")
    for wish in ("three", "four"):
        edit(page, wish)
        wait_result(page, wish)
    page.get_by_role("button", name="Remove “one”").click()
    expect(page.get_by_role("button", name="Remove “one”")).to_have_count(0)
    wait_result(page, "four")
    sent = [(job.instructions, job.fields.get("base"), job.fields.get("region")) for job in server.jobs.values()]
    box = "100,100,100,100"
    assert sent == [
        (["one"], None, None),
        (["one", "two"], None, None),
        (["three"], "job1", box),
        (["three", "four"], "job1", box),
        (["two"], None, None),
        (["three", "four"], "job4", box),
    ]


def test_a_base_that_the_server_dropped_is_painted_again(page: Page, server: StandIn) -> None:
    edit(page, "one")
    wait_result(page, "one")
    server.jobs["job0"].state = "dropped"
    page.get_by_role("button", name="Area").click()
    for label in ("Left", "Top", "Width", "Height"):
        page.get_by_label(label).fill("100")
    edit(page, "two")
    wait_result(page, "two")
    assert [(job.instructions, job.fields.get("base")) for job in server.jobs.values()] == [
        (["one"], None),
        (["one"], None),
        (["two"], "job1"),
    ]


def test_words_are_never_markup(page: Page, server: StandIn) -> None:
    wish = '<img src=x onerror="document.title=1">'
    server.plan = f"1. Edit Instruction: {wish}"
    edit(page, wish)
    wait_result(page, wish)
    expect(page.get_by_role("region", name="Edits").get_by_text(wish)).to_be_visible()
    expect(page.get_by_role("region", name="Plan").get_by_text(wish)).to_be_visible()


def test_a_dropped_file_and_a_pasted_one_are_opened(browser: Browser, server: StandIn) -> None:
    give = """async (target, type) => {
        const data = new DataTransfer();
        const canvas = document.createElement("canvas");
        canvas.width = 40;
        canvas.height = 30;
        const blob = await new Promise((done) => canvas.toBlob(done));
        data.items.add(new File([blob], `${type}.png`, { type: "image/png" }));
        const event = type === "paste"
            ? new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true })
            : new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true });
        target.dispatchEvent(event);
    }"""
    with Visit(browser, server.address) as page:
        page.get_by_role("button", name="Choose a photo").wait_for()
        for kind in ("drop", "paste"):
            page.locator("body").evaluate(f"body => ({give})(body, '{kind}')")
            expect(page.locator("#file-name")).to_have_text(f"{kind}.png")
            expect(page.locator("#file-size")).to_have_text("40 \u00d7 30")


def test_unsaved_edits_are_not_lost_by_opening_another_photo(page: Page, server: StandIn, tmp_path: Path) -> None:
    other = tmp_path / "other.png"
    Image.new("RGB", (30, 20)).save(other)
    edit(page, WISH)
    wait_result(page, WISH)
    asked: list[str] = []
    page.once("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    page.set_input_files("#chooser", other)
    assert "not saved" in asked[0]
    wait_result(page, WISH)
    page.get_by_role("button", name="Save", exact=True).click()
    with page.expect_download():
        page.get_by_role("button", name="PNG").click()
    expect(page.get_by_role("status")).to_contain_text("Saved as coffee-edited.png")
    page.set_input_files("#chooser", other)
    expect(page.locator("#file-name")).to_have_text("other.png")
    expect(page.get_by_role("slider")).to_be_hidden()


def test_a_photo_that_is_refused_leaves_the_one_that_is_open(page: Page, tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("no photo")
    page.set_input_files("#chooser", text)
    expect(page.locator("#notice")).to_contain_text("no photo that dimrt can read")
    expect(page.locator("#file-size")).to_have_text("600 \u00d7 400")
    edit(page, WISH)
    wait_result(page, WISH)


def test_a_finger_moves_the_slider(browser: Browser, server: StandIn) -> None:
    view = {"width": 390, "height": 780}
    with Visit(browser, server.address, has_touch=True, is_mobile=True, viewport=view) as page:
        open_photo(page)
        edit(page, WISH)
        wait_result(page, WISH)
        box = page.locator("#frame").bounding_box()
        assert box is not None
        page.touchscreen.tap(box["x"] + box["width"] * 0.8, box["y"] + box["height"] * 0.3)
        expect(page.get_by_role("slider")).to_have_attribute("aria-valuenow", "80")


def test_an_edit_that_changes_nothing_is_told(page: Page, server: StandIn) -> None:
    server.composite = "unchanged"
    edit(page, WISH)
    wait_result(page, WISH)
    expect(page.locator("#facts")).to_contain_text("changed nothing")


def test_no_object_url_stays(browser: Browser, server: StandIn) -> None:
    count = """(() => {
        window.urls = 0;
        const [make, drop] = [URL.createObjectURL, URL.revokeObjectURL];
        URL.createObjectURL = (blob) => { window.urls += 1; return make.call(URL, blob); };
        URL.revokeObjectURL = (url) => { window.urls -= 1; drop.call(URL, url); };
    })()"""
    with Visit(browser, server.address) as page:
        page.evaluate(count)
        open_photo(page)
        for wish in ("one", "two"):
            edit(page, wish)
            wait_result(page, wish)
        page.get_by_role("button", name="Undo").click()
        expect(page.get_by_role("button", name="Remove “two”")).to_have_count(0)
        assert page.evaluate("window.urls") == 0
