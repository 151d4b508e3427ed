"""X11's names for keys: the keysym of each key name of nexus_protocol.keys and of each character.

Values from the X Window System Protocol, appendix A (keysym encoding), and X11/keysymdef.h.
"""

from __future__ import annotations

RETURN = 0xFF0D
TAB = 0xFF09
SHIFT = 0xFFE1

NAMED: dict[str, int] = {
    "enter": RETURN,
    "escape": 0xFF1B,
    "tab": TAB,
    "backspace": 0xFF08,
    "delete": 0xFFFF,
    "insert": 0xFF63,
    "space": 0x0020,
    "home": 0xFF50,
    "end": 0xFF57,
    "pageup": 0xFF55,
    "pagedown": 0xFF56,
    "up": 0xFF52,
    "down": 0xFF54,
    "left": 0xFF51,
    "right": 0xFF53,
    "menu": 0xFF67,
    "print": 0xFF61,
    "pause": 0xFF13,
    "scrolllock": 0xFF14,
    "numlock": 0xFF7F,
    "capslock": 0xFFE5,
    "plus": 0x002B,
    **{f"f{n}": 0xFFBE + n - 1 for n in range(1, 25)},
    "ctrl": 0xFFE3,
    "alt": 0xFFE9,
    "shift": SHIFT,
    "super": 0xFFEB,
}
LOCKS = frozenset({"capslock", "numlock", "scrolllock"})


def of_character(character: str) -> int:
    """Latin-1 characters are their own keysyms, all others are their code point in the Unicode range."""
    if character == "\n":
        return RETURN
    if character == "\t":
        return TAB
    point = ord(character)
    return point if point <= 0xFF else 0x0100_0000 | point


def of_key(key: str) -> int:
    """`key` as in nexus_protocol.keys.Chord: a name or one character."""
    return NAMED[key] if len(key) > 1 else of_character(key)
