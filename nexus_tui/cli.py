"""The command line of nexus-tui."""

from __future__ import annotations

import asyncio
from typing import NoReturn

import click

from nexus_protocol.commandline import Program, begin

from .action_cli import action
from .commandline import PROGRAM, Settings, dials
from .joining import join, show_fingerprint, trust


@click.group(PROGRAM, cls=Program)
@click.version_option(package_name="nexus-tui")
def cli() -> None:
    """A live remote desktop in your terminal."""


@cli.command()
@click.argument("desk", required=False)
@click.option("--view-only", is_flag=True, help="Send nothing to the desk.")
@dials
def connect(settings: Settings, desk: str | None, view_only: bool) -> None:
    """Open the console on DESK (left out: the only one there, or a choice)."""
    from .console import run_console

    asyncio.run(run_console(settings, desk or settings.desk, view_only=view_only))


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@dials
def desks(settings: Settings, as_json: bool) -> None:
    """List the desks that are there."""
    from .scripting import list_desks

    asyncio.run(list_desks(settings, as_json=as_json))


@cli.command()
@click.option("--size", default="1280x800", show_default=True, help="Of the private desktop.")
@click.option("--synthetic", is_flag=True, help="A drawn desktop, without an X server.")
def demo(size: str, synthetic: bool) -> None:
    """Everything on this machine: a relay, an agent on a private desktop, and the console on it."""
    begin(PROGRAM)
    from .demo import run_demo

    raise SystemExit(asyncio.run(run_demo(size=size, synthetic=synthetic)))


for command in (action, join, trust, show_fingerprint):
    cli.add_command(command)


def main() -> NoReturn:
    """The console script."""
    cli.run()
