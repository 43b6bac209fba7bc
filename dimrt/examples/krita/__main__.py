"""`python -m dimrt.examples.krita install`: the plug-in and the worker's client into Krita's folder."""

import json
import os
import shutil
import sys
from importlib.resources import as_file, files
from pathlib import Path

import click

from dimrt.files import atomic_write

NAME = "dimrt_krita"


@click.group()
def group() -> None:
    """The plug-in for Krita."""


@group.command()
@click.option("--data", type=click.Path(path_type=Path), help="Krita's resource folder [default: the system's].")
@click.option("--config", type=click.Path(path_type=Path), help="Krita's settings, kritarc [default: the system's].")
@click.argument("worker", nargs=-1)
def install(data: Path | None, config: Path | None, worker: tuple[str, ...]) -> None:
    """Install the plug-in and enable it; start Krita anew afterwards.

    WORKER is the command line of the worker that it starts, by default `dimrt worker` of this Python. Options of the
    worker go after two dashes: install -- dimrt worker --bundle DIR
    """
    home, settings = places()
    target = (data or home) / "pykrita"
    target.mkdir(parents=True, exist_ok=True)
    with as_file(files("dimrt.examples.krita") / "plugin") as plugin:
        shutil.copytree(plugin, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    with as_file(files("dimrt.worker") / "client.py") as client:
        shutil.copyfile(client, target / NAME / "client.py")
    command = list(worker) or [sys.executable, "-m", "dimrt.cli", "worker"]
    with atomic_write(target / NAME / "worker.json") as file:
        file.write(json.dumps({"command": command}, indent=2).encode())
    enable(config or settings)
    print(f"installed {target / NAME}\nworker    {' '.join(command)}")
    print("Start Krita anew: Tools > Scripts > Edit with dimrt")


def places() -> tuple[Path, Path]:
    """Krita's resource folder and its settings file on this system."""
    home = Path.home()
    if sys.platform == "win32":
        return Path(os.environ["APPDATA"]) / "krita", Path(os.environ["LOCALAPPDATA"]) / "kritarc"
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "krita", home / "Library" / "Preferences" / "kritarc"
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    config = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    return data / "krita", config / "kritarc"


def enable(config: Path) -> None:
    """Switch the plug-in on in Krita's settings; every other line stays as it is."""
    key = f"enable_{NAME}="
    text = config.read_text(encoding="utf-8") if config.is_file() else ""
    lines = [line for line in text.splitlines() if not line.startswith(key)]
    if "[python]" not in lines:
        lines += ["", "[python]"]
    lines.insert(lines.index("[python]") + 1, f"{key}true")
    config.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(config) as file:
        file.write("\n".join(lines).lstrip("\n").encode() + b"\n")


if __name__ == "__main__":
    group(prog_name="python -m dimrt.examples.krita")
