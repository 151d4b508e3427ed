"""The live picture, from the agent's stream to the console's receiver, over real WebRTC on this machine."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aioice.ice
import numpy as np
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection
from aiortc.jitterbuffer import JitterFrame
from aiortc.rtp import RtpPacket
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from nexus_agent.capture.grabber import Grabber
from nexus_agent.stream.encoder import fit
from nexus_agent.stream.stream import Stream
from nexus_protocol.actions import Region
from nexus_protocol.errors import ProtocolError
from nexus_protocol.messages import StreamClock, Viewport
from nexus_tui.core import stream as console
from nexus_tui.core.stream import ASK_AGAIN, PATIENCE, FrameBuffer, Picture, StreamReceiver, release_on_marker

DEADLINE = 20
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


class Desk:
    """A source of one colour, or of two side by side."""

    size = (640, 400)

    def __init__(self) -> None:
        self.pixels = np.zeros((400, 640, 4), np.uint8)
        self.grabs = 0

    def paint(self, left: tuple[int, int, int], right: tuple[int, int, int] | None = None) -> None:
        self.pixels[:, :320, :3] = left[::-1]
        self.pixels[:, 320:, :3] = (right or left)[::-1]

    def grab(self, region: Region | None = None) -> NDArray[np.uint8]:
        self.grabs += 1
        if region is None:
            return self.pixels
        rows, columns = slice(region.y, region.y + region.height), slice(region.x, region.x + region.width)
        return np.ascontiguousarray(self.pixels[rows, columns])


@dataclass
class Live:
    """A stream and its receiver, connected."""

    desk: Desk
    stream: Stream
    receiver: StreamReceiver
    grabber: Grabber
    clocks: list[StreamClock]
    failed: asyncio.Event
    pictures: asyncio.Queue[Picture] = field(default_factory=asyncio.Queue)

    async def until(self, left: tuple[int, int, int], right: tuple[int, int, int] | None = None) -> Picture:
        """The next picture whose halves show these colours."""
        async with asyncio.timeout(DEADLINE):
            while True:
                picture = await self.pictures.get()
                height, width = picture.pixels.shape[:2]
                if near(picture.pixels[height // 2, width // 4], left) and near(
                    picture.pixels[height // 2, 3 * width // 4], right or left
                ):
                    return picture


def near(pixel: NDArray[np.uint8], colour: tuple[int, int, int]) -> bool:
    return bool(np.abs(pixel.astype(int) - colour).max() < 40)


@pytest.fixture
async def live() -> AsyncIterator[Live]:
    desk, grabber, clocks = Desk(), Grabber(), list[StreamClock]()
    desk.paint(RED)
    pictures: asyncio.Queue[Picture] = asyncio.Queue()
    stream = Stream(desk, grabber, clocks.append)
    stream.set_viewport(Viewport(width=320, height=200))
    failed = asyncio.Event()
    receiver = StreamReceiver(pictures.put_nowait, failed.set)
    receiver.set_size(64, 40)
    await receiver.accept(await stream.answer(await receiver.offer()))
    yield Live(desk, stream, receiver, grabber, clocks, failed, pictures)
    await receiver.close()
    await stream.close()
    grabber.close()


async def test_the_last_change_is_shown_with_nothing_after_it(live: Live) -> None:
    """aiortc's own jitter buffer would hold the last frame back for ever."""
    await live.until(RED)
    for colour in (GREEN, BLUE, RED):
        live.desk.paint(colour)
        live.stream.changed()
        picture = await live.until(colour)
        assert picture.pixels.shape == (40, 64, 3)


async def test_a_still_desk_is_not_looked_at(live: Live) -> None:
    """After the settle frames nothing is captured until something changes."""
    await live.until(RED)
    track = live.stream._track
    assert track is not None
    async with asyncio.timeout(DEADLINE):
        while track._pacer.due() is not None:
            await live.pictures.get()
    before = live.desk.grabs
    live.desk.paint(GREEN)  # nobody is told
    await live.grabber.run(lambda: None)  # behind whatever might still have been asked for
    assert (live.desk.grabs, track._pacer.due()) == (before, None)


