"""Chords as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_protocol.errors import UsageError
from nexus_protocol.keys import MODIFIERS, NAMED_KEYS, Chord, parse_chord

characters = st.characters(exclude_categories=("C", "Z"), exclude_characters="+")
keys = st.sampled_from(sorted(NAMED_KEYS)) | characters
chords = st.builds(
    lambda held, key: Chord(tuple(m for m in MODIFIERS if m in held), key), st.sets(st.sampled_from(MODIFIERS)), keys
)


@given(chords)
def test_a_printed_chord_reads_back(chord: Chord) -> None:
    """parse(str(chord)) is the chord: the log's words can be typed again."""
    assert parse_chord(str(chord)) == chord


@given(st.text(max_size=40))
def test_any_text_is_a_chord_or_a_usage_error(text: str) -> None:
    """Nothing else comes of any text; and a chord that was read prints as something that reads the same."""
    try:
        chord = parse_chord(text)
    except UsageError:
        return
    assert parse_chord(str(chord)) == chord


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("a", "a"),
        ("A", "A"),
        ("é", "é"),
        ("日", "日"),
        ("Ctrl+Alt+T", "ctrl+alt+T"),
        ("alt+ctrl+delete", "ctrl+alt+delete"),
        ("ctrl+ctrl+c", "ctrl+c"),
        ("super", "super"),
        ("ctrl+shift", "ctrl+shift"),
        ("F5", "f5"),
        ("f24", "f24"),
        (" ", "space"),
        ("ctrl+ ", "ctrl+space"),
    ],
)
def test_chords_print_in_one_way(text: str, printed: str) -> None:
    """Modifiers come in one order, each once; names in lower case; single characters as they are."""
    assert str(parse_chord(text)) == printed


@pytest.mark.parametrize("text", ["+", "plus", "PLUS"])
def test_the_plus_key(text: str) -> None:
    """+ alone is the key, though it also joins."""
    assert parse_chord(text) == Chord((), "plus")


@pytest.mark.parametrize("text", ["ctrl++", "ctrl+plus", "control++"])
def test_the_plus_key_with_a_modifier(text: str) -> None:
    """Zooming in is ctrl++ to most people."""
    assert parse_chord(text) == Chord(("ctrl",), "plus")


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("return", "enter"),
        ("esc", "escape"),
        ("Del", "delete"),
        ("pgup", "pageup"),
        ("page_down", "pagedown"),
        ("printscreen", "print"),
        ("control+a", "ctrl+a"),
        ("option+a", "alt+a"),
        ("cmd+a", "super+a"),
        ("win", "super"),
        ("meta+l", "super+l"),
    ],
)
def test_other_words_for_the_same_key(alias: str, name: str) -> None:
    """What other systems and programs call a key is understood."""
    assert str(parse_chord(alias)) == name


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("entr", "enter"),
        ("ctrl+escpae", "escape"),
        ("pagedwn", "pagedown"),
        ("ctl+c", "known: ctrl, alt, shift, super"),
    ],
)
def test_an_unknown_key_names_the_nearest(text: str, hint: str) -> None:
    """A slip of the finger is answered with what was probably meant."""
    with pytest.raises(UsageError, match=hint) as error:
        parse_chord(text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "ctrl+", "+a", "++", "a+b", "ctrl+\x1b", "\n", "xyzzy"])
def test_what_is_no_chord_is_refused(text: str) -> None:
    """Half a chord, two keys at once, control characters."""
    with pytest.raises(UsageError):
        parse_chord(text)
