"""The receiving end of the live picture: a WebRTC connection whose newest frame is handed to the console.

The console's edge to aiortc. Three things are our own, all measured to matter:

- aiortc's jitter buffer holds every frame back until a packet of the next one arrives. With frames sent only on
  change the last change would never be shown. `FrameBuffer` releases a frame on its RTP marker bit. A packet that is
  lost for good holds aiortc's back for hundreds of packets more; `FrameBuffer` soon goes on with a new keyframe.
- aiortc decodes every frame into an unbounded queue. `Decoder` decodes in one thread, and turns only the newest
  picture into the pixels that will be drawn.
- aiortc takes half a minute to see that a path is dead. `StreamReceiver` listens for the agent's sender reports.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpReceiver, RTCSessionDescription, RTCTransportStats
from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.rtp import RtpPacket
from av import CodecContext, FFmpegError, Packet, VideoFrame
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from nexus_protocol.errors import NexusError

CLOCK_RATE = 90_000
CAPACITY = 512
"""Packets of RTP held while one is missing; a power of two."""
PATIENCE = 0.15
"""Seconds a missing packet, or its retransmission, may take; less than the settle frames go on after a change."""
ASK_AGAIN = 0.1
"""Seconds between requests for a keyframe: a request, or the keyframe itself, can be lost too."""
SILENCE = 5.0
"""Seconds without a packet after which a path is dead: aiortc reports at least every 1.5 s, even from a still desk."""


class Picture(NamedTuple):
    """A decoded frame: RGB pixels (height, width, 3), its RTP time, and how long decoding took, in seconds."""

    pixels: NDArray[np.uint8]
    rtp: int
    decoding: float


class FrameBuffer(JitterBuffer):
    """aiortc's jitter buffer, releasing frames at their last packet to ``on_frame`` and never to aiortc itself.

    A packet that is still missing after `PATIENCE` is given up: the picture is broken until the next keyframe.
    """

    def __init__(self, on_frame: Callable[[JitterFrame], None], clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(capacity=CAPACITY, is_video=True)
        self._on_frame = on_frame
        self._clock = clock
        self._hole: tuple[int, float] | None = None
        """The sequence number that is waited for while later ones are here, and since when."""
        self._asked = float("-inf")
        self.broken = False
        """Frames are dropped, and keyframes asked for, until one comes. Set by the decoder too, in its thread."""

    def add(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
        """Take a packet; the flag says that a keyframe must be asked for (RFC 4585 section 6.3.1)."""
        now = self._clock()
        # A retransmission of what was given up; from 100 packets back, aiortc takes it for a new beginning.
        if self._origin is not None and 0 < (self._origin - packet.sequence_number) % 2**16 <= CAPACITY:
            return self._must_ask(now), None
        overflown, _ = super().add(packet)
        if overflown:
            self.broken = True
        self._release()
        if self._has_waited(now):
            self._give_up()
            self._release()
        return self._must_ask(now), None

    def _remove_frame(self, sequence_number: int) -> JitterFrame | None:
        return None  # `add` releases them

    def _release(self) -> None:
        """Hand over the frames that are whole; of a broken picture only those from a keyframe on."""
        if self.broken:
            self._skip_to_keyframe()
        while frame := self._first_frame():
            self.remove(len(frame))
            if self.broken and not _begins_keyframe(frame[0]):
                continue
            self.broken = False
            self._on_frame(JitterFrame(data=b"".join(map(_data, frame)), timestamp=frame[-1].timestamp))

    def _held(self) -> Iterator[RtpPacket | None]:
        """The packets from the oldest on, None for those that are not here."""
        for count in range(self._capacity):
            yield self._packets[((self._origin or 0) + count) % self._capacity]

    def _unbroken(self) -> list[RtpPacket]:
        """The packets before the first that is missing."""
        packets: list[RtpPacket] = []
        for packet in self._held():
            if packet is None:
                break
            packets.append(packet)
        return packets

    def _first_frame(self) -> list[RtpPacket]:
        """The packets of the oldest frame, when all of them are here."""
        packets = self._unbroken()
        return next((packets[:count] for count, packet in enumerate(packets, 1) if packet.marker), [])

    def _skip_to_keyframe(self) -> None:
        for count, packet in enumerate(self._held()):
            if packet is not None and _begins_keyframe(packet):
                self.remove(count)
                break

    def _has_waited(self, now: float) -> bool:
        """Whether a packet has been missing for too long."""
        unbroken = len(self._unbroken())
        if self._capacity - self._packets.count(None) == unbroken:
            self._hole = None
            return False
        missing = ((self._origin or 0) + unbroken) % 2**16
        if self._hole is None or self._hole[0] != missing:
            self._hole = missing, now
        return now - self._hole[1] >= PATIENCE

    def _give_up(self) -> None:
        """Drop everything before a keyframe that begins behind the hole; everything, when there is none."""
        self.broken = True
        hole, dropped = len(self._unbroken()), 0
        for count, packet in enumerate(self._held(), 1):
            if packet is None:
                continue
            if count > hole and _begins_keyframe(packet):
                dropped = count - 1
                break
            dropped = count
        self.remove(dropped)

    def _must_ask(self, now: float) -> bool:
        if not self.broken or now - self._asked < ASK_AGAIN:
            return False
        self._asked = now
        return True


def _data(packet: RtpPacket) -> bytes:
    """What a packet carries of its frame; aiortc attaches it without declaring it."""
    return bytes(packet._data)  # type: ignore[attr-defined]  # noqa: SLF001


def _begins_keyframe(packet: RtpPacket) -> bool:
    """Whether a VP8 keyframe begins here: its frame type is 0, and a start code follows (RFC 6386 section 9.1)."""
    data = _data(packet)
    return len(data) > 5 and not data[0] & 1 and data[3:6] == b"\x9d\x01\x2a"


class Decoder:
    """Decodes in a thread of its own; ``on_picture`` is called in the event loop with the newest picture only."""

    def __init__(self, on_picture: Callable[[Picture], None], on_broken: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()  # a thread has none of its own, and widgets need theirs
        self._on_picture = on_picture
        self._on_broken = on_broken
        self._frames: deque[JitterFrame] = deque(maxlen=CAPACITY)
        self._available = threading.Semaphore(0)
        self._newest: Picture | None = None
        self._lock = threading.Lock()
        self._stopped = False
        self.size: tuple[int, int] | None = None
        """Width and height of the pixels wanted; None leaves them as they were sent."""
        self._thread = threading.Thread(target=self._run, name="decoder", daemon=True)
        self._thread.start()

    def push(self, frame: JitterFrame) -> None:
        self._frames.append(frame)
        self._available.release()

    def stop(self) -> None:
        """Ends the thread; no picture is handed over after this."""
        self._stopped = True
        self._available.release()
        self._thread.join()

    def _run(self) -> None:
        codec = CodecContext.create("libvpx", "r")
        assert isinstance(codec, VideoCodecContext)
        scaler = VideoReformatter()
        while True:
            self._available.acquire()
            if self._stopped:
                return
            try:
                frame = self._frames.popleft()
            except IndexError:  # the deque dropped its oldest
                continue
            started = time.perf_counter()
            packet = Packet(frame.data)
            try:
                decoded = codec.decode(packet)
            except FFmpegError:
                self._on_broken()
                continue
            if decoded and not self._frames:
                pixels = _pixels(decoded[-1], scaler, self.size)
                self._publish(Picture(pixels, frame.timestamp, time.perf_counter() - started))

    def _publish(self, picture: Picture) -> None:
        with self._lock:
            waiting, self._newest = self._newest is not None, picture
        if not waiting and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._deliver, context=self._context)

    def _deliver(self) -> None:
        with self._lock:
            picture, self._newest = self._newest, None
        if picture is not None and not self._stopped:
            self._on_picture(picture)


def _pixels(frame: VideoFrame, scaler: VideoReformatter, size: tuple[int, int] | None) -> NDArray[np.uint8]:
    width, height = size or (frame.width, frame.height)
    # In two steps: scaled in one, libswscale's chroma lands half a sample to the right of the luma.
    # In one thread: waking a pool of them costs more than it saves.
    rgb = scaler.reformat(frame, format="rgb24", threads=1)
    rgb = scaler.reformat(rgb, width, height, interpolation=Interpolation.AREA, threads=1)
    return np.asarray(rgb.to_ndarray(), np.uint8)


class StreamReceiver:
    """Make an offer, accept the answer, get pictures; ``on_failed`` is called when no path works (any more)."""

    def __init__(self, on_picture: Callable[[Picture], None], on_failed: Callable[[], None]) -> None:
        # No STUN: gathering would wait up to five seconds for servers that a private network cannot reach.
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._receiver = self._connection.addTransceiver("video", direction="recvonly").receiver
        self._buffer: FrameBuffer | None = None
        self._decoder = Decoder(on_picture, self._damaged)
        self._on_failed = on_failed
        self._closing = False
        self._listening: asyncio.Task[None] | None = None
        self._connection.on("connectionstatechange", self._on_state)

    def set_size(self, width: int, height: int) -> None:
        """The size of the pictures from now on, in pixels."""
        self._decoder.size = (width, height)

    async def offer(self) -> str:
        """The SDP offer, with every candidate of this machine in it."""
        self._buffer = release_on_marker(self._receiver, self._decoder.push)
        await self._connection.setLocalDescription(await self._connection.createOffer())
        return str(self._connection.localDescription.sdp)

    async def accept(self, answer: str) -> None:
        """Raises NexusError for an answer that cannot be used."""
        try:
            await self._connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        except Exception as error:  # noqa: BLE001  aiortc has no base class for what a bad SDP raises
            raise NexusError(f"the agent's stream cannot be used: {error}") from None

    @property
    def transport(self) -> str:
        """How pictures travel, for the status line: ``udp 10.0.0.7`` once a path is chosen."""
        try:
            pair: Any = self._receiver.transport.transport._connection._nominated[1]  # noqa: SLF001  aiortc does not tell otherwise
            return f"udp {pair.remote_candidate.host}"
        except (AttributeError, KeyError):
            return "udp"

    async def close(self) -> None:
        self._closing = True
        self._decoder.stop()
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
        await self._connection.close()

    def _on_state(self) -> None:
        match self._connection.connectionState:
            case "connected" if not self._closing and self._listening is None:
                self._listening = asyncio.create_task(self._listen())
            # A path that dies, and an agent that hangs up, end in "closed".
            case "failed" | "closed" if not self._closing:
                self._on_failed()

    async def _listen(self) -> None:
        """Give the path up when nothing has come over it for a while, long before aioice does (30 s, RFC 7675)."""
        heard, before = await self._heard(), -1
        while heard != before:
            await asyncio.sleep(SILENCE)
            heard, before = await self._heard(), heard
        self._on_failed()

    async def _heard(self) -> int:
        """How many bytes have come, sender reports included."""
        stats = (await self._receiver.getStats()).values()
        return sum(each.bytesReceived for each in stats if isinstance(each, RTCTransportStats))

    def _damaged(self) -> None:
        if self._buffer is not None:
            self._buffer.broken = True


def release_on_marker(receiver: RTCRtpReceiver, on_frame: Callable[[JitterFrame], None]) -> FrameBuffer:
    """Put a FrameBuffer where aiortc keeps its own. Raises NexusError when a new aiortc keeps it elsewhere."""
    name = "_RTCRtpReceiver__jitter_buffer"
    if not isinstance(getattr(receiver, name, None), JitterBuffer):
        raise NexusError("this release of aiortc is not supported: its receiver has no jitter buffer to replace")
    buffer = FrameBuffer(on_frame)
    setattr(receiver, name, buffer)
    return buffer