async def test_the_viewport_chooses_what_is_streamed(live: Live) -> None:
    """A region of the desk fills the picture; without one the whole desk does."""
    live.desk.paint(GREEN, BLUE)
    live.stream.changed()
    await live.until(GREEN, BLUE)
    live.stream.set_viewport(Viewport(width=320, height=200, region=Region(x=320, y=0, width=320, height=200)))
    await live.until(BLUE)
    live.stream.set_viewport(Viewport(width=64, height=40, region=Region(x=0, y=0, width=100, height=60_000)))
    await live.until(GREEN)


async def test_the_age_of_a_picture_can_be_told(live: Live) -> None:
    """The agent says once which RTP time was captured when."""
    await live.until(RED)
    live.desk.paint(GREEN)
    live.stream.changed()
    picture = await live.until(GREEN)
    (clock,) = live.clocks
    assert 0 <= (picture.rtp - clock.rtp) % 2**32 < 90_000 * DEADLINE


async def test_a_second_offer_starts_the_stream_again(live: Live) -> None:
    """After its path was lost, a console comes back with a new connection."""
    await live.until(RED)
    again = StreamReceiver(live.pictures.put_nowait, lambda: None)
    await live.receiver.close()
    await again.accept(await live.stream.answer(await again.offer()))
    live.desk.paint(BLUE)
    live.stream.changed()
    await live.until(BLUE)
    await again.close()


