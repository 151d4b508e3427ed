"""What comes on a link is not what was sent, or not what may be said: that link ends, and nothing else does."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from nexus_agent import door
from nexus_protocol.actions import Key, Type
from nexus_protocol.messages import Bye, Hello
from nexus_protocol.vocabulary import ActionState, Role

from .conftest import Console, Lines, Office, Wire, fragment

Frames = list[bytes]


def hold(console: Console, *chords: str) -> Frames:
    """The payloads of a few key presses, sealed and not delivered; a long text follows the last one."""
    held: Frames = []

    def carry(payload: bytes) -> Frames:
        held.append(payload)
        return []

    console.wire.carry = carry
    for chord in chords:
        console.act(f"action-{chord}", Key(chord=chord))
    return held


async def assert_ended(console: Console, log: Lines, code: str) -> None:
    """The link has ended as ``code`` says, and that was worth one line of the log."""
    await console.end()
    await console.left()
    lines = [line for line in log if line.get("who") == "mallory"]
    assert [(line["event"], line["code"], line["log_level"]) for line in lines] == [("link ended", code, "info")]
    assert [line for line in log if line["log_level"] != "info"] == []


async def assert_goes_on(office: Office, console: Console, text: str) -> None:
    """Somebody else types on, and nothing but ``text`` was typed before."""
    assert office.desk.text == text
    assert (await console.do("action-after", Key(chord="z"))).state is ActionState.DONE
    assert office.desk.text == f"{text}z"
    assert len(office.agent._sessions) == 1


# -- frames that were changed on their way


@pytest.mark.parametrize(
    ("arriving", "typed"),
    [
        pytest.param(lambda f: [f[0][:-1], f[1]], "", id="truncated"),
        pytest.param(lambda f: [f[0][1:], f[1]], "", id="beginning cut off"),
        pytest.param(lambda f: [f[1]], "", id="dropped"),
        pytest.param(lambda f: [f[1], f[0]], "", id="reordered"),
        pytest.param(lambda f: [f[0], f[0]], "a", id="duplicated"),
        pytest.param(lambda f: [f[0], f[1], f[0]], "ab", id="replayed"),
        pytest.param(lambda f: [f[0], f[0][:9] + f[1][9:]], "a", id="spliced"),
        pytest.param(lambda f: [b"\xff" * 64], "", id="garbage"),
        pytest.param(lambda f: [bytes(64)], "", id="zeros"),
        pytest.param(lambda f: [f[0], b"GET / HTTP/1.1\r\n\r\n", f[1]], "a", id="injected"),
    ],
)
async def test_a_frame_that_is_not_what_was_sent_ends_its_link(
    office: Office, log: Lines, arriving: Callable[[Frames], Frames], typed: str
) -> None:
    """What was whole and in order before it counts; nothing after it does."""
    alice, mallory = await office.welcome(), await office.welcome("mallory")
    frames = hold(mallory, "a", "b", "c")
    for payload in [*arriving(frames), frames[2]]:
        mallory.wire.deliver(payload)
    await assert_ended(mallory, log, "tampered")
    await assert_goes_on(office, alice, typed)


async def test_frames_of_another_link_open_to_nothing(office: Office, log: Lines) -> None:
    """Not even of another link of the same operator."""
    alice, other, mallory = await office.welcome(), await office.welcome("bob"), await office.welcome("mallory")
    (foreign,) = hold(other, "a")
    mallory.wire.deliver(foreign)
    await assert_ended(mallory, log, "tampered")
    other.wire.deliver(foreign)
    await other.result("action-a")
    other.link.close()
    await other.left()
    await assert_goes_on(office, alice, "a")


async def test_a_flipped_bit_is_found_wherever_it_is(office: Office, log: Lines) -> None:
    """In each byte of a frame; what makes a record longer is found when more of it has come."""
    alice, place, size = await office.welcome(), 0, 1
    while place < size:
        mallory = await office.welcome("mallory")
        frames = hold(mallory, "a")
        mallory.act("action-long", Type(text="x" * 30_000))
        size = len(frames[0])
        flipped = bytearray(frames[0])
        flipped[place] ^= 1 << place % 8
        for payload in (bytes(flipped), *frames[1:]):
            mallory.wire.deliver(payload)
        await assert_ended(mallory, log, "tampered")
        log.clear()
        place += 1
    assert place > 40
    await assert_goes_on(office, alice, "")


async def test_a_frame_may_come_in_pieces(office: Office) -> None:
    """Byte by byte it is the same stream, and nothing is wrong with that."""
    mallory = await office.welcome("mallory")
    for byte in b"".join(hold(mallory, "a", "b")):
        mallory.wire.deliver(bytes((byte,)))
    await mallory.result("action-b")
    assert office.desk.text == "ab"


# -- messages that may not be said


def message(**fields: object) -> bytes:
    return fragment(msgspec.msgpack.encode(fields))


NESTED = b"\x91" * 10_000 + b"\xc0"
CLICK = {"type": "click", "x": 1, "y": 1}


@pytest.mark.parametrize(
    ("plain", "code"),
    [
        pytest.param(fragment(b"\xc1"), "malformed", id="no message"),
        pytest.param(fragment(b""), "malformed", id="an empty message"),
        pytest.param(fragment(NESTED), "malformed", id="deep nesting"),
        pytest.param(message(type="nonsense"), "malformed", id="an unknown kind"),
        pytest.param(message(type="welcome"), "malformed", id="the agent's part"),
        pytest.param(message(type="ping", sent=float("nan")), "malformed", id="not a number"),
        pytest.param(message(type="ping", sent=1.0, more=1), "malformed", id="an unknown field"),
        pytest.param(message(type="act", id="action_1", action=CLICK), "malformed", id="an id of the agent's own"),
        pytest.param(message(type="act", id="action-1", action=CLICK | {"x": -1}), "malformed", id="out of bounds"),
        pytest.param(message(type="act", id="action-1", action={"type": "admission"}), "malformed", id="an admission"),
        pytest.param(fragment(b"x", first=0x83), "malformed", id="no such lane"),
        pytest.param(fragment(bytes(4), first=0x82), "malformed", id="an acknowledgement of nothing"),
        pytest.param(b"\x80\xff\xff\xff", "too-large", id="a long fragment"),
        pytest.param(fragment(bytes(16_000), first=0) * 17, "too-large", id="a long message"),
    ],
)
async def test_what_may_not_be_said_ends_the_link_of_whoever_says_it(
    office: Office, log: Lines, plain: bytes, code: str
) -> None:
    """An operator's console that speaks another language is cut off with a reason that has a name."""
    alice, mallory = await office.welcome(), await office.welcome("mallory")
    for start in range(0, len(plain), 16_000):
        if not mallory.link.closed:
            mallory.utter(plain[start : start + 16_000])
    assert str(await mallory.end()) == code
    await assert_ended(mallory, log, code)
    await assert_goes_on(office, alice, "")


