"""What the commands of nexus-tui share that dial a relay: where to, as whom, and the settings file."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from nexus_protocol.commandline import begin, warn_of_plain
from nexus_protocol.errors import UsageError
from nexus_protocol.settings import read_toml, relay_token, relay_url, token_says, unknown_key
from nexus_protocol.vocabulary import Role

from .core.membership import Membership

PROGRAM = "nexus-tui"
SETTINGS = frozenset({"relay", "desk", "keys"})


@dataclass(frozen=True)
class Settings:
    """Where to dial and as whom; ``notes`` are what was wrong with the settings file and was passed over."""

    membership: Membership
    accept_new: bool
    desk: str | None
    keys: dict[str, object]
    notes: tuple[str, ...]


def _config(folder: Path) -> tuple[Path, dict[str, Any], list[str]]:
    path = folder / "nexus-tui.toml"
    try:
        return path, read_toml(path), []
    except UsageError as error:
        return path, {}, [str(error)]


def relay_of(folder: Path, relay: str | None) -> str:
    """The relay's address, as the commands that dial it find it. Raises UsageError."""
    return relay_url(relay, _config(folder)[1], folder)


def _settings(folder: Path, relay: str | None, token_file: str | None, accept_new: bool) -> Settings:
    """Raises UsageError; a typo in the file is only noted, for it must not keep anyone from their desk."""
    path, config, notes = _config(folder)
    notes += [str(unknown_key(str(path), key, SETTINGS)) for key in config if key not in SETTINGS]
    keys = config.get("keys", {})
    if not isinstance(keys, dict):
        keys, notes = {}, [*notes, f"{path}: [keys] is a table of command = key"]
    desk = config.get("desk")
    url = relay_url(relay, config, folder)
    warn_of_plain(PROGRAM, url)
    token = relay_token(folder, token_file)
    if token_says(token.text, "role") == Role.AGENT:  # dialling with it would push that agent off its desk
        raise UsageError("this is the token of an agent; ask for an invitation and run `nexus-tui join`")
    membership = Membership.of(folder, url, token)
    chosen = str(desk) if desk is not None else None
    return Settings(membership=membership, accept_new=accept_new, desk=chosen, keys=keys, notes=tuple(notes))


_OPTIONS = (
    click.option("--relay", metavar="URL", help="The relay (else NEXUS_RELAY, the settings, the one joined)."),
    click.option("--token-file", metavar="FILE", help="The relay token (else NEXUS_TOKEN, else DIR/token)."),
    click.option("--accept-new", is_flag=True, help="Trust the key of a desk that is not known yet."),
)


def dials(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of all commands that dial the relay; it receives them as ``settings``."""

    @functools.wraps(function)
    def wrapped(*arguments: Any, relay: str | None, token_file: str | None, accept_new: bool, **rest: Any) -> Any:
        settings = _settings(begin(PROGRAM), relay, token_file, accept_new)
        return function(*arguments, settings=settings, **rest)

    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped
