"""Two lanes over one stream of bytes: nothing lost, nothing reordered within a lane, small before large."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nexus_protocol.errors import ProtocolError
from nexus_protocol.lanes import MAX_FRAGMENT, MAX_WAITING, WINDOW, Lane, Lanes

LIMIT = 4 * 1024 * 1024
LANES = (Lane.CONTROL, Lane.BULK)


def new(*, max_queued: int = 4 * LIMIT) -> Lanes:
    return Lanes(max_control=LIMIT, max_bulk=LIMIT, max_queued=max_queued)


def fragments(lanes: Lanes) -> Iterator[bytes]:
    while (fragment := lanes.next_fragment()) is not None:
        yield fragment


def header(lane: int, length: int, *, last: bool = True) -> bytes:
    return bytes((lane | (0x80 if last else 0),)) + length.to_bytes(3, "big")


@given(
    st.lists(
        st.tuples(st.sampled_from(LANES), st.sampled_from([0, 1, 100, MAX_FRAGMENT, MAX_FRAGMENT + 1, WINDOW])
                  | st.integers(0, 2 * MAX_FRAGMENT)),
        max_size=12,
    ),
    st.lists(st.integers(1, 3 * MAX_FRAGMENT), min_size=1, max_size=8),
)  # fmt: skip
@settings(max_examples=60)
def test_all_messages_arrive_whole_and_in_order(sizes: list[tuple[Lane, int]], cuts: list[int]) -> None:
    """However the stream is cut on its way, each lane delivers what was sent on it, in order."""
    sender, receiver = new(), new()
    sent: dict[Lane, list[bytes]] = {lane: [] for lane in LANES}
    for number, (lane, size) in enumerate(sizes):
        message = bytes((lane, number)) + bytes(size)  # first byte: its lane, to tell it by
        sent[lane].append(message)
        sender.send(lane, message)
    arrived: list[bytes] = []
    lengths = iter(cuts * 10)
    while stream := b"".join(fragments(sender)):
        while stream:
            length = next(lengths, len(stream))
            arrived += receiver.receive(stream[:length])
            stream = stream[length:]
        for acknowledgement in fragments(receiver):
            assert sender.receive(acknowledgement) == []
    assert sender.queued == 0
    for lane in LANES:
        assert [message for message in arrived if message[0] == lane] == sent[lane]


def test_one_byte_at_a_time() -> None:
    """A fragment may arrive in any number of pieces."""
    sender, receiver = new(), new()
    sender.send(Lane.CONTROL, b"hello")
    sender.send(Lane.CONTROL, b"")
    stream = b"".join(fragments(sender))
    assert [message for byte in stream for message in receiver.receive(bytes((byte,)))] == [b"hello", b""]


def test_a_key_press_overtakes_a_file() -> None:
    """What comes on the control lane goes before bulk that was queued earlier, and between its fragments."""
    sender, receiver = new(), new()
    sender.send(Lane.BULK, bytes(3 * MAX_FRAGMENT))
    first = sender.next_fragment()
    sender.send(Lane.CONTROL, b"key")
    second = sender.next_fragment()
    assert first is not None
    assert second is not None
    assert receiver.receive(first) == []
    assert receiver.receive(second) == [b"key"]
    assert receiver.receive(b"".join(fragments(sender))) == [bytes(3 * MAX_FRAGMENT)]


def test_bulk_stops_at_the_window_and_control_does_not() -> None:
    """No more than WINDOW bytes of bulk are under way unacknowledged; key presses pass all the same."""
    sender = new()
    sender.send(Lane.BULK, bytes(3 * WINDOW))
    under_way = sum(len(fragment) - 4 for fragment in fragments(sender))
    assert WINDOW - MAX_FRAGMENT < under_way <= WINDOW
    assert sender.queued == 3 * WINDOW - under_way
    sender.send(Lane.CONTROL, b"key")
    assert list(fragments(sender)) == [header(Lane.CONTROL, 3) + b"key"]


def test_acknowledgements_let_bulk_go_on() -> None:
    """The receiver acknowledges what it has read, and as much follows."""
    sender, receiver = new(), new()
    sender.send(Lane.BULK, bytes(3 * WINDOW))
    rounds = 0
    arrived: list[bytes] = []
    while stream := b"".join(fragments(sender)):
        rounds += 1
        assert len(stream) <= WINDOW + WINDOW // MAX_FRAGMENT * 4
        arrived += receiver.receive(stream)
        for acknowledgement in fragments(receiver):
            sender.receive(acknowledgement)
    assert arrived == [bytes(3 * WINDOW)]
    assert rounds >= 3


def test_a_receiver_that_cannot_write_owes_one_acknowledgement() -> None:
    """Acknowledgements are merged: however much arrives meanwhile, one is queued."""
    sender, receiver = new(), new()
    sender.send(Lane.BULK, bytes(WINDOW))
    for fragment in fragments(sender):
        receiver.receive(fragment)
    assert list(fragments(receiver)) == [header(Lane.ACK, 4) + WINDOW.to_bytes(4, "big")]


def test_a_peer_that_ignores_the_window_is_refused() -> None:
    """Past the window, a sender that does not wait breaks the protocol."""
    receiver = new()
    fragment = header(Lane.BULK, MAX_FRAGMENT, last=False) + bytes(MAX_FRAGMENT)
    for _ in range(WINDOW // MAX_FRAGMENT):
        receiver.receive(fragment)
    with pytest.raises(ProtocolError):
        receiver.receive(fragment)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (header(3, 0), "malformed"),
        (header(0x7F, 1) + b"x", "malformed"),
        (header(Lane.CONTROL, MAX_FRAGMENT + 1), "too-large"),
        (header(9, 0xFFFFFF), "too-large"),
        (header(Lane.ACK, 4) + b"\0\0\0\1", "malformed"),
        (header(Lane.ACK, 4) + b"\0\0\0\0", "malformed"),
        (header(Lane.ACK, 0), "malformed"),
        (header(Lane.ACK, 5) + b"\0\0\0\0\0", "malformed"),
        (header(Lane.ACK, 4, last=False) + b"\0\0\0\0", "malformed"),
    ],
)
def test_a_malformed_fragment_is_refused(data: bytes, code: str) -> None:
    """Lanes that do not exist, lengths past the limit, acknowledgements of what was never sent."""
    with pytest.raises(ProtocolError) as error:
        new().receive(data)
    assert error.value.code == code


@given(st.lists(st.binary(max_size=40), max_size=10))
@example([header(Lane.BULK, 0, last=False)] * 10)
def test_any_stream_is_messages_or_a_protocol_error(chunks: list[bytes]) -> None:
    """Random bytes raise ProtocolError and nothing else."""
    lanes = new()
    with contextlib.suppress(ProtocolError):
        for chunk in chunks:
            assert all(isinstance(message, bytes) for message in lanes.receive(chunk))


@pytest.mark.parametrize("lane", LANES)
def test_a_message_past_the_limit_is_refused_before_it_is_whole(lane: Lane) -> None:
    """A peer that never says LAST cannot fill the memory."""
    lanes = Lanes(max_control=MAX_FRAGMENT, max_bulk=MAX_FRAGMENT, max_queued=1)
    fragment = header(lane, MAX_FRAGMENT, last=False) + bytes(MAX_FRAGMENT)
    assert lanes.receive(fragment) == []
    with pytest.raises(ProtocolError) as error:
        lanes.receive(header(lane, 1, last=False) + b"x")
    assert error.value.code == "too-large"


def test_the_queue_is_bounded_in_bytes() -> None:
    """Past the limit, send refuses and keeps what it had."""
    lanes = new(max_queued=1_000)
    lanes.send(Lane.BULK, bytes(900))
    with pytest.raises(ProtocolError) as error:
        lanes.send(Lane.CONTROL, bytes(101))
    assert error.value.code == "too-slow"
    assert lanes.queued == 900
    lanes.send(Lane.CONTROL, bytes(100))


def test_the_queue_is_bounded_in_number() -> None:
    """Many tiny messages are refused long before their bytes would be."""
    lanes = new()
    for _ in range(MAX_WAITING):
        lanes.send(Lane.CONTROL, b"")
    with pytest.raises(ProtocolError) as error:
        lanes.send(Lane.CONTROL, b"")
    assert error.value.code == "too-slow"