async def test_more_than_an_agent_can_read_ends_the_link(office: Office, log: Lines) -> None:
    """Whoever sends faster than its messages are taken is cut off before memory is full."""
    alice, mallory = await office.welcome(), await office.welcome("mallory")
    ping = message(type="ping", sent=1.0)
    for _ in range(4_097):
        mallory.utter(ping)
    await assert_ended(mallory, log, "too-slow")
    await assert_goes_on(office, alice, "")


async def test_hello_is_said_once(office: Office) -> None:
    """A second one ends the session."""
    mallory = await office.welcome("mallory")
    mallory.link.send(Hello())
    bye = await mallory.next(Bye)
    assert (bye.code, bye.reason) == ("protocol", "hello was said twice")


# -- before there is a sealed link


@pytest.mark.parametrize(
    "said",
    [b"GET / HTTP/1.1\r\n\r\n", bytes(64), b"\xff" * 64, b"\x16\x03\x01\x00\x05hello", b"\x17\x03\x03\x00\x05hello"],
)
async def test_who_does_not_speak_the_handshake_is_cut_off(office: Office, log: Lines, said: bytes) -> None:
    """With a reason that has a name; nothing of it is taken for a message."""
    alice, wire = await office.welcome(), Wire()
    wire.carry = lambda payload: [said]
    mallory = office.arrive("mallory", Role.OPERATOR, office.key("mallory", Role.OPERATOR), wire)
    await assert_ended(mallory, log, "handshake")
    await assert_goes_on(office, alice, "")


async def test_a_handshake_without_end_is_cut_off(office: Office, log: Lines) -> None:
    """After as many bytes as no handshake needs."""
    alice, wire = await office.welcome(), Wire()
    wire.carry = lambda payload: []
    mallory = office.arrive("mallory", Role.OPERATOR, office.key("mallory", Role.OPERATOR), wire)
    for byte in b"\x01\x00\xf0\x00" + bytes(12_000):  # a ClientHello of 61,440 bytes, one in each record
        wire.deliver(b"\x16\x03\x01\x00\x01" + bytes((byte,)))
    await assert_ended(mallory, log, "handshake")
    assert log[0]["reason"] == "no sealed link after 65,536 bytes of handshake"
    await assert_goes_on(office, alice, "")


async def test_who_never_says_anything_is_not_waited_for(
    office: Office, log: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody occupies a place by opening links."""
    monkeypatch.setattr(door, "HELLO_TIMEOUT", 0.01)
    wire = Wire()
    wire.carry = lambda payload: []
    mallory = office.arrive("mallory", Role.OPERATOR, office.key("mallory", Role.OPERATOR), wire)
    assert str(await mallory.end()) == "protocol"
    await mallory.left()
    assert [(line["event"], line["code"], line["log_level"]) for line in log] == [("not let in", "protocol", "info")]
    assert office.agent._guests == set()
