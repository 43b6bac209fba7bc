"""`dimrt doctor`: what this machine has, what is missing, and the next command for each."""

import platform
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import click

from dimrt.bundle import Bundle, config_folder, find_bundle
from dimrt.cli.console import print_json
from dimrt.cli.options import json_option
from dimrt.errors import BundleError, CheckFailed, ResourceError
from dimrt.host import available_memory, free_disk, total_memory

CORE = ("numpy", "pillow", "tokenizers", "safetensors", "msgspec", "click", "rich")
EXPORT = ("torch", "transformers", "diffusers", "accelerate", "huggingface_hub", "onnx", "onnxscript")
RUNTIMES = ("onnxruntime", "onnxruntime-gpu")
OLDEST_PYTHON = (3, 10)
DISK_FLOOR = 1_000_000_000
"""Bytes free below which a picture or an export is likely to fail."""


@dataclass(frozen=True)
class Finding:
    """One line of the report; `next_step` is empty when nothing is to be done."""

    name: str
    state: Literal["ok", "note", "broken"]
    detail: str
    next_step: str = ""


def python_version() -> Finding:
    """Whether this Python is new enough."""
    detail = f"{platform.python_version()} ({platform.system()} {platform.machine()}, {sys.executable})"
    if sys.version_info < OLDEST_PYTHON:
        return Finding("python", "broken", detail, "install Python 3.10 or later")
    return Finding("python", "ok", detail)


def installed(names: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Installed packages as `name version`, and the names of the missing ones."""
    have, lack = [], []
    for name in names:
        try:
            have.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            lack.append(name)
    return have, lack


def core_packages() -> Finding:
    """The packages that every command needs."""
    have, lack = installed(CORE)
    if lack:
        return Finding("packages", "broken", f"missing {', '.join(lack)}", f"pip install {' '.join(lack)}")
    return Finding("packages", "ok", ", ".join(have))


def export_packages() -> Finding:
    """The packages that only `dimrt export` needs."""
    have, lack = installed(EXPORT)
    if lack:
        return Finding("export", "note", f"not installed: {', '.join(lack)}", 'pip install "dimrt[export]"')
    return Finding("export", "ok", ", ".join(have))


def providers() -> Finding:
    """What ONNX Runtime can run on."""
    have, _ = installed(RUNTIMES)
    try:
        import onnxruntime
    except ImportError as error:
        return Finding("runtime", "broken", f"onnxruntime can't be imported: {error}", "pip install onnxruntime")
    available = ", ".join(onnxruntime.get_available_providers())
    both = "; uninstall one of the two onnxruntime packages" if len(have) > 1 else ""
    return Finding("runtime", "ok", f"{', '.join(have)}: {available}{both}")


def gpu() -> Finding:
    """The GPU, and what would run engines on it. Without one everything runs on the CPU, which is fine."""
    from dimrt.engines.device import detect, target_for
    from dimrt.engines.flavour import load_flavour

    try:
        device = detect()
    except ResourceError as error:
        return Finding("gpu", "note", f"none: {error}")
    detail = f"{device.name} (compute capability {device.capability}, {device.memory_bytes / 1e9:.1f} GB)"
    try:
        target = target_for(device)
        flavour = load_flavour(target.flavour)
    except ResourceError as error:
        return Finding("gpu", "note", detail, str(error))
    return Finding("gpu", "ok", f"{detail}: {flavour.name} {flavour.version}, target {target.name}")


def bundle() -> Finding:
    """Which bundle would run, and whether its files are all there."""
    try:
        path, source = find_bundle(None)
        manifest = Bundle.open(path, verify="layout").manifest
    except BundleError as error:
        return Finding("bundle", "broken", str(error), "dimrt edit --bundle DIR, or make one: dimrt export --help")
    return Finding("bundle", "ok", f"{manifest.name}, {manifest.recipe} ({source}: {path})")


def settings() -> Finding:
    """Where the user's own settings are read from."""
    path = config_folder() / "config.json"
    return Finding("settings", "ok", f"{path} ({'found' if path.is_file() else 'none, which is fine'})")


def memory() -> Finding:
    """Memory of the machine, where the system tells it."""
    free, total = available_memory(), total_memory()
    if total is None:
        return Finding("memory", "note", "unknown on this system")
    left = "" if free is None else f"{free / 1e9:.1f} GB available of "
    return Finding("memory", "ok", f"{left}{total / 1e9:.1f} GB")


def disk() -> Finding:
    """Free space where pictures would be written."""
    here = Path.cwd()
    free = free_disk(here)
    detail = f"{free / 1e9:.1f} GB free at {here}"
    if free < DISK_FLOOR:
        return Finding("disk", "note", detail, "free some space before exporting or editing large photos")
    return Finding("disk", "ok", detail)


CHECKS: tuple[Callable[[], Finding], ...] = (
    python_version,
    core_packages,
    providers,
    gpu,
    bundle,
    settings,
    memory,
    disk,
    export_packages,
)


@click.command("doctor")
@json_option
def command(as_json: bool) -> None:
    """Check this machine and say what is missing.

    Looks at Python, packages, providers, bundle, memory and disk. Exits 1 when something needed is broken.
    """
    findings = [check() for check in CHECKS]
    broken = [finding.name for finding in findings if finding.state == "broken"]
    if as_json:
        print_json({"healthy": not broken, "checks": [asdict(finding) for finding in findings]})
        if broken:
            click.get_current_context().exit(CheckFailed.exit_code)
        return
    for finding in findings:
        click.echo(f"{finding.state:<7} {finding.name:<9} {finding.detail}")
        if finding.next_step:
            click.echo(f"{'':<17} next: {finding.next_step}")
    if broken:
        raise CheckFailed(f"needs attention: {', '.join(broken)}. Follow the next steps above.")
    click.echo('\nready. Try: dimrt edit photo.jpg "make it black and white" -o edited.jpg')
