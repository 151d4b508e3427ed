"""The command line of nexus-relay: ``init``, ``serve``, ``token``."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
from collections.abc import Callable
from typing import NoReturn

import click

from nexus_protocol.commandline import Program, begin, folder
from nexus_protocol.errors import UsageError
from nexus_protocol.vocabulary import Role

from . import tokens
from .claims import ALL_DESKS

PROGRAM = "nexus-relay"
DEFAULT_LISTEN = "127.0.0.1:8765"


def _address(_context: click.Context, _option: click.Parameter, value: str) -> tuple[str, int]:
    """``HOST:PORT``; an IPv6 host stands in brackets."""
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%]+)\]|([^:\[\]]+)):([0-9]{1,5})", value)
    if match is None or int(match[3]) > 65_535:
        raise click.BadParameter(f"{value!r} is not HOST:PORT, such as {DEFAULT_LISTEN}")
    return match[1] or match[2], int(match[3])


def _seconds(_context: click.Context, _option: click.Parameter, value: str) -> int:
    """A number with its unit: ``90s``, ``30m``, ``24h``, ``7d``."""
    match = re.fullmatch(r"([0-9]{1,9})([smhd])", value.strip())
    if match is None:
        raise click.BadParameter(f"{value!r} is not a duration, such as 90s, 30m, 24h or 7d")
    return int(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]


@click.group(PROGRAM, cls=Program)
def cli() -> None:
    """The switchboard that agents and operators dial. It sees who is there, and never what they say."""


@cli.command()
@click.option("--if-missing", is_flag=True, help="Do nothing when there is a key already.")
def init(if_missing: bool) -> None:
    """Make the key that signs tokens."""
    state = folder(PROGRAM)
    if if_missing and tokens.key_path(state).exists():
        return
    click.echo(f"made {tokens.make_key(state)}; next: nexus-relay serve, and nexus-relay token for each peer")


@cli.command()
@click.option(
    "--listen", metavar="HOST:PORT", callback=_address, default=DEFAULT_LISTEN, show_default=True,
    help="Where; port 0 takes a free one.",
)  # fmt: skip
def serve(listen: tuple[str, int]) -> None:
    """Serve until SIGTERM or Ctrl+C."""
    key = tokens.load_key(begin(PROGRAM))
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(key, *listen))


@cli.command()
@click.option("--role", type=click.Choice([role.value for role in Role]), required=True)
@click.option("--subject", metavar="NAME", required=True, help="Whom the token speaks for.")
@click.option("--desk", "desks", metavar="NAME", multiple=True, help="A desk it reaches (an agent: serves); else all.")
@click.option(
    "--ttl", metavar="TIME", callback=_seconds, default="24h", show_default=True, help="How long it is valid."
)
def token(role: str, subject: str, desks: tuple[str, ...], ttl: int) -> None:
    """Print a token, alone on standard output."""
    if not desks and role == Role.AGENT:
        raise UsageError("an agent's token names its desk: --desk NAME")
    click.echo(tokens.mint(tokens.load_key(folder(PROGRAM)), Role(role), subject, desks or (ALL_DESKS,), ttl=ttl))


async def _serve(key: bytes, host: str, port: int) -> None:
    from .server import RelayServer, log

    loop = asyncio.get_running_loop()
    # What asyncio cannot hand to anybody (no file descriptors left, say) is a line in the log, not a traceback.
    loop.set_exception_handler(lambda _, problem: log.error(problem["message"], error=repr(problem.get("exception"))))
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with RelayServer(key, host, port) as relay:
        for address in relay.addresses:
            click.echo(f"listening on {address}")
        await stop.wait()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's where it is installed."""
    with contextlib.suppress(ImportError):
        import uvloop

        return uvloop.new_event_loop
    return None


def main(arguments: list[str] | None = None) -> NoReturn:
    """The console script."""
    cli.run(arguments)
