"""The command line of nexus-relay: ``init``, ``serve``, ``token``."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click

from nexus_protocol import settings
from nexus_protocol.errors import NexusError, UsageError
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


@dataclass(frozen=True)
class _Common:
    """The options before the command. The folder is made when a command asks for it, so --help makes none."""

    state_dir: str | None
    verbose: int

    def folder(self) -> Path:
        return settings.state_dir(PROGRAM, self.state_dir)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--state-dir", metavar="DIR", help="Folder for the key (else NEXUS_STATE_DIR, else the XDG folder).")
@click.option("-v", "--verbose", count=True, help="Log to standard error what happens; twice for more.")
@click.pass_context
def cli(context: click.Context, state_dir: str | None, verbose: int) -> None:
    """The switchboard that agents and operators dial. It sees who is there, and never what they say."""
    context.obj = _Common(state_dir, verbose)


@cli.command()
@click.option("--if-missing", is_flag=True, help="Do nothing when there is a key already.")
@click.pass_obj
def init(common: _Common, if_missing: bool) -> None:
    """Make the key that signs tokens."""
    state = common.folder()
    if if_missing and tokens.key_path(state).exists():
        return
    click.echo(f"made {tokens.make_key(state)}; next: nexus-relay serve, and nexus-relay token for each peer")


@cli.command()
@click.option(
    "--listen", metavar="HOST:PORT", callback=_address, default=DEFAULT_LISTEN, show_default=True,
    help="Where; port 0 takes a free one.",
)  # fmt: skip
@click.pass_obj
def serve(common: _Common, listen: tuple[str, int]) -> None:
    """Serve until SIGTERM or Ctrl+C."""
    key = tokens.load_key(common.folder())
    _log_to_stderr([logging.WARNING, logging.INFO, logging.DEBUG][min(common.verbose, 2)])
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(key, *listen))


@cli.command()
@click.option("--role", type=click.Choice([role.value for role in Role]), required=True)
@click.option("--subject", metavar="NAME", required=True, help="Whom the token speaks for.")
@click.option("--desk", "desks", metavar="NAME", multiple=True, help="A desk it reaches (an agent: serves); else all.")
@click.option(
    "--ttl", metavar="TIME", callback=_seconds, default="24h", show_default=True, help="How long it is valid."
)
@click.pass_obj
def token(common: _Common, role: str, subject: str, desks: tuple[str, ...], ttl: int) -> None:
    """Print a token, alone on standard output."""
    if not desks and role == Role.AGENT:
        raise UsageError("an agent's token names its desk: --desk NAME")
    click.echo(tokens.mint(tokens.load_key(common.folder()), Role(role), subject, desks or (ALL_DESKS,), ttl=ttl))


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


def _log_to_stderr(level: int) -> None:
    import structlog

    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def main(arguments: list[str] | None = None) -> None:
    """Run, and exit with the status that DESIGN gives to what happened."""
    try:
        status = cli.main(arguments, prog_name=PROGRAM, standalone_mode=False)
    except NexusError as error:
        status = _complain(str(error), error.exit_status)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        status = error.exit_code
    except click.ClickException as error:
        command = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else PROGRAM
        status = _complain(f"{error.format_message()} (see: {command} --help)", error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        status = 130
    except OSError as error:
        status = _complain(f"{error.strerror or error}", 1)
    sys.exit(status if isinstance(status, int) else 0)


def _complain(message: str, status: int) -> int:
    click.echo(f"{PROGRAM}: {' '.join(message.split())}", err=True)
    return status
