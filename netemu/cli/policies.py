"""``netemu policies``: the recycle policies that there are, or one with its parameters and its text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from netemu.cli.tables import print_table

if TYPE_CHECKING:
    from netemu.net.policy_loader import Policy


@click.command("policies", short_help="List the recycle policies, or show one.")
@click.argument("name", required=False, metavar="[NAME|FILE.py]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(name: str | None, as_json: bool) -> None:
    """List the recycle policies for replay --recycle; of one, what can be set, and its text to read or to copy.

    A parameter is set behind the name: --recycle lifo:size=256,scan=4. netemu new policy NAME starts one of your own.
    """
    import netemu.kernel  # noqa: F401
    from netemu.net.policy_loader import load_policy, policy_names

    if name is None:
        policies = [load_policy(shipped) for shipped in policy_names()]
        if as_json:
            click.echo(json.dumps([_summary(policy) for policy in policies], indent=2))
        else:
            print_table(("policy", "parameters", "what it does"), [_row(policy) for policy in policies])
        return
    policy = load_policy(name)
    if as_json:
        shown = {**_summary(policy), "file": str(policy.path), "text": policy.path.read_text()}
        click.echo(json.dumps(shown, indent=2))
    else:
        click.echo(policy.path.read_text(), nl=False)


def _summary(policy: Policy) -> dict[str, Any]:
    return {
        "policy": policy.name,
        "about": policy.about,
        "parameters": policy.parameters,
        "parts": policy.parts,
        "bias": policy.bias,
    }


def _row(policy: Policy) -> tuple[str, str, str]:
    return policy.name, " ".join(f"{name}={value}" for name, value in policy.parameters.items()), policy.about
