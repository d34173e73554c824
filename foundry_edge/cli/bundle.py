"""`foundry-edge bundle show|verify PATH`: what a bundle holds, and whether it is intact."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from foundry_edge.cli import options

if TYPE_CHECKING:
    from foundry_edge_runtime.bundle import Bundle, Manifest

_app = typer.Typer(help="Show or verify a bundle.", no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(_app, name="bundle")


@_app.command("show")
def show(path: options.BundleArgument = None, json: options.Json = False) -> None:
    """Print the ladder of engines."""
    from foundry_edge.cli.ladder import SHOW, print_ladder
    from foundry_edge.cli.output import print_json, stdout
    from foundry_edge_runtime.bundle import load_bundle
    from foundry_edge_runtime.errors import printable
    from foundry_edge_runtime.profile import load_profile

    bundle = load_bundle(path)
    if json:
        print_json(_described(bundle))
        return
    manifest, profile = bundle.manifest, load_profile(bundle.manifest)
    columns = SHOW + (("p50 ms", "p90 ms") if profile.engines else ())
    console, spec = stdout(), manifest.preprocessing
    console.print(printable(f"{manifest.id} ({bundle.folder})"), style="bold", markup=False, soft_wrap=True)
    print_ladder(console, manifest, profile, columns)
    total = sum(ref.bytes for ref in manifest.files()) / 2**20
    console.print(
        f"{len(manifest.rungs)} engines, {total:.1f} MiB, made {printable(manifest.created)}; "
        f"input: {spec.points} points in {spec.groups} groups of {spec.group_size}; "
        f"{len(manifest.labels)} classes; {_beside(manifest)}{printable(_judged(manifest))}",
        style="dim",
        markup=False,
    )


@_app.command("verify")
def verify(path: options.BundleArgument = None, json: options.Json = False) -> None:
    """Check every file's hash, size and references; of manifest.json, which states them, the form alone."""
    from foundry_edge.cli.output import print_json
    from foundry_edge_runtime.bundle import MANIFEST, load_bundle
    from foundry_edge_runtime.errors import printable

    bundle = load_bundle(path)
    files = bundle.verify()
    if json:
        names = [ref.name for ref in files]
        print_json({**_head(bundle), "verified": names, "form_only": [MANIFEST]})
    else:
        typer.echo(printable(f"{bundle.folder}: {len(files)} files verified, bundle {bundle.manifest.id}"))
        typer.echo(f"{MANIFEST} has the right form; no hash covers it, nor the figures and labels it states.")


def _beside(manifest: Manifest) -> str:
    """What the bundle has beside its engines."""
    scenes = ("" if manifest.scene else "not ") + "for scenes"
    if manifest.parts is None:
        return f"{scenes}, no parts"
    count = sum(len(one.parts) for one in manifest.parts.categories)
    return f"{scenes}, {count} parts of {len(manifest.parts.categories)} categories"


def _judged(manifest: Manifest) -> str:
    """Over how many clouds the rungs were judged, as far as the bundle states it."""
    stated = [rung.evaluation or rung.fidelity or rung.accuracy for rung in manifest.rungs]
    sets = dict.fromkeys(f"{one.samples} clouds of {one.data}" for one in stated if one is not None)
    return f"; judged over {', '.join(sets)}" if sets else ""


def _head(bundle: Bundle) -> dict[str, Any]:
    return {"schema": 1, "bundle": {"id": bundle.manifest.id, "source": bundle.source}}


def _described(bundle: Bundle) -> dict[str, Any]:
    from foundry_edge_runtime.profile import load_profile

    manifest = bundle.manifest
    profile = load_profile(manifest)
    measured = [
        engine.model_dump(mode="json") for rung in manifest.rungs for engine in profile.measured(rung)
    ]
    return {**_head(bundle), "manifest": manifest.model_dump(mode="json"), "measured": measured}
