"""From a key as the terminal library names it to an action on the desk. Pure; no Textual."""

from __future__ import annotations

import unicodedata

from nexus_protocol.actions import Key, Type
from nexus_protocol.errors import UsageError
from nexus_protocol.keys import NAMED_KEYS, parse_chord

# Names that Textual shortens, so that they are no Unicode names any more.
_BY_HAND = {"ctrl+@": "ctrl+space", "minus": "-", "slash": "/", "backslash": "\\", "at": "@", "underscore": "_"}


def action_for_key(key: str, character: str | None) -> Key | Type | None:
    """What a key press in drive mode does: text for a character, a chord for the rest, None for an unknown key.

    ``key`` is Textual's name (``ctrl+right_square_bracket``), ``character`` the text it stands for, if any.
    """
    held = key.split("+")[:-1]
    if character and character.isprintable() and not {"ctrl", "alt", "super", "meta", "hyper"} & set(held):
        return Type(text=character)
    *modifiers, last = _BY_HAND.get(key, key).split("+")
    try:
        return Key(chord=str(parse_chord("+".join([*modifiers, _plain(last)]))))
    except UsageError:
        return None


def _plain(name: str) -> str:
    """``right_square_bracket`` → ``]``: symbols arrive under their Unicode names."""
    if name in NAMED_KEYS or len(name) == 1:
        return name  # ESCAPE, TAB and DELETE are Unicode names too
    if name in _BY_HAND:
        return _BY_HAND[name]
    try:
        return unicodedata.lookup(name.replace("_", " "))
    except KeyError:
        return name
