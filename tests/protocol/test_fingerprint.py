"""What a key is called, on a screen and on the telephone."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_protocol.errors import UsageError
from nexus_protocol.fingerprint import Fingerprint

digests = st.binary(min_size=32, max_size=32).map(Fingerprint)
EMPTY = Fingerprint(hashlib.sha256(b"").digest())


def test_it_is_written_as_ssh_writes_it() -> None:
    """The base64 of the SHA-256, without the padding."""
    assert str(EMPTY) == "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"
    assert repr(EMPTY) == f"<{EMPTY}>"


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ((127, 0, 0, 1), "lusab-babad"),
        ((63, 84, 220, 193), "gutih-tugad"),
        ((140, 98, 193, 141), "mudof-sakat"),
        ((12, 110, 110, 204), "budov-kuras"),
    ],
)
def test_its_words_are_proquints(address: tuple[int, ...], words: str) -> None:
    """As the paper has them (arXiv:0901.4016), 32 bits for its examples, 80 here."""
    assert Fingerprint(bytes(address) + bytes(28)).words == f"{words}-babab-babab-babab"


def test_its_words_are_those_of_the_first_ten_bytes() -> None:
    """Five words, the same each time."""
    assert EMPTY.words == "vavub-sidaf-nogus-dubih-norur"
    assert Fingerprint(EMPTY[:10] + bytes(22)).words == EMPTY.words


@given(digests)
def test_what_is_written_can_be_read(fingerprint: Fingerprint) -> None:
    """Also with spaces around it, as it comes from a page."""
    assert Fingerprint.parse(str(fingerprint)) == fingerprint
    assert Fingerprint.parse(f"  {fingerprint}\n") == fingerprint


@given(digests, digests)
def test_words_differ_when_ten_bytes_do(one: Fingerprint, other: Fingerprint) -> None:
    """No two sequences of bits sound alike."""
    assert (one.words == other.words) == (one[:10] == other[:10])


TEXT = str(EMPTY)


@pytest.mark.parametrize(
    "text",
    [
        "", "SHA256:", TEXT.removeprefix("SHA256:"), TEXT.lower(), TEXT[:-1], TEXT + "=", TEXT + "A", TEXT[:-1] + "V",
        TEXT.replace("+", "-"), TEXT[:20] + " " + TEXT[20:], TEXT[:20] + "\n" + TEXT[20:], "MD5:" + TEXT[7:],
        "SHA256:" + TEXT, "SHA256:ü" + TEXT[8:], "SHA256:" + "\udcff" * 43, "SHA256:" + "=" * 43, EMPTY.words,
    ],
)  # fmt: skip
def test_what_is_no_fingerprint_is_refused(text: str) -> None:
    """One text for each key, and it is told how one looks."""
    with pytest.raises(UsageError, match="is not a key's fingerprint; one looks like SHA256: and 43 characters"):
        Fingerprint.parse(text)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_fingerprint_is_32_bytes(size: int) -> None:
    """Anything else is a mistake of the program."""
    with pytest.raises(ValueError, match="32 bytes"):
        Fingerprint(bytes(size))
