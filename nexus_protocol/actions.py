"""What can be done to a desk: one frozen struct for each action, and what each needs.

Coordinates are pixels of the desk, origin at the top left. Sizes are bounded here, so that nothing past the
codec needs to doubt them; whether a point lies on *this* desk only the agent can say.
"""

from __future__ import annotations

import hashlib
import shlex
from typing import Annotated

import msgspec
from msgspec import Meta

from .errors import UsageError
from .vocabulary import Button, Name, Permission, Role

MAX_TEXT = 100_000
"""Characters in one `type` action."""
MAX_FILE = 16 * 1024 * 1024
"""Bytes of one file read or written, and of the output kept from one command."""

Coordinate = Annotated[int, Meta(ge=0, le=65_535)]
Length = Annotated[int, Meta(ge=1, le=65_535)]
Notches = Annotated[int, Meta(ge=-100, le=100)]
ShortText = Annotated[str, Meta(max_length=4_096, pattern=r"^[^\0]*\Z")]
"""No NUL: no operating system takes one in an argument or a path."""
FilePath = Annotated[str, Meta(min_length=1, max_length=4_096, pattern=r"^[^\0]+\Z")]


class Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type"):
    """Base of everything on the wire."""


class Region(Struct, frozen=True):
    """A rectangle of the desk, in pixels."""

    x: Coordinate
    y: Coordinate
    width: Length
    height: Length


class Click(Struct, frozen=True, tag="click"):
    x: Coordinate
    y: Coordinate
    button: Button = Button.LEFT
    count: Annotated[int, Meta(ge=1, le=3)] = 1


class Move(Struct, frozen=True, tag="move"):
    x: Coordinate
    y: Coordinate


class Press(Struct, frozen=True, tag="press"):
    """Hold a button down; it stays down until `release`, or until the link ends."""

    x: Coordinate
    y: Coordinate
    button: Button = Button.LEFT


class Release(Struct, frozen=True, tag="release"):
    x: Coordinate
    y: Coordinate
    button: Button = Button.LEFT


class Drag(Struct, frozen=True, tag="drag"):
    x: Coordinate
    y: Coordinate
    to_x: Coordinate
    to_y: Coordinate
    button: Button = Button.LEFT


class Scroll(Struct, frozen=True, tag="scroll"):
    """Turn the wheel over a point; positive notches go right and down."""

    x: Coordinate
    y: Coordinate
    dx: Notches = 0
    dy: Notches = 0


class Type(Struct, frozen=True, tag="type"):
    text: Annotated[str, Meta(min_length=1, max_length=MAX_TEXT)]


class Key(Struct, frozen=True, tag="key"):
    """Press and release one chord, written as in keys.py."""

    chord: Annotated[str, Meta(min_length=1, max_length=64)]


class Screenshot(Struct, frozen=True, tag="screenshot"):
    """A PNG of the region, or of the whole desk."""

    region: Region | None = None


class Execute(Struct, frozen=True, tag="execute"):
    """Run a program, without a shell, in the agent's session on the desk."""

    argv: Annotated[tuple[ShortText, ...], Meta(min_length=1, max_length=256)]
    cwd: ShortText | None = None
    timeout: Annotated[float, Meta(gt=0, le=3_600)] = 60.0


class FileRead(Struct, frozen=True, tag="file_read"):
    path: FilePath


class FileWrite(Struct, frozen=True, tag="file_write"):
    """Write the whole file at once; it replaces what was there or nothing changes."""

    path: FilePath
    data: Annotated[bytes, Meta(max_length=MAX_FILE)]


class Admission(Struct, frozen=True, tag="admission"):
    """A stranger wants to come to the desk: nobody can ask for it as an action, the agent asks its approvers."""

    name: Name
    role: Role
    fingerprint: Annotated[str, Meta(pattern=r"^SHA256:[A-Za-z0-9+/]{43}\Z")]


Action = Click | Move | Press | Release | Drag | Scroll | Type | Key | Screenshot | Execute | FileRead | FileWrite

