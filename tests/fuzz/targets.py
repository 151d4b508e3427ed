"""Every decoder that a stranger can reach, as a function of bytes: it returns, whatever they are, or there is a fault.

`SEEDS` has for each of them what it is meant to read, for a fuzzer to start from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nexus_protocol.actions import Click, Execute
from nexus_protocol.codec import CODES, Codec
from nexus_protocol.errors import LinkClosed, ProtocolError, UsageError
from nexus_protocol.fingerprint import Fingerprint
from nexus_protocol.identity import Identity
from nexus_protocol.invitation import Invitation, Secret
from nexus_protocol.lanes import Lane, Lanes
from nexus_protocol.link import MAX_CONTROL, Link
from nexus_protocol.messages import Act, Bye, Hello, Ping, Result, from_agent, greeting, to_agent
from nexus_protocol.relay_messages import (
    Invite,
    Invited,
    Joined,
    Open,
    Welcome,
    from_invite,
    from_join,
    from_relay,
    pack_frame,
    to_invite,
    to_relay,
    unpack_frame,
)
from nexus_protocol.tunnel import Tunnel
from nexus_protocol.vocabulary import ActionState, Role

Target = Callable[[bytes], None]

ANNA, OFFICE = Identity.new(), Identity.new()
MAX_MESSAGE = 1024 * 1024


def pieces(data: bytes) -> list[bytes]:
    """The data in up to four pieces, cut where its first bytes say."""
    cuts = sorted(len(data) * byte // 255 for byte in data[:3])
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def flights(count: int) -> tuple[Tunnel, Tunnel, list[bytes]]:
    """Anna's tunnel and the office's after that many flights of their handshake, and the flights."""
    anna, office = Tunnel(ANNA, opens=True), Tunnel(OFFICE, opens=False)
    seen = []
    for number in range(count):
        sender, receiver = (anna, office) if number % 2 == 0 else (office, anna)
        seen.append(payload := sender.outgoing() or b"")
        receiver.receive(payload)
    return anna, office, seen


def tunnel(data: bytes) -> None:
    """The first byte says how far the handshake is, and which end gets the others."""
    if not data:
        return
    anna, office, _ = flights(data[0] >> 1 & 3)
    end = anna if data[0] & 1 else office
    before = end.peer
    for piece in pieces(data[1:]):
        try:
            assert end.receive(piece) == b"", "something came out that nobody has sealed"
        except ProtocolError as error:
            assert error.code in ("handshake", "tampered")  # noqa: PT017 - no test, and atheris knows no pytest
    assert end.peer == before
    assert not end.finished
    end.finish()


def lanes(data: bytes) -> None:
    receiver = Lanes(max_control=MAX_CONTROL, max_bulk=MAX_MESSAGE, max_queued=MAX_MESSAGE)
    receiver.send(Lane.BULK, bytes(1_000))
    receiver.next_fragment()
    try:
        for piece in pieces(data):
            for message in receiver.receive(piece):
                assert len(message) <= len(data)
        receiver.next_fragment()
    except ProtocolError as error:
        assert error.code in CODES  # noqa: PT017


def link(data: bytes) -> None:
    """Sealed bytes of a stranger: they end the link or wait in it, and nothing else happens."""
    ended: list[str] = []
    anna, office, _ = flights(4)
    agent = Link(
        1, "anna", Role.OPERATOR, tunnel=office, incoming=to_agent, outgoing=from_agent,
        wake=lambda _: None, hang_up=lambda _, code: ended.append(code),
    )  # fmt: skip
    for piece in pieces(data):
        agent.fed(anna.seal(piece) if piece else b"")
    assert ended in ([], ["malformed"], ["too-large"])
    assert agent.closed == bool(ended)
    while agent.outgoing() is not None:
        pass
    agent.ended("gone", "")  # so that nothing waits for more
    said = agent.greeting(greeting)
    try:
        said.send(None)
    except StopIteration as end:
        assert isinstance(end.value, Hello)  # noqa: PT017
    except LinkClosed as end:
        assert end.code in ("gone", *CODES)  # noqa: PT017


def frame(data: bytes) -> None:
    try:
        number, payload = unpack_frame(data)
    except ProtocolError as error:
        assert error.code in CODES  # noqa: PT017
        return
    assert pack_frame(number, payload) == data


def codec(of: Codec[Any]) -> Target:
    def target(data: bytes) -> None:
        try:
            message = of.decode(data)
        except ProtocolError as error:
            assert error.code in CODES  # noqa: PT017
            str(error).encode()
            return
        assert of.decode(of.encode(message)) == message

    return target


def invitation(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    try:
        read = Invitation.parse(text)
    except UsageError as error:
        assert text.strip() not in str(error) or len(text.strip()) < 8  # noqa: PT017
        return
    assert Invitation.parse(read.link()) == read


def fingerprint(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    try:
        read = Fingerprint.parse(text)
    except UsageError:
        return
    assert str(read) == text.strip()
    assert len(read.words) == 29


TARGETS: dict[str, Target] = {
    "tunnel": tunnel,
    "lanes": lanes,
    "link": link,
    "frame": frame,
    "greeting": codec(greeting),
    "to_agent": codec(to_agent),
    "from_agent": codec(from_agent),
    "to_relay": codec(to_relay),
    "from_relay": codec(from_relay),
    "from_join": codec(from_join),
    "to_invite": codec(to_invite),
    "from_invite": codec(from_invite),
    "invitation": invitation,
    "fingerprint": fingerprint,
}


def _fragment(message: bytes, lane: int = 0x80) -> bytes:
    return bytes((lane,)) + len(message).to_bytes(3, "big") + message


_HELLO = greeting.encode(Hello(invitation=bytes(32)))
_ACT = to_agent.encode(Act(id="12345678", action=Click(x=1, y=2)))
_KEY = ANNA.fingerprint
SEEDS: dict[str, list[bytes]] = {
    "tunnel": [bytes(((number << 1) + (number & 1),)) + data for number, data in enumerate(flights(4)[2])],
    "lanes": [_fragment(_HELLO), _fragment(b"half", 1) + _fragment(b"rest", 0x81), _fragment(b"\0\0\3\xe8", 0x82)],
    "link": [_fragment(_HELLO), _fragment(_HELLO) + _fragment(_ACT)],
    "frame": [pack_frame(7, b"sealed")],
    "greeting": [_HELLO],
    "to_agent": [_ACT, to_agent.encode(Act(id="12345678", action=Execute(argv=("ls",)))), to_agent.encode(Ping(1.0))],
    "from_agent": [
        from_agent.encode(Bye(code="unknown", reason="ask")),
        from_agent.encode(Result(id="12345678", state=ActionState.DONE, data=b"png")),
    ],
    "to_relay": [to_relay.encode(Open(ref=1, desk="office"))],
    "from_relay": [from_relay.encode(Welcome(subject="anna", role=Role.OPERATOR, desks=("office",)))],
    "from_join": [from_join.encode(Joined("a.b.c", "anna", Role.OPERATOR, ("*", "office"), 1))],
    "to_invite": [to_invite.encode(Invite("0" * 64, "anna", Role.OPERATOR, 900))],
    "from_invite": [from_invite.encode(Invited(expires=1, desk="office"))],
    "invitation": [
        Invitation("wss://relay.example", "office", Secret(bytes(16))).link().encode(),
        Invitation("ws://[::1]:8443/nexus", "office", Secret(bytes(16)), _KEY).link().encode(),
    ],
    "fingerprint": [str(_KEY).encode()],
}
