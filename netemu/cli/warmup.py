"""``netemu warmup``: compile the engine ahead of its first use."""

from __future__ import annotations

import json

import click


@click.command("warmup", short_help="Compile the engine for this machine, ahead of its first use.")
@click.option("--all", "everything", is_flag=True, help="Also what only scripts and test suites call.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def command(everything: bool, as_json: bool) -> None:
    """Compile the engine for this machine and keep the result on disk, so that later runs start at once."""
    from netemu import warm
    from netemu.cli.progress import compile_if_needed

    cached = warm.is_warm(everything=everything)
    seconds = compile_if_needed(everything=everything)
    directory = warm.directory()
    if as_json:
        report = {
            "compile_s": round(seconds, 3),
            "cached": cached,
            "directory": None if directory is None else str(directory),
        }
        click.echo(json.dumps(report, indent=2))
    elif cached:
        click.echo(f"already compiled: {directory}")
    elif directory is None:
        click.echo(f"compiled in {seconds:.1f} s, but no cache directory is writable (NETEMU_CACHE_DIR)")
    else:
        click.echo(f"compiled in {seconds:.1f} s: {directory}")