async def test_a_packet_lost_twice_does_not_freeze_the_picture(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing on the desk changes any more: the settle frames show the loss, and the keyframe asked for repairs it."""
    await live.until(RED)
    receive = live.receiver._receiver._handle_rtp_packet
    swallowed: list[RtpPacket] = []

    async def lossy(packet: RtpPacket, arrival_time_ms: int) -> None:
        # A retransmission has an ssrc of its own and begins with the number it repeats, RFC 4588 section 4.
        lost = swallowed[0] if swallowed else packet
        again = packet.ssrc != lost.ssrc and packet.payload[:2] == lost.sequence_number.to_bytes(2, "big")
        if packet.sequence_number == lost.sequence_number or again:
            swallowed.append(packet)
        else:
            await receive(packet, arrival_time_ms)

    monkeypatch.setattr(live.receiver._receiver, "_handle_rtp_packet", lossy)
    live.desk.paint(GREEN)
    live.stream.changed()
    await live.until(GREEN)
    assert len(swallowed) > 1


@pytest.mark.parametrize(
    ("interval", "failures", "silence"), [(0.05, 2, 1000.0), (1000, 6, 3.0)], ids=["no consent", "no sender reports"]
)
async def test_a_path_that_dies_is_told(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, interval: float, failures: int, silence: float
) -> None:
    """By whichever notices first: aioice, whose consent is not renewed, or the receiver, which hears nothing."""
    monkeypatch.setattr(aioice.ice, "CONSENT_INTERVAL", interval)
    monkeypatch.setattr(aioice.ice, "CONSENT_FAILURES", failures)
    monkeypatch.setattr(console, "SILENCE", silence)
    reports: asyncio.Queue[object] = asyncio.Queue()
    failed = asyncio.Event()
    grabber = Grabber()
    stream = Stream(Desk(), grabber, lambda clock: None)
    stream.set_viewport(Viewport(width=320, height=200))
    receiver = StreamReceiver(lambda picture: None, failed.set)

    async def report(packet: object) -> None:
        reports.put_nowait(packet)

    monkeypatch.setattr(receiver._receiver, "_handle_rtcp_packet", report)
    await receiver.accept(await stream.answer(await receiver.offer()))
    async with asyncio.timeout(DEADLINE):
        for _ in range(3 if silence < DEADLINE else 1):  # the desk is still, and its path alive
            await reports.get()
        assert not failed.is_set()
        monkeypatch.setattr(aioice.ice.StunProtocol, "datagram_received", lambda *datagram: None)
        await failed.wait()
    await receiver.close()
    await stream.close()
    grabber.close()


@pytest.mark.parametrize("whose", ["offer", "answer"])
async def test_another_key_than_the_one_agreed_on_gets_no_picture(whose: str) -> None:
    """The DTLS fingerprint that came over the link is the only one."""
    desk, grabber = Desk(), Grabber()
    desk.paint(RED)
    pictures, failed = asyncio.Queue[Picture](), asyncio.Event()
    stream, receiver = Stream(desk, grabber, lambda _: None), StreamReceiver(pictures.put_nowait, failed.set)
    stream.set_viewport(Viewport(width=320, height=200))
    offer = await receiver.offer()
    answer = await stream.answer(foreign(offer) if whose == "offer" else offer)
    await receiver.accept(foreign(answer) if whose == "answer" else answer)
    async with asyncio.timeout(DEADLINE):
        await failed.wait()
    assert pictures.empty()
    await receiver.close()
    await stream.close()
    grabber.close()


def foreign(sdp: str) -> str:
    """The same with the fingerprints of another key."""
    changed = re.sub(r"(a=fingerprint:\S+ )(\w\w)", lambda found: f"{found[1]}{int(found[2], 16) ^ 1:02X}", sdp)
    assert changed != sdp
    return changed


async def test_closing_is_not_a_failure(live: Live) -> None:
    """Only what the receiver did not do itself is told."""
    await live.until(RED)
    await live.receiver.close()
    assert not live.failed.is_set()


async def test_an_agent_that_hangs_up_is_told(live: Live) -> None:
    """The console then asks for a new stream."""
    await live.until(RED)
    await live.stream.close()
    async with asyncio.timeout(DEADLINE):
        await live.failed.wait()


@pytest.mark.parametrize("offer", ["", "nonsense", "v=0\r\n", "v=0\r\nm=video 1 X 0\r\n"])
async def test_an_offer_that_is_none_is_refused_in_one_sentence(offer: str) -> None:
    """Whatever a console sends, the agent answers and lives."""
    grabber = Grabber()
    stream = Stream(Desk(), grabber, lambda clock: None)
    with pytest.raises(ProtocolError):
        await stream.answer(offer)
    await stream.close()
    grabber.close()


async def test_aiortc_still_keeps_its_jitter_buffer_where_we_replace_it() -> None:
    """Fails when an upgrade of aiortc moves it."""
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    receiver = connection.addTransceiver("video", direction="recvonly").receiver
    buffer = release_on_marker(receiver, lambda frame: None)
    assert receiver._RTCRtpReceiver__jitter_buffer is buffer  # type: ignore[attr-defined]
    sender = connection.addTransceiver("video", direction="sendonly").sender
    assert hasattr(sender, "_RTCRtpSender__rtp_timestamp")
    assert hasattr(sender, "_send_keyframe")
    await connection.close()


def packets(frames: list[int]) -> list[RtpPacket]:
    """RTP packets of frames with these many packets each; the data of each is its frame's number."""
    made: list[RtpPacket] = []
    for number, count in enumerate(frames):
        for index in range(count):
            packet = RtpPacket(sequence_number=(65_530 + len(made)) % 65_536, timestamp=number)
            packet.marker = int(index == count - 1)
            packet._data = bytes([number])  # type: ignore[attr-defined]
            made.append(packet)
    return made


@given(st.lists(st.integers(1, 5), min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_frames_come_out_whole_and_in_order_however_their_packets_arrive(frames: list[int], random: object) -> None:
    """Each frame once, as soon as it and all before it are there, across the wrap of sequence numbers."""
    made = packets(frames)
    first, rest = made[0], made[1:]
    random.shuffle(rest)  # type: ignore[attr-defined]
    released: list[JitterFrame] = []
    buffer = FrameBuffer(released.append, clock=lambda: 0.0)
    for packet in [first, *rest]:
        assert buffer.add(packet) == (False, None)
    assert [(frame.timestamp, frame.data) for frame in released] == [
        (number, bytes([number]) * count) for number, count in enumerate(frames)
    ]


KEYFRAME, DELTA = b"\x10\x02\x00\x9d\x01\x2a", b"\x11\x02\x00"
"""How the frames of VP8 begin, RFC 6386 section 9.1."""


class Script:
    """A buffer and its clock: frames of VP8 arrive one after the other, except for what is lost."""

    def __init__(self, frames: list[int], keyframes: set[int]) -> None:
        self.packets = packets(frames)
        self.now = 0.0
        self.released: list[int] = []
        self.buffer = FrameBuffer(lambda frame: self.released.append(frame.timestamp), lambda: self.now)
        begin = True
        for packet in self.packets:
            first = KEYFRAME if packet.timestamp in keyframes else DELTA
            packet._data = first if begin else b"\x00" * 8  # type: ignore[attr-defined]
            begin = bool(packet.marker)

    def arrive(self, *indices: int) -> list[bool]:
        """Whether a keyframe is asked for with each of these packets."""
        return [self.buffer.add(self.packets[index])[0] for index in indices]


def test_a_damaged_picture_asks_for_keyframes_until_one_comes() -> None:
    """At once, and again every now and then; frames that build on the damage are not shown."""
    script = Script([1] * 7, keyframes={0, 4})
    assert script.arrive(0) == [False]
    script.buffer.broken = True
    assert script.arrive(1, 2) == [True, False]
    script.now += ASK_AGAIN
    assert script.arrive(3) == [True]
    script.now += ASK_AGAIN
    assert script.arrive(4, 5, 6) == [False] * 3
    assert script.released == [0, 4, 5, 6]


def test_a_packet_that_comes_within_patience_is_waited_for() -> None:
    """A repaired loss costs no keyframe and no frame."""
    script = Script([1, 2, 1, 1], keyframes={0})
    script.arrive(0, 1, 3)
    script.now += PATIENCE * 0.9
    assert script.arrive(4, 2) == [False, False]
    script.now += PATIENCE
    assert script.arrive(*range(3)) == [False] * 3
    assert script.released == [0, 1, 2, 3]


@pytest.mark.parametrize("lost", [1, 2, 3], ids=["first", "middle", "last"])
def test_a_packet_that_never_comes_is_given_up(lost: int) -> None:
    """With the first packet after the patience a keyframe is asked for, and the picture goes on with it."""
    script = Script([1, 3, 2, 3, 2, 1], keyframes={0, 4})
    script.arrive(0, *{1, 2, 3} - {lost})
    assert script.arrive(4, 5) == [False, False]
    script.now += PATIENCE
    assert script.arrive(6) == [True]
    assert script.arrive(lost, 7, 8) == [False] * 3  # too late, and frames that build on it
    assert script.released == [0]
    assert script.arrive(9, 10, 11) == [False] * 3
    assert script.released == [0, 4, 5]


def test_a_keyframe_behind_a_second_hole_is_shown_at_once() -> None:
    """While the picture is broken, what lies before a keyframe is not waited for."""
    script = Script([1] * 8, keyframes={0, 6})
    script.arrive(0, 2)
    script.now += PATIENCE
    assert script.arrive(3) == [True]
    script.arrive(5, 6, 7)
    assert script.released == [0, 6, 7]


def test_a_keyframe_with_a_hole_is_given_up_too() -> None:
    """And the next one asked for."""
    script = Script([1, 1, 1, 3, 1, 2], keyframes={0, 3, 5})
    script.arrive(0, 2)
    script.now += PATIENCE
    assert script.arrive(3, 5, 6) == [True, False, False]
    script.now += PATIENCE
    assert script.arrive(7, 8) == [True, False]
    assert script.released == [0, 5]


def test_a_very_late_retransmission_changes_nothing() -> None:
    """aiortc takes a packet from a hundred places back for a new beginning, and drops all it holds."""
    script = Script([1] * 140, keyframes={0, 3})
    script.arrive(0, 2)
    script.now += PATIENCE
    script.arrive(*range(3, 130))
    assert script.arrive(1, *range(130, 140)) == [False] * 11
    assert script.released == [0, *range(3, 140)]


@given(st.integers(1, 8000), st.integers(1, 8000), st.integers(2, 4000), st.integers(2, 4000))
def test_a_picture_fits_its_box_and_is_even_and_never_enlarged(w: int, h: int, box_w: int, box_h: int) -> None:
    """What the encoder is given, for any desk and any terminal."""
    width, height = fit((w, h), (box_w, box_h))
    assert 2 <= width <= max(2, min(w, box_w) + 1)
    assert 2 <= height <= max(2, min(h, box_h) + 1)
    assert width % 2 == height % 2 == 0
