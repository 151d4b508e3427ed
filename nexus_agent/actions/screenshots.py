"""A PNG of the desk: the module of the agent that knows Pillow's encoder."""

from __future__ import annotations

import io

from PIL import Image

from nexus_agent.capture import Capture, Pixels
from nexus_agent.capture.grabber import Grabber
from nexus_protocol.actions import Screenshot
from nexus_protocol.errors import NexusError
from nexus_protocol.messages import MAX_MESSAGE

from .outcome import Outcome, in_thread

_LEVEL = 1
"""zlib's fastest: three times the speed of the default for a file about a tenth longer."""


async def screenshot(action: Screenshot, capture: Capture, grabber: Grabber) -> Outcome:
    """Raises NexusError."""
    pixels: Pixels = await grabber.run(capture.grab, action.region)
    png = await in_thread(_png, pixels)
    if len(png) > MAX_MESSAGE - 1024:
        raise NexusError(f"the picture is {len(png):,} bytes; ask for a region of the desk")
    height, width = pixels.shape[:2]
    return Outcome(f"{width}×{height}", data=png)


def _png(pixels: Pixels) -> bytes:
    height, width = pixels.shape[:2]
    image = Image.frombuffer("RGB", (width, height), pixels, "raw", "BGRX", 0, 1)
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=_LEVEL)
    return file.getvalue()
