"""What the page's tests share: a Chromium, the real server on the nano bundle, and a page that must not misbehave."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Request, expect, sync_playwright

from dimrt import Editor
from dimrt.serve.server import Server, open_port
from dimrt.serve.settings import Settings

CHROMIUM = Path("/usr/bin/chromium")
ROOT = Path(__file__).parents[2]
COFFEE = ROOT / "benchmarks" / "photos" / "coffee.jpg"
COFFEE_SIZE = (600, 400)
TOKEN = "token-of-the-page-tests"
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless Chromium; a test that asks for it is skipped where there is none."""
    if not CHROMIUM.is_file():
        pytest.skip(f"{CHROMIUM} isn't there: the page is tested in Chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield browser
        browser.close()


@contextmanager
def nano_server() -> Iterator[str]:
    """The real server on the nano bundle; its page's address, with the token."""
    ready = threading.Event()
    listener = open_port("127.0.0.1", 0)
    port = listener.getsockname()[1]
    editor = Editor.load(device="cpu", threads=1)
    server = Server(editor, Settings(token=TOKEN), ready.set)
    thread = threading.Thread(target=server.serve_on, args=(listener,))
    thread.start()
    try:
        assert ready.wait(30)
        yield f"http://127.0.0.1:{port}/#token={TOKEN}"
    finally:
        server.stop()
        thread.join(30)
        editor.close()


class Visit:
    """One visit of the page in a context of its own. What must never happen is collected, and `check` fails on it.

    Attributes:
        page: the page.
        wrong: errors on the console, uncaught exceptions, violations of the content security policy.
        elsewhere: requests that left the origin.
    """

    def __init__(self, browser: Browser, address: str, *, expect_errors: bool = False, **options: object) -> None:
        """Open the page.

        Args:
            browser: from `chromium`.
            address: of the page.
            expect_errors: whether the browser may log answers of 400 and above, and connections that were cut.
            options: of the browser's context.
        """
        self.context = browser.new_context(**options)  # type: ignore[arg-type]
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(60_000)
        expect.set_options(timeout=20_000)
        self.wrong: list[str] = []
        self.elsewhere: list[str] = []
        parts = urlsplit(address)
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._expect_errors = expect_errors
        self.page.on("console", lambda message: self._console(message.type, message.text))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", self._request)
        self.page.goto(address)

    def __enter__(self) -> Page:
        return self.page

    def __exit__(self, kind: object, *_: object) -> None:
        self.context.close()
        if kind is None:
            assert self.wrong == []
            assert self.elsewhere == []

    def _console(self, kind: str, text: str) -> None:
        of_network = text.startswith("Failed to load resource") or "net::ERR_" in text
        if kind in ("error", "warning") and not (self._expect_errors and of_network):
            self.wrong.append(f"{kind}: {text}")

    def _request(self, request: Request) -> None:
        if not request.url.startswith((self._origin + "/", "blob:" + self._origin, "data:image/")):
            self.elsewhere.append(request.url)


def open_photo(page: Page, photo: Path = COFFEE) -> None:
    """Choose a photo and wait until the server knows it."""
    page.set_input_files("#chooser", photo)
    expect(page.locator("#file-size")).to_contain_text("\u00d7")


def edit(page: Page, instruction: str) -> None:
    """Type an instruction and send it off."""
    page.fill("#instruction", instruction)
    page.press("#instruction", "Enter")


def wait_result(page: Page, instruction: str) -> None:
    """Wait until the edit is done: it is in the list with its way out, and the slider is there."""
    page.get_by_role("button", name=f"Remove “{instruction}”").wait_for()
    page.get_by_role("slider", name="Before and after").wait_for()
