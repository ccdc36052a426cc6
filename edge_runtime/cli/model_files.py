"""`model show | verify`: bundle files, wherever they lie."""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.cli.output import add_json, add_verb, complain, emit, paint, say
from edge_runtime.errors import EXIT_OK, EXIT_PROBLEM, EdgeError

if TYPE_CHECKING:
    from edge_runtime.cli.output import Verbs
    from edge_runtime.manifest import Manifest


def register(kinds: Verbs) -> None:
    """Add the verbs of this file."""
    show = add_verb(
        kinds,
        "show",
        "what a bundle's manifest says",
        "Shows what a model wants, says, where it comes from, what its export lost, and its card: for what it is meant,\n"
        "its limits, and how its figures were measured.",
        "  edge-runtime model show shelf-occupancy-1.1.0.zip\n  edge-runtime model show --json",
    )
    show.add_argument("bundle", type=Path, nargs="?", help="default: the newest that is installed")
    add_json(show)
    show.set_defaults(act=_show)
    verify = add_verb(
        kinds,
        "verify",
        "check that bundles are whole and are what their manifests say",
        "Checks members, sizes and digests of each bundle. Exit code 1 if any is refused.",
        "  edge-runtime model verify *.zip",
    )
    verify.add_argument("bundles", type=Path, nargs="+", metavar="BUNDLE", help="bundle files")
    add_json(verify)
    verify.set_defaults(act=_verify)


def _show(args: argparse.Namespace) -> int:
    import msgspec

    from edge_runtime.daemon.compose import default_bundle
    from edge_runtime.lifecycle.bundle import read_manifest, sha256_of_file

    path = args.bundle or default_bundle()
    manifest = read_manifest(path)
    sha256 = sha256_of_file(path)
    if args.json:
        emit({"path": str(path), "sha256": sha256} | msgspec.to_builtins(manifest))
    else:
        _say_manifest(path, sha256, manifest)
    return EXIT_OK


def _say_manifest(path: Path, sha256: str, manifest: Manifest) -> None:
    width, height = manifest.input.size
    say(paint(f"{manifest.name} {manifest.version}", "bold"))
    rows = [
        ("", manifest.description),
        ("file", str(path)),
        ("sha256", sha256),
        ("licence", manifest.licence),
        ("created", manifest.created),
        ("task", manifest.task),
        (
            "takes",
            f"{width}x{height} {manifest.input.colour} {manifest.input.dtype}, margin {manifest.input.margin:.0%}",
        ),
        ("compares", "with the reference crop" if manifest.input.reference else "nothing: the current crop alone"),
        ("says", ", ".join(manifest.output.labels)),
        ("answers from", f"{manifest.thresholds.answer:.0%} confidence"),
        ("runtime", f">= {manifest.runtime[0]}, < {manifest.runtime[1]}"),
        *((f"made by: {key}", str(value)) for key, value in sorted(manifest.provenance.items())),
        *((f"receipt: {key}", f"{value:g}") for key, value in sorted(manifest.receipt.items())),
    ]
    width_of_key = max(len(key) for key, _ in rows)
    for key, value in rows:
        say(f"  {key.ljust(width_of_key)}  {value}")
    for heading, text in manifest.card.items():
        say(f"\n{paint(heading.replace('_', ' '), 'bold')}")
        say(textwrap.fill(text, 110, initial_indent="  ", subsequent_indent="  "))


def _verify(args: argparse.Namespace) -> int:
    from edge_runtime.lifecycle.bundle import verify_bundle

    refused = 0
    for path in args.bundles:
        try:
            report = verify_bundle(path)
        except EdgeError as fault:
            refused += 1
            if args.json:
                emit({"path": str(path), "ok": False, "error": str(fault)})
            else:
                complain(str(fault))
            if len(args.bundles) == 1:
                return fault.exit_code
            continue
        named = f"{report.id.name} {report.id.version}"
        if args.json:
            emit(
                {
                    "path": str(path),
                    "ok": True,
                    "error": "",
                    "model": named,
                    "sha256": report.id.sha256,
                    "bytes": report.bytes,
                }
            )
        else:
            say(
                f"{path}: {paint('whole', 'green')}, {named}, {report.bytes / 1e6:.2f} MB, sha256 {report.id.sha256[:16]}"
            )
    return EXIT_PROBLEM if refused else EXIT_OK
