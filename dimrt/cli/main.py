"""`dimrt`: the command group, and the one place where errors become messages and exit codes."""

import json
import os
import sys
from collections.abc import Sequence
from importlib import import_module

import click

from dimrt.errors import Cancelled, DimrtError, ResourceError
from dimrt.version import __version__

COMMANDS = {
    "edit": "Edit a photo as the instruction says.",
    "generate": "Paint a picture from a prompt.",
    "plan": "Write the plan of an edit without painting it.",
    "batch": "Edit a folder of photos.",
    "serve": "Serve a page and an HTTP endpoint to this machine.",
    "worker": "Serve edits over stdin and stdout to a program.",
    "precompute": "Compute latents and conditions of data sets once, for training.",
    "train": "Train a painter on pictures and plans.",
    "distill": "Make a painter that needs few steps and no guidance.",
    "export": "Turn a DIM checkpoint into a bundle.",
    "build": "Build the TensorRT engines of a bundle.",
    "engines": "List, look at and remove built engines.",
    "estimate": "Say whether an edit fits a device, and how long it takes.",
    "bench": "Measure this device: its ceilings, each graph, whole edits.",
    "info": "Say what is in a bundle.",
    "verify": "Check every byte of a bundle against its manifest.",
    "doctor": "Check this machine and say what is missing.",
}
"""Every command with its help line, so that `dimrt --help` imports none of them."""

EPILOG = """\b
Exit codes:
  0    done
  1    a check found a difference (verify, doctor, an altered engine, a graph out of tolerance), or photos of a batch
       failed
  2    bad input: a file, a flag, a bundle, a checkpoint
  3    the machine can't: disk full, too little memory, a package or device that isn't there
  130  cancelled; nothing was written
  141  whoever read the output went away
"""

PIPE_CLOSED = 141
"""What a shell reports for a program whose reader went away (128 + SIGPIPE)."""


class LazyGroup(click.Group):
    """A group whose commands stand in `dimrt.cli.<name>` and are imported when invoked."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module and return its `command`."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"dimrt.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def print_version(ctx: click.Context, _param: click.Parameter, asked: bool) -> None:
    """Print the version and stop."""
    if asked and not ctx.resilient_parsing:
        click.echo(f"dimrt {__version__}")
        ctx.exit()


@click.group(cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=print_version, help="Print the version."
)
def group() -> None:
    """Draw-In-Mind image editing on this machine: a designer thinks, a painter paints.

    Example: dimrt edit photo.jpg "make it look like an old sepia photo" -o edited.jpg
    """


def report(kind: str, message: str, as_json: bool) -> None:
    """Say what went wrong: one JSON document on stdout, or one line on stderr."""
    if as_json:
        click.echo(json.dumps({"error": {"type": kind, "message": message}}, ensure_ascii=False))
    else:
        click.echo(f"dimrt: {message}", err=True)


def usage_message(error: click.ClickException) -> str:
    """The message of a click error, with the command to ask for help when there is one."""
    message = error.format_message()
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    return message if ctx is None else f"{message} See `{ctx.command_path} --help`."


def run(args: Sequence[str]) -> int:
    """Run one command line and return its exit code. Prints; never raises on a user's mistake."""
    as_json = "--json" in args
    try:
        with group.make_context("dimrt", list(args) or ["--help"]) as ctx:
            group.invoke(ctx)
        sys.stdout.flush()
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except DimrtError as error:
        report(type(error).__name__, str(error), as_json)
        return error.exit_code
    except click.ClickException as error:
        report(type(error).__name__, usage_message(error), as_json)
        return 2
    except (KeyboardInterrupt, click.Abort):
        report(Cancelled.__name__, str(Cancelled()), as_json)
        return Cancelled.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except (OSError, MemoryError) as error:
        report(ResourceError.__name__, f"the system refused: {error or type(error).__name__}", as_json)
        return ResourceError.exit_code
    return 0


def main() -> None:
    """Entry point of the `dimrt` command."""
    sys.exit(run(sys.argv[1:]))
