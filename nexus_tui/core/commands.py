"""Every command of the console, once: bindings, footer, palette, help and docs are all made from this table."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from nexus_protocol.errors import UsageError
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
    Command("type_text", "Type text…", "Type a line of text on the desk.", ("t",), "Type"),
    Command("send_keys", "Send keys…", "Press a chord that this terminal cannot send, such as ctrl+alt+delete.",
            ("k",), "Keys"),
    Command("execute", "Run a command…", "Run a program on the desk and show what it prints.", ("e",), "Run"),
    Command("screenshot", "Save a screenshot", "Save the desk at full resolution as a PNG file here.", ("s",), "Shot"),
    Command("view_only", "View only, on or off", "While on, nothing that you press or click reaches the desk.",
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
    """The keys of each command, with ``[keys]`` of the settings applied, and what was wrong with those."""
    keys = {command.id: command.keys for command in COMMANDS}
    problems = []
    for name, value in overrides.items():
        if name not in keys:
            problems.append(unknown_key("[keys]", name, keys))
        elif not isinstance(value, str):
            problems.append(UsageError(f"[keys]: {name} is not text; write several keys as {name} = 'f2,d'"))
        elif name == "leave_drive" and not value.strip(" ,"):
            problems.append(UsageError("[keys]: leave_drive needs a key, or nothing would leave drive mode"))
        else:
            keys[name] = tuple(part.strip() for part in value.split(",") if part.strip())
    return keys, problems


_SYMBOLS = {
    "right_square_bracket": "]", "left_square_bracket": "[", "question_mark": "?", "backslash": "\\",
    "circumflex_accent": "^", "underscore": "_", "slash": "/", "colon": ":", "space": "Space", "enter": "Enter",
}  # fmt: skip


def show_key(key: str) -> str:
    """A key as people write it: ``Ctrl+]``, ``F1``, ``?``."""
    *modifiers, last = key.split("+")
    last = _SYMBOLS.get(last, last.upper() if modifiers or (last[0] == "f" and last[1:].isdigit()) else last)
    return "+".join([*(m.capitalize() for m in modifiers), last])
