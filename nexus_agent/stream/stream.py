"""One viewer's live picture: a WebRTC connection whose video is captured when the desk changes.

The agent's edge to aiortc. What aiortc does for us: ICE, DTLS, SRTP, retransmission. What it does not: capture,
pacing and encoding are ours, so that a change is on the wire within a few milliseconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from av import Packet
from numpy.typing import NDArray

from nexus_agent.capture.grabber import Grabber
from nexus_protocol.actions import Region
from nexus_protocol.errors import NexusError, ProtocolError
from nexus_protocol.messages import StreamClock, Viewport

from .encoder import CLOCK_RATE, Encoder
from .pacing import Pacer


class Source(Protocol):
    """What a stream needs of a capture (nexus_agent.capture)."""

    @property
    def size(self) -> tuple[int, int]: ...
    def grab(self, region: Region | None = None) -> NDArray[np.uint8]: ...


class Stream:
    """Answer an offer, follow a viewport, be told of changes, close.

    ``on_clock`` is told once how RTP time and the agent's clock (`time.monotonic`) fit together.
    """

    def __init__(self, source: Source, grabber: Grabber, on_clock: Callable[[StreamClock], None]) -> None:
        self._new_track = partial(DeskTrack, source, grabber, on_clock)
        self._track: DeskTrack | None = None
        self._viewport: Viewport | None = None
        self._connection: RTCPeerConnection | None = None

    def set_viewport(self, viewport: Viewport) -> None:
        self._viewport = viewport
        if self._track is not None:
            self._track.show(viewport)

    def changed(self) -> None:
        """The desk has changed; cheap, to be called for every burst of damage."""
        if self._track is not None:
            self._track.changed()

    async def answer(self, offer: str) -> str:
        """Take the console's SDP offer, return the answer. A second offer replaces the first connection.

        Raises ProtocolError for an offer that cannot be used.
        """
        await self._hang_up()
        # No STUN: gathering would wait up to five seconds for servers that a private network cannot reach.
        connection = self._connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        track = self._track = self._new_track()
        if self._viewport is not None:
            track.show(self._viewport)
        try:
            await connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
            videos = [t for t in connection.getTransceivers() if t.kind == "video"]
            if len(videos) != 1:
                raise ProtocolError("malformed", "an offer without exactly one video")
            sender = videos[0].sender
            sender.replaceTrack(track)
            videos[0].direction = "sendonly"
            # aiortc serves picture loss by forcing a keyframe out of its own encoder; ours is in the track.
            setattr(sender, "_send_keyframe", track.force_keyframe)  # noqa: B010
            track.sender = sender
            await connection.setLocalDescription(await connection.createAnswer())
        except NexusError:
            await self._hang_up()
            raise
        except Exception as error:  # noqa: BLE001  aiortc has no base class for what a bad SDP raises
            await self._hang_up()
            raise ProtocolError("malformed", f"an offer that cannot be used: {error}") from None
        return str(connection.localDescription.sdp)

    async def close(self) -> None:
        await self._hang_up()

    async def _hang_up(self) -> None:
        if self._track is not None:
            self._track.stop()
            self._track = None
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.close()


class DeskTrack(MediaStreamTrack):
    """The desk as aiortc sees it: `recv` waits until a frame is due and returns it encoded."""

    kind = "video"

    def __init__(self, source: Source, grabber: Grabber, on_clock: Callable[[StreamClock], None]) -> None:
        super().__init__()
        self.sender: object = None
        self._source = source
        self._grabber = grabber
        self._on_clock: Callable[[StreamClock], None] | None = on_clock
        self._pacer = Pacer()
        self._encoder = Encoder()
        self._viewport: Viewport | None = None
        self._keyframe = True
        self._wake = asyncio.Event()
        self._epoch = time.monotonic()
        self._sent_at: float | None = None

    def show(self, viewport: Viewport) -> None:
        self._viewport = viewport
        self._pacer.max_fps = viewport.max_fps
        self.changed()

    def changed(self) -> None:
        self._pacer.changed()
        self._wake.set()

    def force_keyframe(self) -> None:
        self._keyframe = True
        self.changed()

    def stop(self) -> None:
        super().stop()
        self._wake.set()

    async def recv(self) -> Packet[Any]:
        self._tell_clock()
        while True:
            await self._until_due()
            if self.readyState != "live":
                raise MediaStreamError
            now = time.monotonic()
            self._pacer.begin(now)
            keyframe, self._keyframe = self._keyframe, False
            try:
                packet = await self._grabber.run(self._produce, self._viewport, keyframe)
            except NexusError:  # the desk is lost, which its capture has told everyone already
                self.stop()
                raise MediaStreamError from None
            if packet is not None:
                return packet

    async def _until_due(self) -> None:
        while self.readyState == "live":
            due = self._pacer.due() if self._viewport is not None else None
            delay = None if due is None else due - time.monotonic()
            if delay is not None and delay <= 0:
                return
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._wake.wait()

    def _produce(self, viewport: Viewport, keyframe: bool) -> Packet[Any] | None:
        captured = time.monotonic()
        pixels = self._source.grab(_clip(viewport.region, self._source.size))
        box = (viewport.width, viewport.height)
        pts = round((captured - self._epoch) * CLOCK_RATE)
        packet = self._encoder.encode(pixels, box, pts, keyframe)
        self._sent_at = captured
        return packet

    def _tell_clock(self) -> None:
        """After the first frame has gone out, aiortc knows the random origin it added to our timestamps."""
        rtp = getattr(self.sender, "_RTCRtpSender__rtp_timestamp", 0)
        if self._on_clock is not None and rtp and self._sent_at is not None:
            self._on_clock(StreamClock(rtp=rtp, captured=self._sent_at))
            self._on_clock = None


def _clip(region: Region | None, size: tuple[int, int]) -> Region | None:
    """The part of the region that lies on the desk; the whole desk when there is none."""
    if region is None or region.x >= size[0] or region.y >= size[1]:
        return None
    width, height = min(region.width, size[0] - region.x), min(region.height, size[1] - region.y)
    return Region(x=region.x, y=region.y, width=width, height=height)
