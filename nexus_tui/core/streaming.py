"""Keeps the desk's pictures coming: what is wanted of them, and an offer of a stream whenever there is none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from nexus_protocol.errors import LinkClosed, NexusError
from nexus_protocol.link import Link
from nexus_protocol.messages import Answer, FromAgent, Offer, SetViewport, ToAgent, Viewport

from .observer import Observer

if TYPE_CHECKING:
    from .stream import StreamReceiver

ANSWER_TIMEOUT = 10.0
PROBLEM_RETRY = 30.0
STREAM_RETRY = 2.0


class Streaming:
    """One stream at a time, on one link after another. The observer of the moment hears of pictures and problems."""

    def __init__(self, observer: Callable[[], Observer]) -> None:
        self._observer = observer
        self._stream: StreamReceiver | None = None
        self._viewport: Viewport | None = None
        self._pixels: tuple[int, int] | None = None
        self._failed = asyncio.Event()
        self._answered = asyncio.Event()
        self._problem = ""

    @property
    def transport(self) -> str:
        return self._stream.transport if self._stream is not None else "-"

    def look(self, viewport: Viewport, pixels: tuple[int, int]) -> SetViewport:
        """What to stream, and the size in pixels the pictures are wanted in; returns what the agent has to be told."""
        self._viewport, self._pixels = viewport, pixels
        if self._stream is not None:
            self._stream.set_size(*pixels)
        return SetViewport(viewport=viewport)

    async def keep(self, link: Link[FromAgent, ToAgent]) -> None:
        """Offer a stream, and another one whenever its path breaks while the link still stands."""
        from .stream import StreamReceiver  # aiortc takes longer to load than a script's action to be done

        if self._viewport is not None:
            link.send(SetViewport(viewport=self._viewport))
        while True:
            self._failed.clear()
            self._answered.clear()
            self._stream = stream = StreamReceiver(self._observer().on_picture, self._failed.set)
            if self._pixels is not None:
                stream.set_size(*self._pixels)
            pause, problem = STREAM_RETRY, "no UDP path to the desk for its picture; trying again"
            try:
                link.send(Offer(sdp=await stream.offer()))
                async with asyncio.timeout(ANSWER_TIMEOUT):
                    await self._answered.wait()
                await self._failed.wait()
            except TimeoutError:
                problem = "the desk does not answer for its picture; trying again"
            except LinkClosed:
                return
            finally:
                self._stream = None
                await stream.close()
            if self._problem:
                pause, problem = PROBLEM_RETRY, self._problem
            self._observer().on_stream_problem(problem)
            await asyncio.sleep(pause)

    async def answered(self, answer: Answer) -> None:
        """The agent has answered the offer."""
        self._answered.set()
        self._problem = answer.problem
        try:
            if self._stream is not None and not answer.problem:
                await self._stream.accept(answer.sdp)
        except NexusError as error:
            self._problem = str(error)
        if self._problem:
            self._failed.set()
