"""From captured pixels to an encoded frame: scale, convert, encode; runs in the grabber's thread.

The scaler reads the captured buffer in place, and nothing is copied before it is small. It runs in one thread: waking
a pool of them costs more than it saves, up to 15 ms on two busy cores.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from av import CodecContext, Packet, VideoFrame
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

CLOCK_RATE = 90_000
"""RTP's clock for video, RFC 7741 section 4.1."""
ROWS_AVERAGED = 4

_OPTIONS = {
    # Speed before size: a frame of a terminal's resolution is small anyway.
    "deadline": "realtime",
    "cpu-used": "-12",
    "lag-in-frames": "0",
    "noise-sensitivity": "0",
    "screen-content-mode": "1",
    "static-thresh": "0",
    "error-resilient": "0",
    "overshoot-pct": "100",
    "undershoot-pct": "100",
}


def fit(source: tuple[int, int], box: tuple[int, int]) -> tuple[int, int]:
    """The largest even size within ``box`` that keeps the aspect ratio of ``source`` and does not enlarge it."""
    scale = min(box[0] / source[0], box[1] / source[1], 1.0)
    width, height = (max(2, round(side * scale)) & ~1 for side in source)
    return width, height


class Encoder:
    """VP8 at one size; a change of size starts it anew, with a keyframe."""

    def __init__(self) -> None:
        self._codec: VideoCodecContext | None = None
        self._scaler = VideoReformatter()
        self._size = (0, 0)
        self._last_pts = -1

    def encode(self, pixels: NDArray[np.uint8], box: tuple[int, int], pts: int, keyframe: bool) -> Packet[Any] | None:
        """One frame of BGRA ``pixels`` (height, width, 4) scaled into ``box``; None when the encoder drops it.

        ``pts`` is in units of 1/90000 s.
        """
        height, width = pixels.shape[:2]
        size = fit((width, height), box)
        if self._codec is None or size != self._size:
            self._codec, self._size = _open(size), size
        # At least four rows still go into each row of the picture; the others cost time and are not seen.
        frame = VideoFrame.from_numpy_buffer(_thinned(pixels, height // size[1] // ROWS_AVERAGED), format="bgra")
        # Area averages every pixel in; it only pays when the picture shrinks by a lot.
        kind = Interpolation.AREA if size != (width, height) else Interpolation.FAST_BILINEAR
        frame = self._scaler.reformat(frame, *size, format="yuv420p", interpolation=kind, threads=1)
        frame.pts = self._last_pts = max(pts, self._last_pts + 1)
        frame.time_base = Fraction(1, CLOCK_RATE)
        if keyframe:
            frame.pict_type = PictureType.I
        packets = self._codec.encode(frame)
        return packets[0] if packets else None


def _thinned(pixels: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """Every ``step``-th row, without a copy."""
    return pixels if step < 2 else pixels[: len(pixels) - len(pixels) % step : step]


def _open(size: tuple[int, int]) -> VideoCodecContext:
    codec = CodecContext.create("libvpx", "w")
    assert isinstance(codec, VideoCodecContext)
    codec.width, codec.height = size
    codec.pix_fmt = "yuv420p"
    codec.time_base = Fraction(1, CLOCK_RATE)
    codec.framerate = Fraction(60)
    # Six bits a pixel a second: 2 Mbit/s at 640×540; the rate control may burst past it after a quiet spell.
    codec.bit_rate = min(max(size[0] * size[1] * 12, 1_500_000), 20_000_000)
    codec.gop_size = 100_000  # keyframes only when somebody asks
    codec.qmin, codec.qmax = 2, 48
    codec.options = _OPTIONS
    codec.thread_count = 1 if size[0] * size[1] < 640 * 480 else 2
    return codec
