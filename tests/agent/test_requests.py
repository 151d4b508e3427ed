"""The table of requests: its states and its bounds."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest

from nexus_agent.permissions import requests
from nexus_agent.permissions.requests import Request, RequestTable
from nexus_protocol.actions import MAX_FILE, Execute, FileWrite
from nexus_protocol.errors import NexusError, Refused
from nexus_protocol.vocabulary import RequestState, Role

LS = Execute(argv=("ls",))


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now

    def reach(self, time: float) -> bool:
        self.now = time
        return False


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def table(clock: Clock) -> RequestTable:
    return RequestTable(clock)


def ask(table: RequestTable, who: str = "ci") -> Request:
    return table.open(LS, who=who, role=Role.AUTOMATION, number=1, timeout=60)


ENDINGS: dict[RequestState, Callable[[RequestTable, Clock, Request], object]] = {
    RequestState.APPROVED: lambda table, clock, request: table.decide(
        request.id, request.payload_hash, approve=True, by="alice", approver=True
    ),
    RequestState.DENIED: lambda table, clock, request: table.decide(
        request.id, request.payload_hash, approve=False, by="alice", approver=True
    ),
    RequestState.EXPIRED: lambda table, clock, request: clock.reach(request.deadline) or table.expire(),
    RequestState.WITHDRAWN: lambda table, clock, request: table.withdraw(request.id),
}


@pytest.mark.parametrize("end", ENDINGS)
@pytest.mark.parametrize("then", ENDINGS)
def test_the_first_end_stays(table: RequestTable, clock: Clock, end: RequestState, then: RequestState) -> None:
    """A request that has ended is not pending any more, and nothing that comes later changes how it ended."""
    request = ask(table)
    ENDINGS[end](table, clock, request)
    assert request.state is end
    assert len(table) == 0
    with contextlib.suppress(Refused):
        ENDINGS[then](table, clock, request)
    assert request.state is end


def test_only_approvers_decide(table: RequestTable) -> None:
    """Nobody without that right approves or denies anything."""
    request = ask(table)
    for approve in (True, False):
        with pytest.raises(Refused, match="x may not decide"):
            table.decide(request.id, request.payload_hash, approve=approve, by="x", approver=False)
    assert request.state is RequestState.PENDING


def test_a_decision_fits_only_what_was_shown(table: RequestTable) -> None:
    """The hash of another action is refused, and the request waits on."""
    request = ask(table)
    with pytest.raises(Refused, match="another action"):
        table.decide(request.id, b"\0" * 32, approve=True, by="alice", approver=True)
    assert request.state is RequestState.PENDING


def test_a_decision_that_comes_too_late_is_refused_before_the_alarm(table: RequestTable, clock: Clock) -> None:
    """The deadline holds by the clock, not by when somebody got round to expiring."""
    request = ask(table)
    clock.now = request.deadline
    with pytest.raises(Refused, match="expired"):
        table.decide(request.id, request.payload_hash, approve=True, by="alice", approver=True)
    assert table.expire() == [request]
    assert table.next_deadline() is None


def test_one_requester_cannot_flood_the_table(table: RequestTable) -> None:
    """There is a bound for each requester and one for all together."""
    for _ in range(requests.MAX_PENDING_EACH):
        ask(table)
    with pytest.raises(NexusError, match="16 actions of ci wait"):
        ask(table)
    for number in range(requests.MAX_PENDING - requests.MAX_PENDING_EACH):
        ask(table, who=f"other-{number}")
    with pytest.raises(NexusError, match="64 actions wait"):
        ask(table, who="one more")


def test_file_contents_that_wait_are_bounded(table: RequestTable) -> None:
    """Two of the largest files do not wait at once."""
    write = FileWrite(path="/x", data=bytes(MAX_FILE))
    table.open(write, who="ci", role=Role.AUTOMATION, number=1, timeout=60)
    with pytest.raises(NexusError, match="too much file content"):
        table.open(write, who="cj", role=Role.AUTOMATION, number=2, timeout=60)
