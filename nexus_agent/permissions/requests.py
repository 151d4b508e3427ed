"""The requests: actions held until somebody decides, and the one table of what can become of them. No I/O.

                  ┌─ approve ──> APPROVED      the runner runs the action, once
                  ├─ deny ─────> DENIED
    PENDING ──────┤
                  ├─ time out ─> EXPIRED       no answer is a denial
                  └─ withdraw ─> WITHDRAWN     whoever asked no longer wants it

The first end stays. A decision names the hash of the exact action that was shown, and fits no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from nexus_protocol.actions import PERMISSION_OF, Asked, FileWrite, payload_hash
from nexus_protocol.errors import NexusError, Refused
from nexus_protocol.vocabulary import Permission, RequestState, Role

MAX_PENDING_EACH = 16
MAX_PENDING = 64
MAX_PENDING_BYTES = 24 * 1024 * 1024
"""File contents in all requests together: each approver is sent all of it when it connects."""

_ENDS = frozenset({RequestState.APPROVED, RequestState.DENIED, RequestState.EXPIRED, RequestState.WITHDRAWN})
TRANSITIONS: dict[RequestState, frozenset[RequestState]] = {
    RequestState.PENDING: _ENDS,
    **{end: frozenset() for end in _ENDS},
}


@dataclass(slots=True)
class Request:
    """``number`` is the action's number in the log; ``deadline`` is on the table's clock."""

    id: int
    number: int
    who: str
    role: Role
    action: Asked
    payload_hash: bytes
    deadline: float
    why: str
    state: RequestState = RequestState.PENDING
    by: str = ""
    reason: str = ""

    @property
    def permission(self) -> Permission:
        return PERMISSION_OF[type(self.action)]

    def become(self, state: RequestState, by: str = "", reason: str = "") -> None:
        """Raises Refused for what the table does not hold."""
        if state not in TRANSITIONS[self.state]:
            whom = f" by {self.by}" if self.by else ""
            raise Refused(f"request {self.id} is already {self.state}{whom}")
        self.state, self.by, self.reason = state, by, reason


class RequestTable:
    """All pending requests of one desk. A request that has ended is with whoever was given it, and nowhere here."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._pending: dict[int, Request] = {}
        self._next_id = 1

    def __iter__(self) -> Iterator[Request]:
        """The pending requests, oldest first."""
        return iter(tuple(self._pending.values()))

    def __len__(self) -> int:
        return len(self._pending)

    def find(self, id: int) -> Request | None:
        """The pending request of that id."""
        return self._pending.get(id)

    def seconds_left(self, request: Request) -> float:
        return max(0.0, request.deadline - self._clock())

    def next_deadline(self) -> float | None:
        """When :meth:`expire` next has something to do, on the table's clock."""
        return min((request.deadline for request in self._pending.values()), default=None)

    def open(self, action: Asked, *, who: str, role: Role, number: int, timeout: float, why: str = "") -> Request:
        """A new pending request. Raises NexusError when too much waits already."""
        same = sum(request.who == who for request in self._pending.values())
        if same >= MAX_PENDING_EACH:
            raise NexusError(f"{same} actions of {who} wait for a decision already; this one was not asked for")
        if len(self._pending) >= MAX_PENDING:
            raise NexusError(f"{len(self._pending)} actions wait for a decision already; this one was not asked for")
        if sum(_bytes(request.action) for request in self._pending.values()) + _bytes(action) > MAX_PENDING_BYTES:
            raise NexusError("too much file content waits for a decision already; this was not asked for")
        deadline = self._clock() + timeout
        request = Request(self._next_id, number, who, role, action, payload_hash(action), deadline, why)
        self._next_id += 1
        self._pending[request.id] = request
        return request

    def decide(
        self, id: int, payload_hash: bytes, *, approve: bool, by: str, approver: bool, reason: str = ""
    ) -> Request:
        """The first decision on a request, in time, by somebody who may, on exactly what was shown; else Refused."""
        if not approver:
            raise Refused(f"{by} may not decide requests")
        request = self.find(id)
        if request is None:
            raise Refused(f"request {id} is not pending: it has ended, or never was")
        if payload_hash != request.payload_hash:
            raise Refused(f"request {id} is for another action than the one that was shown")
        if request.deadline <= self._clock():
            raise Refused(f"request {id} has expired")
        self._end(request, RequestState.APPROVED if approve else RequestState.DENIED, by, reason)
        return request

    def withdraw(self, id: int) -> Request | None:
        """End a request that is no longer wanted; None when it is not pending any more."""
        request = self._pending.get(id)
        if request is not None:
            self._end(request, RequestState.WITHDRAWN, request.who)
        return request

    def expire(self) -> list[Request]:
        """End and return the requests whose time is over."""
        now = self._clock()
        late = [request for request in self._pending.values() if request.deadline <= now]
        for request in late:
            self._end(request, RequestState.EXPIRED)
        return late

    def _end(self, request: Request, state: RequestState, by: str = "", reason: str = "") -> None:
        request.become(state, by, reason)
        del self._pending[request.id]


def _bytes(action: Asked) -> int:
    return len(action.data) if isinstance(action, FileWrite) else 0
