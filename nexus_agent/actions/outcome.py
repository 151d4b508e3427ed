"""How an action ended: what its doer hands to the runner, which makes the result and the report of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from nexus_protocol.vocabulary import ActionState

T = TypeVar("T")


class Outcome(NamedTuple):
    """An end that is not an error. What fails raises NexusError instead."""

    message: str = ""
    data: bytes = b""
    stderr: bytes = b""
    exit_code: int | None = None
    state: ActionState = ActionState.DONE


async def in_thread(function: Callable[..., T], *arguments: object) -> T:
    """Run a blocking function to its end, also when cancelled meanwhile: a thread cannot be stopped half way.

    The cancellation is raised afterwards, so nothing of the function is still going on by then.
    """
    work = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait({work})
        if not work.cancelled():
            work.exception()  # seen, and of no more interest than the result
        raise
