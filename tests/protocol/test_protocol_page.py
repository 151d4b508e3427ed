"""docs/protocol.md says what the code does: every message with its fields, every limit, the example's bytes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest
from msgspec import inspect

from nexus_protocol import lanes, link, messages, relay_messages, tunnel
from nexus_protocol.actions import MAX_FILE, MAX_TEXT, Asked, Key
from nexus_protocol.fingerprint import Fingerprint
from nexus_protocol.invitation import SECRET_BYTES, Invitation, Secret
from nexus_protocol.lanes import Lanes
from nexus_protocol.messages import Act, FromAgent, Hello, ToAgent, greeting, to_agent
from nexus_protocol.relay_messages import (
    CloseCode,
    FromRelay,
    Invite,
    Invited,
    Joined,
    NotInvited,
    ToRelay,
    from_relay,
    to_invite,
    to_relay,
)
from nexus_protocol.vocabulary import VERSION

PAGE = Path(__file__).parents[2].joinpath("docs", "protocol.md").read_text(encoding="utf-8")
RELAY, _, REST = PAGE.partition("## 2.")
LINK = REST.partition("## 4.")[2]
SAID_TO_RELAY = [*get_args(ToRelay), Invite]
HEARD_FROM_RELAY = [*get_args(FromRelay), Joined, Invited, NotInvited]


def rows(part: str) -> dict[str, list[str]]:
    """The first cell's names, each with the cells that follow."""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines() if line[:2] == "| "]
    return {name: row[1:] for row in cells for name in re.findall(r"`(\w+)`", row[0]) or [row[0]]}


def fields_of(kind: Any) -> list[str]:
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    return [field.name if field.required else f"{field.name}?" for field in info.fields]


@pytest.mark.parametrize("kind", [*SAID_TO_RELAY, *HEARD_FROM_RELAY], ids=lambda kind: kind.__name__)
def test_a_message_of_the_relay_is_on_the_page(kind: Any) -> None:
    """With its direction and exactly its fields."""
    direction, fields, *_ = rows(RELAY)[kind.__struct_config__.tag]
    assert direction == ("to" if kind in SAID_TO_RELAY else "from")
    assert fields.split(", ") == fields_of(kind)


@pytest.mark.parametrize(
    "kind", [*get_args(ToAgent), *get_args(FromAgent), *get_args(Asked)], ids=lambda kind: kind.__name__
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
    assert VERSION == 2
    assert (to_relay.limit, from_relay.limit, to_invite.limit) == (4 * kib, 64 * kib, 4 * kib)
    assert (SECRET_BYTES, relay_messages.MAX_INVITATION) == (16, 604_800)
    assert (64 * kib, 16_384) == (tunnel.MAX_HANDSHAKE, tunnel.MAX_RECORD)
    assert (kib, 4 * kib) == (greeting.limit, link.MAX_FROM_STRANGER)
    assert (64 * kib, mib) == (relay_messages.MAX_PAYLOAD, relay_messages.MAX_IN_FLIGHT)
    assert (16_380, 256 * kib) == (lanes.MAX_FRAGMENT, lanes.WINDOW)
    assert (256 * kib, 32 * mib, 8 * kib) == (link.MAX_CONTROL, messages.MAX_MESSAGE, messages.BULK_FROM)
    assert (100_000, 16 * mib) == (MAX_TEXT, MAX_FILE)


def test_the_examples_bytes_are_what_is_sent() -> None:
    """Both fragments of the example read as the messages written under them."""
    example = PAGE[PAGE.index("## 5.") :]
    fragments = [
        bytes.fromhex(digits)
        for digits in re.findall(r"→ ((?:[0-9a-f]{2}\s+){12,}[0-9a-f]{2}(?:\s+[0-9a-f]{2}\b)*)", example)
    ]
    receiver = Lanes(max_control=link.MAX_CONTROL, max_bulk=1, max_queued=1)
    heard = []
    for fragment in fragments:
        heard += [to_agent.decode(message) for message in receiver.receive(fragment)]
    assert heard == [Hello(), Act(id="a1b2c3d4", action=Key(chord="ctrl+c"))]


def test_the_examples_json_is_what_is_sent() -> None:
    """What is whole in the example can be read."""
    example = PAGE[PAGE.index("## 5.") :]
    sent = [to_relay.decode(text.encode()) for text in re.findall(r'→ (\{"type":.*?\})(?=\s)', example)]
    heard = [from_relay.decode(text.encode()) for text in re.findall(r'← (\{"type":".*?\})(?=\s)', example)]
    assert (len(sent), len(heard)) == (2, 2)


def test_the_paths_and_headers_are_those_on_the_page() -> None:
    """Of every request that a relay answers."""
    for path in (relay_messages.PATH, relay_messages.JOIN_PATH, relay_messages.INVITE_PATH):
        assert f"GET {path} " in RELAY
    assert f"{relay_messages.VERSION_HEADER}: {VERSION}\n" in RELAY
    assert f"{relay_messages.INVITATION_HEADER}: " in RELAY


def test_an_invitation_looks_as_on_the_page() -> None:
    """With the words of the page in their places, both kinds can be read."""
    shapes = re.findall(r"nexus://\S+", RELAY)
    secret, key = Secret(bytes(16)), Fingerprint(bytes(32))
    for shape, key_or_none in zip(shapes, (None, key), strict=True):
        link = Invitation("wss://HOST:1/PATH", "DESK", secret, key_or_none).link()
        filled = shape.replace("[:PORT][/PATH]", ":1/PATH").replace("KEY", "A" * 43).replace("SECRET", "A" * 22)
        assert filled == link


def test_the_words_for_the_end_of_a_link_are_on_the_page() -> None:
    """Those that the link itself says, and those of a Bye."""
    table = rows(REST.partition("## 3.")[2].partition("## 4.")[0])
    said = set(re.findall(r"`([\w-]+)`", "".join(re.findall(r"^\| `.*?\|", REST, re.MULTILINE))))
    assert table
    assert {"closed", "handshake", "tampered", "malformed", "too-large", "too-slow"} <= said
    described = re.search(r"``code``: ([^.]+)\.", messages.Bye.__doc__ or "")
    assert described is not None
    assert set(re.sub(r" \(\w+\)", "", described[1]).split(", ")) <= said
