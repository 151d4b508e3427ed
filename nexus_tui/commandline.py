"""What the commands of nexus-tui share that dial a relay: where to, as whom, and the settings file."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from nexus_protocol.commandline import begin
from nexus_protocol.errors import UsageError
from nexus_protocol.settings import read_toml, relay_token, relay_url, unknown_key

PROGRAM = "nexus-tui"
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


def _settings(folder: Path, relay: str | None, token_file: str | None) -> Settings:
    """Raises UsageError; a typo in the file is only noted, for it must not keep anyone from their desk."""
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


_OPTIONS = (
    click.option("--relay", metavar="URL", help="The relay's address (else NEXUS_RELAY, else the settings)."),
    click.option("--token-file", metavar="FILE", help="The relay token (else NEXUS_TOKEN, else DIR/token)."),
)


def dials(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of all commands that dial the relay; it receives them as ``settings``."""

    @functools.wraps(function)
    def wrapped(*arguments: Any, relay: str | None, token_file: str | None, **rest: Any) -> Any:
        return function(*arguments, settings=_settings(begin(PROGRAM), relay, token_file), **rest)

    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped
