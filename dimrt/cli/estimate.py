"""`dimrt estimate`: how much memory an edit takes on a target, before anything is loaded."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

import click

from dimrt.bundle import Bundle, find_bundle
from dimrt.cli.console import print_json
from dimrt.cli.options import json_option
from dimrt.errors import CheckFailed, InputError

if TYPE_CHECKING:
    from dimrt.memory import Estimate


def parse_size(text: str | None) -> tuple[int, int] | None:
    """WIDTHxHEIGHT in pixels."""
    if text is None:
        return None
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise InputError(f"--size {text}: give width and height in pixels, like 1024x768")
    return int(width), int(height)


def describe(found: "Estimate", target: str) -> dict[str, Any]:
    """The estimate as JSON; sizes in bytes."""
    return {
        "target": target,
        "setting": asdict(found.setting),
        "graphs": [asdict(use) for use in found.uses],
        "overhead": found.overhead,
        "designer": found.of_role("designer"),
        "painter": found.of_role("painter"),
        "peak": found.peak,
        "available": found.available,
        "fits": found.fits,
        "would_fit": list(found.advice),
    }


def print_table(found: "Estimate", target: str) -> None:
    """The same for a reader, in MB."""
    columns = ("weights", "activations", "tensors", "cache")
    click.echo(f"{'MB':<22}" + "".join(f"{name:>12}" for name in columns))
    for use in found.uses:
        cells = "".join(f"{getattr(use, name) / 1e6:>12,.0f}" for name in columns)
        click.echo(f"{use.role:<10}{use.graph:<12}{cells}")
    setting = found.setting
    click.echo(f"\ndesigner  {found.of_role('designer') / 1e9:.2f} GB")
    click.echo(f"painter   {found.of_role('painter') / 1e9:.2f} GB, {setting.size[0]} x {setting.size[1]} pixels")
    click.echo(f"runtime   {found.overhead / 1e9:.2f} GB")
    together = "one after the other" if setting.residency == "phased" else "loaded together"
    known = "unknown" if found.available is None else f"{found.available / 1e9:.2f} GB"
    click.echo(f"peak      {found.peak / 1e9:.2f} GB, designer and painter {together}; {target} has {known}")


@click.command("estimate")
@click.argument("bundle", required=False)
@click.option("--target", metavar="NAME", help="Target or .toml file [default: this machine's processor].")
@click.option("--size", metavar="WxH", help="The painter's picture in pixels [default: the bundle's].")
@click.option("--plan-tokens", type=click.IntRange(min=0), default=512, show_default=True, metavar="N")
@click.option("--residency", type=click.Choice(["all", "phased"]), help="[default: the target's]")
@json_option
def command(
    bundle: str | None,
    target: str | None,
    size: str | None,
    plan_tokens: int,
    residency: Literal["all", "phased"] | None,
    as_json: bool,
) -> None:
    """Say how much memory an edit takes, and whether it fits.

    Nothing is loaded: the numbers come from the manifest. Exits 1 when it doesn't fit.

    Example: dimrt estimate my-bundle --target orin-nano-super-8gb
    """
    from dimrt.memory import estimate

    device = None
    if target is not None:
        from dimrt.engines.target import load_target

        device = load_target(target)
    opened = Bundle.open(find_bundle(bundle)[0], verify="layout")
    found = estimate(opened, device, size=parse_size(size), plan_tokens=plan_tokens, residency=residency)
    name = "this machine" if device is None else device.name
    if as_json:
        print_json(describe(found, name))
        if not found.fits:
            click.get_current_context().exit(CheckFailed.exit_code)
        return
    print_table(found, name)
    if found.fits:
        click.echo("\nfits")
        return
    would = "\n".join(f"  {line}" for line in found.advice) or "  nothing dimrt can set; use a device with more memory"
    click.echo(f"\ndoesn't fit. What would:\n{would}")
    click.get_current_context().exit(CheckFailed.exit_code)
