"""Every command of the console, once: bindings, footer, palette, help and docs are all made from this table."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from enum import StrEnum

from nexus_protocol.errors import UsageError
from nexus_protocol.keys import parse_chord
from nexus_protocol.settings import unknown_key


class Mode(StrEnum):
    """COMMAND: keys are commands. DRIVE: every key goes to the desk, but for the one that leaves."""

    COMMAND = "command"
    DRIVE = "drive"


@dataclass(frozen=True)
class Command:
    """``id`` is its name in settings; ``keys`` its default keys (Textual's names); ``footer`` its short label there."""

    id: str
    title: str
    help: str
    keys: tuple[str, ...] = ()
    footer: str = ""
    mode: Mode = Mode.COMMAND


LEAVE_DRIVE = "ctrl+right_square_bracket"

COMMANDS = (
    Command("drive", "Drive the desk", "From now on every key goes to the desk, Ctrl+C included.",
            ("enter", "d"), "Drive"),
    Command("leave_drive", "Leave drive mode", "Keys are commands again.", (LEAVE_DRIVE,), "Leave drive mode",
            Mode.DRIVE),
    Command("approve", "Approve the request", "Let the shown action run, exactly as shown.", ("a",), "Approve"),
    Command("deny", "Deny the request", "Refuse the shown action.", ("x",), "Deny"),
    Command("next_request", "Show the next request", "Look at another waiting request.", ("n",), ""),
    Command("request_down", "Scroll the request down", "See the rest of a long one.", ("pagedown",)),
    Command("request_up", "Scroll the request up", "And go back to its start.", ("pageup",)),
    Command("cancel", "Cancel what I asked for", "Withdraw what waits for a decision, and stop what runs.", ("c",)),
    Command("type_text", "Type text…", "Type a line of text on the desk.", ("t",), "Type"),
    Command("send_keys", "Send keys…", "Press a chord that this terminal cannot send, such as ctrl+alt+delete.",
            ("k",), "Keys"),
    Command("execute", "Run a command…", "Run a program on the desk and show what it prints.", ("e",), "Run"),
    Command("screenshot", "Save a screenshot", "Save the desk at full resolution as a PNG file here.", ("s",), "Shot"),
    Command("view_only", "View only, on or off", "While on, nothing that you type, click or run reaches the desk.",
            ("v",), ""),
    Command("side", "Show or hide the side panes", "Give the whole terminal to the picture, or get the panes back.",
            ("f",), "Full"),
    Command("log", "Go to the action log", "Scroll back through what has been done.", ("l",), ""),
    Command("desks", "Go to another desk…", "Choose among the desks that are there.", ("o",), ""),
    Command("help", "Help", "All commands and keys.", ("question_mark", "f1"), "Help"),
    Command("palette", "Command palette", "Find any command by its name.", ("ctrl+p",), "Palette"),
    Command("quit", "Quit", "Leave the console; the desk stays as it is.", ("ctrl+q",), "Quit"),
)  # fmt: skip

EVERYWHERE = frozenset({"palette", "quit"})
"""Commands that work on every screen, dialogs included; the application runs them, the main screen all others."""

BY_ID = {command.id: command for command in COMMANDS}


def keymap(overrides: dict[str, object]) -> tuple[dict[str, tuple[str, ...]], list[UsageError]]:
    """The keys of each command, with ``[keys]`` of the settings applied, and what was wrong with those.

    A setting with anything wrong in it changes nothing. What leaves drive mode by default always does.
    """
    standard = {command.id: command.keys for command in COMMANDS}
    wanted: dict[str, tuple[str, ...]] = {}
    problems = []
    for name, value in overrides.items():
        try:
            if name not in standard:
                raise unknown_key("[keys]", name, standard)
            wanted[name] = _keys_of(name, value)
        except UsageError as error:
            problems.append(error)
    if "leave_drive" in wanted:
        wanted["leave_drive"] = tuple(dict.fromkeys((*wanted["leave_drive"], LEAVE_DRIVE)))
    keys = standard | wanted
    for name in wanted:
        clashes = [(key, other) for other in keys for key in keys[other] if other != name and key in keys[name]]
        for key, other in clashes[:1]:
            problems.append(UsageError(f"[keys]: {show_key(key)} means {other} already; it cannot mean {name} too"))
            keys[name] = standard[name]
    return keys, problems


def _keys_of(name: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, str):
        raise UsageError(f"[keys]: {name} is not text; write several keys as {name} = 'f2,d'")
    return tuple(_terminal_name(name, part.strip()) for part in value.split(",") if part.strip())


def _terminal_name(command: str, written: str) -> str:
    """A key as people write it (``Ctrl+]``, ``F2``, ``?``), by the terminal library's name."""
    try:
        *held, last = written.split("+") if not written.endswith("+") else (written,)
        chord = parse_chord("+".join((*held, _WRITTEN.get(last, last))))
    except UsageError as error:
        raise UsageError(f"[keys]: {command}: {error}") from None
    key = _NAMES.get(chord.key, chord.key)
    if len(key) == 1 and not key.isalnum():
        key = unicodedata.name(key).lower().replace(" ", "_").replace("-", "_")
    return "+".join((*chord.modifiers, key))


_NAMES = {"-": "minus", "/": "slash", "\\": "backslash", "@": "at", "_": "underscore"}
"""Symbols that the terminal library does not call by their Unicode names."""

_SYMBOLS = {
    "right_square_bracket": "]", "left_square_bracket": "[", "question_mark": "?", "backslash": "\\",
    "circumflex_accent": "^", "underscore": "_", "slash": "/", "colon": ":", "space": "Space", "enter": "Enter",
}  # fmt: skip


_WRITTEN = {name: symbol for name, symbol in _SYMBOLS.items() if len(symbol) == 1}
"""The terminal library's own names are understood as well."""


def show_key(key: str) -> str:
    """A key as people write it: ``Ctrl+]``, ``F1``, ``?``."""
    *modifiers, last = key.split("+")
    last = _SYMBOLS.get(last, last.upper() if modifiers or (last[0] == "f" and last[1:].isdigit()) else last)
    return "+".join([*(m.capitalize() for m in modifiers), last])
