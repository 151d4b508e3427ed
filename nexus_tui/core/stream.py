"""The receiving end of the live picture: a WebRTC connection whose newest frame is handed to the console.

The console's edge to aiortc. Two things are our own, both measured to matter:

- aiortc's jitter buffer holds every frame back until a packet of the next one arrives. With frames sent only on
  change the last change would never be shown. `FrameBuffer` releases a frame on its RTP marker bit.
- aiortc decodes every frame into an unbounded queue. `Decoder` decodes in one thread, and turns only the newest
  picture into the pixels that will be drawn.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpReceiver, RTCSessionDescription
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


class Picture(NamedTuple):
    """A decoded frame: RGB pixels (height, width, 3), its RTP time, and how long decoding took, in seconds."""

    pixels: NDArray[np.uint8]
    rtp: int
    decoding: float


class FrameBuffer(JitterBuffer):
    """aiortc's jitter buffer, releasing frames at their last packet to ``on_frame`` and never to aiortc itself."""

    def __init__(self, on_frame: Callable[[JitterFrame], None]) -> None:
        super().__init__(capacity=CAPACITY, is_video=True)
        self._on_frame = on_frame
        self.broken = False
        """Set by the decoder: the picture is damaged, ask for a keyframe with the next packet."""

    def add(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
        lost, _ = super().add(packet)
        lost, self.broken = lost or self.broken, False
        return lost, None

    def _remove_frame(self, sequence_number: int) -> JitterFrame | None:
        while frame := self._first_frame():
            self.remove(len(frame))
            data = b"".join(packet._data for packet in frame)  # type: ignore[attr-defined]  # noqa: SLF001
            self._on_frame(JitterFrame(data=data, timestamp=frame[-1].timestamp))
        return None

    def _first_frame(self) -> list[RtpPacket]:
        """The packets of the oldest frame, when all of them are here."""
        packets: list[RtpPacket] = []
        for count in range(self._capacity):
            packet = self._packets[((self._origin or 0) + count) % self._capacity]
            if packet is None:
                break
            packets.append(packet)
            if packet.marker:
                return packets
        return []


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
        self._decoder.stop()
        await self._connection.close()

    def _on_state(self) -> None:
        if self._connection.connectionState == "failed":
            self._on_failed()

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
