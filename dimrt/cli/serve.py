"""`dimrt serve`: edits over HTTP, for this machine."""

import ipaddress
import logging
import os
import secrets
import sys
import webbrowser
from pathlib import Path

import click

from dimrt.cli.console import Console, print_json
from dimrt.cli.options import bundle_options, lazy_option, output_options
from dimrt.cli.running import Device, load_editor, warm
from dimrt.errors import InputError, ResourceError

PORT = 8346
TOKEN_ENV = "DIMRT_TOKEN"
SHORTEST_TOKEN = 16
MEBIBYTE = 1 << 20
PACKAGES = {"starlette", "uvicorn", "python_multipart"}


@click.command("serve")
@click.option("--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="0 takes a free one.")
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Interface to listen on; the default is this machine alone."
)
@click.option("--allow-host", multiple=True, metavar="NAME", help="Answer to this name too (Host header).")
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help=f"Take the token from a file; else from {TOKEN_ENV}, else a new one each start.",
)
@click.option("--open", "open_page", is_flag=True, help="Open the page in the browser.")
@click.option("--queue", type=click.IntRange(1, 1000), default=16, show_default=True, help="Edits that may wait.")
@click.option("--max-upload", type=click.IntRange(1), default=256, show_default=True, metavar="MIB", help="Of a body.")
@click.option("--max-pixels", type=click.IntRange(1), metavar="N", help="Of a photo [default: 150 million].")
@click.option("--memory", type=click.IntRange(1), default=1024, show_default=True, metavar="MIB",
              help="For kept photos, and once more for finished pictures.")  # fmt: skip
@lazy_option
@bundle_options
@output_options
def command(
    port: int,
    host: str,
    allow_host: tuple[str, ...],
    token_file: Path | None,
    open_page: bool,
    queue: int,
    max_upload: int,
    max_pixels: int | None,
    memory: int,
    lazy: bool,
    bundle: str | None,
    device: Device,
    target: str | None,
    threads: int | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Serve a page and an HTTP endpoint to this machine.

    The first line printed is the page's address with the token in it.
    """
    try:
        from dimrt.serve.server import Server, open_port
        from dimrt.serve.settings import Settings
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        if package not in PACKAGES:
            raise
        raise ResourceError(f'{package} is not installed; run: pip install "dimrt[serve]"') from error

    token = read_token(token_file)
    listener = open_port(host, port)
    console = Console(quiet=quiet, as_json=as_json)
    public = not _is_loopback(listener.getsockname()[0])
    if public:
        console.note(f"warning   --host {host}: everyone who reaches this machine can knock, and nothing is encrypted")
    settings = Settings(
        token=token,
        public=public,
        hosts=frozenset(name.lower().rstrip(".") for name in allow_host),
        max_upload=max_upload * MEBIBYTE,
        photo_memory=memory * MEBIBYTE,
        result_memory=memory * MEBIBYTE,
        queue=queue,
        **({} if max_pixels is None else {"max_pixels": max_pixels}),
    )
    address = page_address(host, listener.getsockname()[1])

    def ready() -> None:
        if as_json:
            print_json({"url": address, "token": token})
        else:
            click.echo(f"{address}/#token={token}")
            sys.stdout.flush()
        if open_page:
            webbrowser.open(f"{address}/#token={token}")

    with listener:
        editor = load_editor(bundle, device, target, threads, console)
        if not lazy:
            warm(editor, console)
        if not quiet:
            logging.basicConfig(level=logging.WARNING, format="%(message)s")
            logging.getLogger("dimrt.serve").setLevel(logging.INFO)
        server = Server(editor, settings, ready)
        server.serve_on(listener)
        if server.idle:
            editor.close()


def read_token(file: Path | None) -> str:
    """The token: from the file, else from the environment, else a new random one.

    Raises:
        InputError: it can't be read, is too short, or has characters that a header can't hold.
    """
    if file is not None:
        name = f"--token-file {file}"
        try:
            token = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{name} can't be read: {error}") from None
    elif TOKEN_ENV in os.environ:
        name, token = TOKEN_ENV, os.environ[TOKEN_ENV].strip()
    else:
        return secrets.token_urlsafe(24)
    if len(token) < SHORTEST_TOKEN or not all("!" <= letter <= "~" for letter in token):
        raise InputError(
            f"{name}: a token has at least {SHORTEST_TOKEN} characters, letters, digits and signs without spaces"
        )
    return token


def page_address(host: str, port: int) -> str:
    """The address under which this machine's browser finds the page."""
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{name}:{port}"


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback
