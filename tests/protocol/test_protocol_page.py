"""docs/protocol.md says what the code does: every message with its fields, every limit, the example's bytes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest
from msgspec import inspect

from nexus_protocol import lanes, link, messages, relay_messages
from nexus_protocol.actions import MAX_FILE, MAX_TEXT, Action, Key
from nexus_protocol.lanes import Lanes
from nexus_protocol.messages import Act, FromAgent, Hello, ToAgent, to_agent
from nexus_protocol.relay_messages import CloseCode, FromRelay, ToRelay, from_relay, to_relay, unpack_frame
from nexus_protocol.vocabulary import VERSION

PAGE = Path(__file__).parents[2].joinpath("docs", "protocol.md").read_text(encoding="utf-8")
RELAY, _, REST = PAGE.partition("## 2.")
LINK = REST.partition("## 3.")[2]


def rows(part: str) -> dict[str, list[str]]:
    """The first cell's names, each with the cells that follow."""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines() if line[:2] == "| "]
    return {name: row[1:] for row in cells for name in re.findall(r"`(\w+)`", row[0]) or [row[0]]}


def fields_of(kind: Any) -> list[str]:
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    return [field.name if field.required else f"{field.name}?" for field in info.fields]


@pytest.mark.parametrize("kind", [*get_args(ToRelay), *get_args(FromRelay)], ids=lambda kind: kind.__name__)
def test_a_message_of_the_relay_is_on_the_page(kind: Any) -> None:
    """With its direction and exactly its fields."""
    direction, fields, *_ = rows(RELAY)[kind.__struct_config__.tag]
    assert direction == ("to" if kind in get_args(ToRelay) else "from")
    assert fields.split(", ") == fields_of(kind)


@pytest.mark.parametrize(
    "kind", [*get_args(ToAgent), *get_args(FromAgent), *get_args(Action)], ids=lambda kind: kind.__name__
)
def test_a_message_of_a_link_is_on_the_page(kind: Any) -> None:
    """With exactly its fields; what a field holds may stand behind it."""
    fields = rows(LINK)[kind.__struct_config__.tag][0]
    assert re.sub(r": \{.*?\}", "", fields).split(", ") == fields_of(kind)


def test_the_close_codes_are_on_the_page() -> None:
    """Each with whether to dial again."""
    table = rows(RELAY)
    for name, code in vars(CloseCode).items():
        if isinstance(code, int):
            assert table[str(code)][1] == ("no" if code in CloseCode.FINAL else "yes"), name


def test_the_limits_are_those_on_the_page() -> None:
    """Change one, and this page is to change with it."""
    kib, mib = 1024, 1024 * 1024
    assert VERSION == 1
    assert (to_relay.limit, from_relay.limit) == (4 * kib, 64 * kib)
    assert (64 * kib, mib) == (relay_messages.MAX_PAYLOAD, relay_messages.MAX_IN_FLIGHT)
    assert (16_384, 256 * kib) == (lanes.MAX_FRAGMENT, lanes.WINDOW)
    assert (256 * kib, 32 * mib, 8 * kib) == (link.MAX_CONTROL, messages.MAX_MESSAGE, messages.BULK_FROM)
    assert (100_000, 16 * mib) == (MAX_TEXT, MAX_FILE)


def test_the_examples_bytes_are_what_is_sent() -> None:
    """Both binary frames of the example read as the messages written under them."""
    example = PAGE[PAGE.index("## 4.") :]
    frames = [
        bytes.fromhex(digits)
        for digits in re.findall(r"→ ((?:[0-9a-f]{2}\s+){12,}[0-9a-f]{2}(?:\s+[0-9a-f]{2}\b)*)", example)
    ]
    receiver = Lanes(max_control=link.MAX_CONTROL, max_bulk=1, max_queued=1)
    heard = []
    for frame in frames:
        number, payload = unpack_frame(frame)
        assert number == 7
        heard += [to_agent.decode(message) for message in receiver.receive(payload)]
    assert heard == [Hello(), Act(id="a1b2c3d4", action=Key(chord="ctrl+c"))]


def test_the_examples_json_is_what_is_sent() -> None:
    """What is whole in the example can be read."""
    example = PAGE[PAGE.index("## 4.") :]
    sent = [to_relay.decode(text.encode()) for text in re.findall(r'→ (\{"type":.*?\})(?=\s)', example)]
    heard = [from_relay.decode(text.encode()) for text in re.findall(r'← (\{"type":".*?\})(?=\s)', example)]
    assert (len(sent), len(heard)) == (2, 2)
