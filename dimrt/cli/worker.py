"""`dimrt worker`: edits over stdin and stdout, for a program that embeds dimrt."""

import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import click

from dimrt.cli.options import bundle_options, lazy_option
from dimrt.cli.running import Device
from dimrt.errors import InputError

if TYPE_CHECKING:
    from dimrt.editor import Editor


@click.command("worker")
@click.option(
    "--limit", type=click.IntRange(min=1), default=16, show_default=True, metavar="N", help="Jobs that may wait."
)
@click.option("--from-pipe", metavar="PIPE", help="Read from this named pipe, not from stdin.")
@click.option("--to-pipe", metavar="PIPE", help="Write to this one, which is opened second.")
@lazy_option
@bundle_options
def command(
    limit: int,
    from_pipe: str | None,
    to_pipe: str | None,
    lazy: bool,
    bundle: str | None,
    device: Device,
    target: str | None,
    threads: int | None,
) -> None:
    """Serve edits over stdin and stdout to a program that embeds dimrt.

    Messages have a length, a JSON header and binary parts; `dimrt.worker.protocol` defines them, and
    `dimrt/worker/client.py` is a client in one file that needs the standard library only. The worker ends when its
    input does.
    """
    if (from_pipe is None) != (to_pipe is None):
        raise click.UsageError(
            "--from-pipe and --to-pipe belong together. Give both, or neither.", click.get_current_context()
        )
    source, sink = take_stdio()

    from dimrt.worker.server import Server

    def load() -> "Editor":
        from dimrt.editor import Editor

        editor = Editor.load(bundle, device=device, target=target, threads=threads)
        if not lazy and not editor.missing:  # engines are built by the first edit, whose events tell how far it is
            editor.warm()
        return editor

    with ExitStack() as pipes:
        if from_pipe is not None and to_pipe is not None:
            source, sink = open_pipe(pipes, from_pipe, "rb"), open_pipe(pipes, to_pipe, "wb")
        status = Server(source, sink, limit).run(load)
        sys.stderr.flush()
        # What runs now, nobody waits for, and giving back gigabytes piece by piece takes long.
        os._exit(status)


def take_stdio() -> tuple[BinaryIO, BinaryIO]:
    """Standard input and output for the protocol alone: what a library prints goes to stderr, and it reads nothing."""
    source, sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return source, sink


def open_pipe(pipes: ExitStack, path: str, mode: str) -> BinaryIO:
    """One end of a named pipe.

    Raises:
        InputError: it can't be opened.
    """
    try:
        return cast(BinaryIO, pipes.enter_context(Path(path).open(mode)))
    except OSError as error:
        raise InputError(f"{path}: the pipe can't be opened: {error.strerror}; create it first") from None