Asked = Action | Admission
"""What a request can be about."""

PERMISSION_OF: dict[type[Struct], Permission] = {
    Click: Permission.CLICK,
    Move: Permission.CLICK,
    Press: Permission.CLICK,
    Release: Permission.CLICK,
    Drag: Permission.CLICK,
    Scroll: Permission.CLICK,
    Type: Permission.TYPE,
    Key: Permission.TYPE,
    Screenshot: Permission.SCREENSHOT,
    Execute: Permission.EXECUTE,
    FileRead: Permission.FILE_READ,
    FileWrite: Permission.FILE_WRITE,
    Admission: Permission.VIEW,
}


def validated(action: Action) -> Action:
    """The action, held against the limits above before anything is sent. Raises UsageError."""
    try:
        checked: Action = msgspec.convert(msgspec.to_builtins(action, builtin_types=(bytes,)), Action)
    except msgspec.ValidationError as error:
        raise UsageError(f"that cannot be done on any desk: {error}") from None
    return checked


def kind_of(action: Asked) -> str:
    """The action's name on the wire and in the log: ``click``, ``file_read``, …"""
    return str(action.__struct_config__.tag)


def subject_of(action: Asked) -> str:
    """The text a policy rule's ``match`` is held against: the command, the path, the text; else empty."""
    match action:
        case Execute(argv=argv):
            return shlex.join(argv)
        case FileRead(path=path) | FileWrite(path=path):
            return path
        case Type(text=text):
            return text
        case Key(chord=chord):
            return chord
        case Admission(role=role, fingerprint=fingerprint):
            return f"to this desk as {role}, with the key {fingerprint}"
        case _:
            return ""


def place_of(action: Asked) -> tuple[int, int] | None:
    """The point of the desk that the action touches, where it touches one."""
    match action:
        case Drag(to_x=x, to_y=y):
            return x, y
        case Click(x=x, y=y) | Press(x=x, y=y) | Release(x=x, y=y) | Move(x=x, y=y) | Scroll(x=x, y=y):
            return x, y
        case _:
            return None


def payload_hash(action: Asked) -> bytes:
    """SHA-256 over the exact action. A decision names it, so it can never be applied to anything else."""
    return hashlib.sha256(msgspec.msgpack.encode(action)).digest()


def describe(action: Asked) -> str:
    """One line for the log. Typed text is counted, never shown: it may be a password.

    What would break the line or steer a terminal is shown as its escape (``\\n``, ``\\x1b``).
    """
    line = _described(action)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def _described(action: Asked) -> str:
    match action:
        case Click(x=x, y=y, button=button, count=count):
            times = {1: "", 2: "double ", 3: "triple "}[count]
            return f"{times}{button} at {x},{y}"
        case Press(x=x, y=y, button=button):
            return f"{button} down at {x},{y}"
        case Release(x=x, y=y, button=button):
            return f"{button} up at {x},{y}"
        case Move(x=x, y=y):
            return f"to {x},{y}"
        case Drag(x=x, y=y, to_x=to_x, to_y=to_y, button=button):
            return f"{button} {x},{y} → {to_x},{to_y}"
        case Scroll(x=x, y=y, dx=dx, dy=dy):
            turns = [f"{abs(n)} {word}" for n, word in
                     ((dx, "right" if dx > 0 else "left"), (dy, "down" if dy > 0 else "up")) if n]  # fmt: skip
            return f"{' '.join(turns) or 'nowhere'} at {x},{y}"
        case Type(text=text):
            return f"{len(text)} character{'s' if len(text) != 1 else ''}"
        case Key(chord=chord):
            return chord
        case Screenshot(region=None):
            return "whole desk"
        case Screenshot(region=Region(x=x, y=y, width=width, height=height)):
            return f"{width}×{height} at {x},{y}"
        case FileWrite(path=path, data=data):
            return f"{path} ({len(data):,} bytes)"
        case _:
            return subject_of(action)
