"""What every command of nexus-tui shares: its settings, its logging, its loop, and how an error ends it."""

from __future__ import annotations

import asyncio
import functools
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import structlog

from nexus_protocol.errors import NexusError, UsageError
from nexus_protocol.settings import read_toml, relay_token, relay_url, state_dir, unknown_key

SETTINGS = frozenset({"relay", "desk", "keys"})


@dataclass(frozen=True)
class Settings:
    """Where to dial and as whom; ``notes`` are what was wrong with the settings file and was passed over."""

    folder: Path
    url: str
    token: str
    desk: str | None
    keys: dict[str, object]
    notes: tuple[str, ...]


def _settings(state: str | None, relay: str | None, token_file: str | None) -> Settings:
    """Raises UsageError; a typo in the file is only noted, for it must not keep anyone from their desk."""
    folder = state_dir("nexus-tui", state)
    path = folder / "nexus-tui.toml"
    notes = []
    try:
        config = read_toml(path)
    except UsageError as error:
        config, notes = {}, [str(error)]
    notes += [str(unknown_key(str(path), key, SETTINGS)) for key in config if key not in SETTINGS]
    keys = config.get("keys", {})
    if not isinstance(keys, dict):
        keys, notes = {}, [*notes, f"{path}: [keys] is a table of command = key"]
    desk = config.get("desk")
    return Settings(
        folder=folder, url=relay_url(relay, config), token=relay_token(folder, token_file),
        desk=str(desk) if desk is not None else None, keys=keys, notes=tuple(notes),
    )  # fmt: skip


class Program(click.Group):
    """A group whose commands end every error as one or two lines on standard error and the right exit status."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except NexusError as error:
            click.echo(f"nexus-tui: {error}", err=True)
            ctx.exit(error.exit_status)
        except (KeyboardInterrupt, asyncio.CancelledError):
            ctx.exit(130)
        except BrokenPipeError:
            ctx.exit(1)


_OPTIONS = (
    click.option("--state-dir", "state", metavar="DIR", help="Keep settings and token here."),
    click.option("--relay", metavar="URL", help="The relay's address (else NEXUS_RELAY, else the settings)."),
    click.option("--token-file", metavar="FILE", help="The relay token (else NEXUS_TOKEN, else DIR/token)."),
    click.option("-v", "--verbose", is_flag=True, help="Write a log to standard error."),
)


def dials(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of all commands that dial the relay; it receives them as ``settings``."""

    @functools.wraps(function)
    def wrapped(*, state: str | None, relay: str | None, token_file: str | None, verbose: bool, **rest: Any) -> Any:
        configure_logging(verbose)
        return function(settings=_settings(state, relay, token_file), **rest)

    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped


def configure_logging(verbose: bool) -> None:
    """Libraries stay silent, and nothing of them reaches the terminal, unless asked for."""
    level = logging.INFO if verbose else logging.CRITICAL
    logging.basicConfig(level=level, stream=sys.stderr, format="%(name)s: %(message)s")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(level))
