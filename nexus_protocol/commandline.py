"""What the command lines of all three programs share: two options, the log, and how an error becomes an exit status.

Every command takes ``--state-dir`` and ``-v``, before or after its name, and asks for what they came to with
:func:`begin` or :func:`folder`. Errors go to standard error in one or two lines, never as a traceback.
"""

from __future__ import annotations

import dataclasses
import logging
import re
import sys
from pathlib import Path
from typing import Any, NoReturn, TextIO

import click

from .errors import NexusError, printable
from .invitation import Invitation
from .settings import checked_url, is_local, state_dir

LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)


class Program(click.Group):
    """A program's commands, and the commands below a command.

    ``main`` of a console script is :meth:`run` of the outermost.
    """

    group_class = type  # a group inside is of this class too

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        settings.setdefault("context_settings", {"help_option_names": ["-h", "--help"]})
        super().__init__(*arguments, **settings)
        self.params += _options()

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        if not isinstance(cmd, Program):
            cmd.params += _options()
        super().add_command(cmd, name)

    def run(self, arguments: list[str] | None = None) -> NoReturn:
        """Run the command line, and exit with the status that goes with what happened."""
        name = self.name or "nexus"
        try:
            status = self.main(arguments, prog_name=name, standalone_mode=False)
        except NexusError as error:
            status = complain(name, str(error), error.exit_status)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            status = error.exit_code
        except click.ClickException as error:
            command = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else name
            status = complain(name, f"{error.format_message()} (see: {command} --help)", error.exit_code)
        except (click.Abort, KeyboardInterrupt):
            status = 130
        except BrokenPipeError:
            status = 1  # whoever read us has read enough
            sys.stderr.close()
        except OSError as error:
            status = complain(name, error.strerror or str(error), 1)
        sys.exit(status if isinstance(status, int) else 0)


def duration(_context: click.Context, _option: click.Parameter, value: str) -> int:
    """A callback: seconds of a number with its unit, ``90s``, ``30m``, ``24h``, ``7d``."""
    match = re.fullmatch(r"([0-9]{1,9})([smhd])", value.strip())
    if match is None or not int(match[1]):
        raise click.BadParameter(f"{value!r} is not a duration, such as 90s, 30m, 24h or 7d")
    return int(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]


def read_invitation(program: str, link: str | None) -> Invitation:
    """The invitation on the command line, or, so that it is on no process list, from standard input. UsageError."""
    if link in (None, "-"):
        if sys.stdin.isatty():
            link = click.prompt("Paste the invitation", hide_input=True, err=True, prompt_suffix=": ")
        else:
            link = sys.stdin.readline(4096)
    invitation = Invitation.parse(link or "")
    url = checked_url(invitation.relay)
    warn_of_plain(program, url)
    return dataclasses.replace(invitation, relay=url)


def folder(program: str) -> Path:
    """The program's state folder, as asked for. Raises UsageError when it cannot be used."""
    return state_dir(program, click.get_current_context().meta.get(_STATE_DIR))


def begin(program: str) -> Path:
    """Start logging as asked for; the state folder."""
    log_to_stderr(click.get_current_context().meta.get(_VERBOSE, 0))
    return folder(program)


def warn_of_plain(program: str, url: str) -> None:
    """Say so when the relay's token will travel where others can read it."""
    if url.startswith("ws://") and not is_local(url):
        complain(program, f"{url} is not encrypted: whoever is on the way can use your relay token; wss:// is")


def complain(program: str, message: str, status: int = 1) -> int:
    """Say what went wrong on one line of standard error, which may quote a peer; returns ``status``."""
    click.echo(f"{program}: {printable(' '.join(message.split()))}", err=True)
    return status


def log_to_stderr(verbosity: int) -> None:
    """Warnings only; 1 tells what happens, 2 everything. Libraries' own warnings are no user's business.

    Never the values of variables: they may be typed text, or a token.
    """
    import structlog  # and rich behind it: not worth a tenth of a second to those who log nothing

    level = LEVELS[min(verbosity, len(LEVELS) - 1)]
    logging.basicConfig(level=level, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s", force=True)
    for noisy in ("aioice", "aiortc", "websockets", "asyncio"):
        logging.getLogger(noisy).setLevel(level if verbosity > 1 else logging.CRITICAL)
    if verbosity > 1:
        logging.getLogger("websockets").setLevel(logging.INFO)  # below that it logs headers, tokens and all
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                exception_formatter=structlog.dev.plain_traceback if verbosity > 1 else _name_error,
            ),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _name_error(out: TextIO, failure: Any) -> None:
    """Which error it was and where, on one line; its own words may quote what nobody is to read here."""
    kind, _, trace = failure
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else ""
    out.write(f"\n{kind.__name__}{where} (-vv tells more)")


_STATE_DIR, _VERBOSE = "nexus.state_dir", "nexus.verbose"


def _options() -> list[click.Parameter]:
    return [
        click.Option(
            ["--state-dir"],
            metavar="DIR",
            expose_value=False,
            callback=_keep(_STATE_DIR),
            help="Keep everything here (else NEXUS_STATE_DIR, else the XDG folder).",
        ),
        click.Option(
            ["-v", "--verbose"],
            count=True,
            expose_value=False,
            callback=_keep(_VERBOSE),
            help="Log to standard error what happens; twice for more.",
        ),
    ]


def _keep(key: str) -> Any:
    """A callback that notes the option for the whole command line; given twice, the last one holds."""

    def keep(context: click.Context, _option: click.Parameter, value: object) -> None:
        if value:
            context.meta[key] = value

    return keep
