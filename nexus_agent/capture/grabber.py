"""The one thread that looks at the desk.

mss handles belong to the thread that made them, and one thread is enough for any number of viewers: every grab,
scale and encode of an agent goes through here, in the order it was asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class Grabber:
    """Runs functions in that thread. Close it after every stream has been closed."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="grabber")

    async def run(self, function: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, function, *arguments)

    def close(self) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)
