"""Names of keys and chords, the same for console, command line and agent.

A chord is written ``ctrl+alt+t``: modifiers, then one key. A key is a name from :data:`NAMED_KEYS` or one
character. Matching is without regard to case for names, exact for single characters. ``+`` itself is
written ``plus``.
"""

from __future__ import annotations

import difflib
from typing import NamedTuple

from .errors import UsageError

MODIFIERS = ("ctrl", "alt", "shift", "super")
_MODIFIER_ALIASES = {"control": "ctrl", "meta": "super", "win": "super", "cmd": "super", "option": "alt"}

NAMED_KEYS = frozenset(
    """
    enter escape tab backspace delete insert space home end pageup pagedown up down left right menu print pause
    scrolllock numlock capslock plus
    """.split()
    + [f"f{n}" for n in range(1, 25)]
)
_KEY_ALIASES = {
    "return": "enter", "esc": "escape", "del": "delete", "ins": "insert", "pgup": "pageup", "pgdn": "pagedown",
    "page_up": "pageup", "page_down": "pagedown", "printscreen": "print", "+": "plus",
}  # fmt: skip


class Chord(NamedTuple):
    """Modifiers held while one key is pressed; ``modifiers`` in the order of MODIFIERS, each at most once."""

    modifiers: tuple[str, ...]
    key: str

    def __str__(self) -> str:
        return "+".join((*self.modifiers, self.key))


def parse_chord(text: str) -> Chord:
    """Read ``ctrl+shift+t``. A chord of one modifier alone (``super``) presses that modifier.

    Raises UsageError that names the nearest known keys when a part is not known.
    """
    parts = ["plus"] if text == "+" else text.split("+")
    if text.endswith("++"):
        parts = [*text[:-2].split("+"), "plus"]
    *modifiers, last = parts
    held = {_modifier(part, text) for part in modifiers}
    return Chord(tuple(m for m in MODIFIERS if m in held), _key(last, text))


def _modifier(part: str, whole: str) -> str:
    name = part.lower()
    name = _MODIFIER_ALIASES.get(name, name)
    if name not in MODIFIERS:
        raise UsageError(f"{part!r} in {whole!r} is not a modifier; known: {', '.join(MODIFIERS)}")
    return name


def _key(part: str, whole: str) -> str:
    if len(part) == 1 and part.isprintable():
        return "space" if part == " " else _KEY_ALIASES.get(part, part)
    name = part.lower()
    name = _MODIFIER_ALIASES.get(name, _KEY_ALIASES.get(name, name))
    if name in NAMED_KEYS or name in MODIFIERS:
        return name
    near = difflib.get_close_matches(name, [*NAMED_KEYS, *MODIFIERS], n=3)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise UsageError(f"{part!r} in {whole!r} is not a known key{hint}")
