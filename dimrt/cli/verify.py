"""`dimrt verify`: every byte of a bundle against its manifest."""

import click

from dimrt.bundle import Bundle, find_bundle
from dimrt.cli.console import print_json
from dimrt.cli.options import json_option
from dimrt.errors import AlteredBundle, CheckFailed


@click.command("verify")
@click.argument("bundle")
@json_option
def command(bundle: str, as_json: bool) -> None:
    """Check every byte of a bundle against its manifest. Exits 1 when a file differs."""
    path, _ = find_bundle(bundle)
    try:
        opened = Bundle.open(path, verify="full")
    except AlteredBundle as error:
        raise CheckFailed(str(error)) from None
    files = opened.manifest.files
    size = sum(record.size for record in files.values())
    if as_json:
        print_json({"path": str(path), "digest": opened.digest, "files": len(files), "bytes": size, "intact": True})
    else:
        click.echo(f"{path}: intact, {len(files)} files, {size:,} bytes, digest {opened.digest}")
