"""All of what is asked for, as an approver reads it: two different actions never look the same.

Arguments are quoted each on its own line, line ends of another kind and bytes that are no text are named, and
what is too long to be read whole says so, with its size and its SHA-256.
"""

from __future__ import annotations

import hashlib
import shlex
from typing import NamedTuple

from nexus_protocol.actions import Admission, Asked, Execute, FileWrite, Key, Type, describe
from nexus_protocol.fingerprint import Fingerprint

from .text import visible

LONGEST = 32 * 1024
"""Characters shown of a text: half from its start, half from its end. A console that draws more does nothing else."""


class Part(NamedTuple):
    """A piece of text, and whether it is part of the payload or a remark about it."""

    text: str
    remark: bool = False


def parts_of(action: Asked) -> list[Part]:
    match action:
        case Type(text=text):
            return [Part(f"{len(text):,} characters\n", remark=True), *_text(text)]
        case Key(chord=chord):
            return [Part(visible(chord))]
        case Execute(argv=argv, cwd=cwd, timeout=timeout):
            arguments = "\n".join(visible(shlex.quote(argument)) for argument in argv)
            folder = visible(shlex.quote(cwd)) if cwd is not None else "the agent's home"
            remark = f"\nin {folder}, ended after {timeout:g} s"
            return [*_text(arguments, clean=True), Part(remark, remark=True)]
        case FileWrite(path=path, data=data):
            head = [Part(f"{visible(path)}\n"), Part(f"{len(data):,} bytes, {_digest(data)}\n", remark=True)]
            try:
                return [*head, *_text(data.decode("utf-8"))]
            except UnicodeDecodeError:
                return [*head, Part("not text; it starts with\n", remark=True), Part(data[:64].hex(" "))]
        case Admission(name=name, role=role, fingerprint=fingerprint):
            words = Fingerprint.parse(fingerprint).words
            remark = (
                f"\nA yes is for good. {visible(name)} is what the relay says; only the key tells who that is: "
                "have its words read to you."
            )
            return [Part(f"{words}\nas {role}, with the key\n{fingerprint}"), Part(remark, remark=True)]
        case _:
            return [Part(visible(describe(action)))]


def _text(text: str, *, clean: bool = False) -> list[Part]:
    """The text, each line end shown as one, everything else that is not printable by its symbol."""
    if len(text) > LONGEST:
        left_out = len(text) - LONGEST
        remark = f"\n[… {left_out:,} characters are not shown; the whole has {_digest(text.encode())} …]\n"
        half = LONGEST // 2
        return [*_text(text[:half], clean=clean), Part(remark, remark=True), *_text(text[-half:], clean=clean)]
    return [Part(text if clean else "\n".join(visible(line) for line in text.split("\n")))]


def _digest(data: bytes) -> str:
    return f"SHA-256 {hashlib.sha256(data).hexdigest()}"
