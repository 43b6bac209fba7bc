"""`dimrt info`: what a bundle is, from its manifest."""

from typing import Any

import click

from dimrt.bundle import Bundle, find_bundle
from dimrt.cli.console import print_json
from dimrt.cli.options import json_option
from dimrt.manifest import Distilled


def describe(bundle: Bundle, source: str) -> dict[str, Any]:
    """The facts of a bundle as JSON."""
    manifest = bundle.manifest
    return {
        "path": str(bundle.path),
        "source": source,
        "name": manifest.name,
        "digest": bundle.digest,
        "format": manifest.format,
        "recipe": manifest.recipe,
        "task": manifest.painter.task,
        "side": manifest.resolution.side,
        "aspect": manifest.resolution.aspect,
        "steps": manifest.schedule.steps,
        "guidance_scale": manifest.schedule.guidance_scale,
        "distilled": describe_student(manifest.schedule.distilled),
        "plan_styles": list(manifest.designer.prompt.requests) if manifest.painter.task == "edit" else [],
        "licence": manifest.licence,
        "checkpoint": manifest.provenance.checkpoint,
        "made_with": {"tool": manifest.provenance.tool, **manifest.provenance.versions},
        "files": len(manifest.files),
        "bytes": sum(record.size for record in manifest.files.values()),
        "graphs": {
            name: {
                "file": graph.file,
                "max_abs": graph.error.max_abs,
                "relative": graph.error.relative,
                "limit": graph.error.limit,
                "cases": graph.error.cases,
            }
            for name, graph in manifest.graphs.items()
        },
    }


def describe_student(facts: Distilled | None) -> dict[str, Any] | None:
    """What a distilled painter supports, and what its teacher ran with; None for one that was not distilled."""
    if facts is None:
        return None
    return {
        "steps": sorted(map(len, facts.timesteps)) or "any",
        "teacher_steps": facts.teacher_steps,
        "teacher_guidance_scale": facts.guidance_scale,
    }


def print_facts(facts: dict[str, Any]) -> None:
    """The same facts for a reader."""
    made_with = ", ".join(f"{name} {value}" for name, value in facts["made_with"].items())
    lines = {
        "bundle": f"{facts['name']} ({facts['source']}: {facts['path']})",
        "digest": facts["digest"],
        "task": f"{facts['task']}, {facts['side']} px a side ({facts['aspect']} aspect)",
        "defaults": f"{facts['steps']} steps, guidance {facts['guidance_scale']:g}",
        "plan styles": ", ".join(facts["plan_styles"]) or "none: it paints from the prompt itself",
        "precision": f"{facts['recipe']} (bundle format {facts['format']})",
        "size": f"{facts['bytes'] / 1e6:.1f} MB in {facts['files']} files",
        "licence": facts["licence"],
        "checkpoint": facts["checkpoint"],
        "made with": made_with,
    }
    if facts["distilled"]:
        student = facts["distilled"]
        counts = student["steps"] if student["steps"] == "any" else ", ".join(map(str, student["steps"]))
        lines["distilled"] = (
            f"{counts} steps without guidance; its teacher ran {student['teacher_steps']} with guidance "
            f"{student['teacher_guidance_scale']:g} (--schedule teacher)"
        )
    for name, value in lines.items():
        click.echo(f"{name:<11} {value}")
    click.echo(f"\n{'graph':<11} {'max error':>10} {'relative':>10} {'limit':>10}  cases   (against torch in float32)")
    for name, graph in facts["graphs"].items():
        errors = f"{graph['max_abs']:>10.2e} {graph['relative']:>10.2e} {graph['limit']:>10.2e}"
        click.echo(f"{name:<11} {errors} {graph['cases']:>6}")


@click.command("info")
@click.argument("bundle", required=False)
@json_option
def command(bundle: str | None, as_json: bool) -> None:
    """Say what is in a bundle: model, precision, licence, measured error of each graph.

    Without BUNDLE, the one that `dimrt edit` would run.
    """
    path, source = find_bundle(bundle)
    facts = describe(Bundle.open(path, verify="layout"), source)
    if as_json:
        print_json(facts)
    else:
        print_facts(facts)
