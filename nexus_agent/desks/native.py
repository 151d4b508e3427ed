"""The desk of a Windows or macOS session."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from nexus_agent.capture.polling import PollingCapture
from nexus_agent.input.pyautogui_input import PyAutoGuiInput

from . import Desk


async def open_native() -> Desk:
    """Raises NexusError when the screen cannot be captured or driven, with the platform's reason."""
    async with AsyncExitStack() as opened:
        capture = PollingCapture()
        opened.callback(capture.close)
        injected = PyAutoGuiInput(capture.origin)
        opened.push_async_callback(asyncio.to_thread, injected.close)
        return Desk(kind="native", capture=capture, input=injected, environment={}, ending=opened.pop_all())
