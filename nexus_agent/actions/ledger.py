"""Which actions this agent has been asked for: the memory that makes an id run at most once. No I/O."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import msgspec

from nexus_agent.permissions.requests import Request
from nexus_protocol.actions import Action, Admission, Asked
from nexus_protocol.errors import NexusError
from nexus_protocol.messages import Result
from nexus_protocol.vocabulary import Role

from .hands import INPUT

MAX_OPEN_EACH = 256
"""Actions of one operator that have not ended."""
KEPT = 1_024
"""Ended actions remembered, of input and of everything else each: a minute of typing must not push a command out."""
KEPT_BYTES = 64 * 1024 * 1024
"""Files, pictures and outputs kept in case somebody who lost the connection asks again."""


class Actor(NamedTuple):
    """Who acts: the name and role that go with the key. The same subject in another role is somebody else."""

    subject: str
    role: Role


class Origin(Protocol):
    """The session an action came by."""

    @property
    def actor(self) -> Actor: ...
    @property
    def approver(self) -> bool:
        """Whether it may decide requests."""

    @property
    def gone(self) -> bool:
        """Its link has ended."""


@dataclass(slots=True, eq=False)
class Job:
    """One action on its way.

    ``asked`` tells the exact action that was asked for from any other. ``shown`` is what its line in the log says was
    done; None: no line. ``cancelled`` says why it was told to stop.
    """

    id: str
    origin: Origin
    action: Asked
    asked: int
    shown: Asked | None
    number: int = 0
    request: Request | None = None
    task: asyncio.Task[None] | None = None
    cancelled: str = ""
    started: float | None = None
    ended: bool = False

    @property
    def actor(self) -> Actor:
        return self.origin.actor

    @property
    def deed(self) -> Action:
        """The action, of a job that does something at the desk."""
        assert not isinstance(self.action, Admission), "a stranger is let in, and does nothing by that"
        return self.action


@dataclass(slots=True)
class Ended:
    """What is remembered of an action: enough to answer whoever asks for it again."""

    asked: int
    result: Result


Key = tuple[Actor, str]


class Ledger:
    """Every action that is under way, and the last ones that ended."""

    def __init__(self, *, kept: int = KEPT, kept_bytes: int = KEPT_BYTES) -> None:
        self._kept, self._kept_bytes = kept, kept_bytes
        self._open: dict[Key, Job] = {}
        self._open_of: Counter[Actor] = Counter()
        self._ended_input: OrderedDict[Key, Ended] = OrderedDict()
        self._ended_other: OrderedDict[Key, Ended] = OrderedDict()
        self._heavy: OrderedDict[Key, Ended] = OrderedDict()
        self._bytes = 0

    @property
    def under_way(self) -> tuple[Job, ...]:
        return tuple(self._open.values())

    def find(self, actor: Actor, id: str) -> Job | Ended | None:
        key = actor, id
        return self._open.get(key) or self._ended_input.get(key) or self._ended_other.get(key)

    def begin(self, job: Job) -> None:
        """Raises NexusError when this operator has too much under way."""
        if self._open_of[job.actor] >= MAX_OPEN_EACH:
            raise NexusError(f"{MAX_OPEN_EACH} actions of {job.actor.subject} are under way; wait for some to end")
        self._open[job.actor, job.id] = job
        self._open_of[job.actor] += 1

    def end(self, job: Job, result: Result) -> None:
        """The job has ended with ``result``, which is kept as long as there is room."""
        key = job.actor, job.id
        del self._open[key]
        self._open_of[job.actor] -= 1
        if not self._open_of[job.actor]:
            del self._open_of[job.actor]
        ended = self._ended_input if isinstance(job.action, INPUT) else self._ended_other
        ended[key] = Ended(job.asked, result)
        if size := _size(result):
            self._heavy[key] = ended[key]
            self._bytes += size
        if len(ended) > self._kept:
            oldest, _ = ended.popitem(last=False)
            self._lighten(oldest)
        while self._bytes > self._kept_bytes:
            self._lighten(next(iter(self._heavy)))

    def _lighten(self, key: Key) -> None:
        """Forget what a result carried; its end and message stay."""
        ended = self._heavy.pop(key, None)
        if ended is not None:
            self._bytes -= _size(ended.result)
            message = f"{ended.result.message}; what it returned is no longer kept".removeprefix("; ")
            ended.result = msgspec.structs.replace(ended.result, data=b"", stderr=b"", message=message)


def _size(result: Result) -> int:
    return len(result.data) + len(result.stderr)
