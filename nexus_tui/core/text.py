"""Text from a peer, made safe to show: nothing in it may move the terminal's cursor or hide what follows."""

from __future__ import annotations


def visible(text: str) -> str:
    """The text on one line, control and other unprintable characters replaced by visible ones."""
    return "".join(_symbol(character) for character in text)


def visible_lines(text: str) -> str:
    """The same, with line breaks kept."""
    return "\n".join(visible(line) for line in text.replace("\r\n", "\n").split("\n"))


def _symbol(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)  # U+2400 on: the pictures of the control characters
    return "␡" if code == 0x7F else "�"
