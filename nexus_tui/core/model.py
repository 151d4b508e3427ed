"""What the console knows and shows: the action log and the queue of requests. Plain data, no I/O, no Textual."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from nexus_protocol.messages import ActionReport, RequestOpened
from nexus_protocol.vocabulary import ActionState

LOG_LENGTH = 1_000
MERGE_WITHIN = 2.0
"""Seconds between key presses of one person that still make one line of the log."""


@dataclass(frozen=True)
class LogEntry:
    """One line of the log; ``at`` is wall-clock time, ``count`` how many reports were merged into it."""

    report: ActionReport
    at: float
    count: int = 1

    @property
    def what(self) -> str:
        if self.count == 1:
            return f"{self.report.kind} {self.report.summary}".strip()
        return f"{self.report.kind} ×{self.count}"


class ActionLog:
    """The newest LOG_LENGTH actions, oldest first. A later report of an action replaces the earlier one."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._entries: OrderedDict[int, LogEntry] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def entries(self) -> list[LogEntry]:
        return list(self._entries.values())

    def add(self, report: ActionReport) -> LogEntry:
        """Take a report in, and return the line it became or changed."""
        now = self._clock()
        known = self._entries.get(report.number)
        last = next(reversed(self._entries.values()), None)
        if known is not None:
            entry = replace(known, report=report)
        elif last is not None and _same_gesture(last, report, now):
            entry = LogEntry(report, now, last.count + 1)
            del self._entries[last.report.number]
        else:
            entry = LogEntry(report, now)
        self._entries[report.number] = entry
        while len(self._entries) > LOG_LENGTH:
            self._entries.popitem(last=False)
        return entry


_MERGED_KINDS = frozenset({"type", "key", "scroll"})


def _same_gesture(last: LogEntry, report: ActionReport, now: float) -> bool:
    """Whether a key press or a wheel notch merely continues the line before it."""
    before = last.report
    return (
        report.kind in _MERGED_KINDS
        and (report.kind, report.who) == (before.kind, before.who)
        and before.state is report.state is ActionState.DONE
        and now - last.at < MERGE_WITHIN
    )


@dataclass(frozen=True)
class Waiting:
    """A request in the queue; ``deadline`` on the console's monotonic clock, where the agent gives up."""

    opened: RequestOpened
    deadline: float


class RequestQueue:
    """Requests that wait for a decision, oldest first."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waiting: OrderedDict[int, Waiting] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Waiting]:
        return iter(self._waiting.values())

    def open(self, request: RequestOpened) -> None:
        self._waiting[request.request] = Waiting(request, self._clock() + request.seconds)

    def close(self, number: int) -> Waiting | None:
        return self._waiting.pop(number, None)

    def clear(self) -> None:
        self._waiting.clear()
