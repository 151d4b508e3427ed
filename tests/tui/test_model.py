"""The action log and the queue of requests, as plain data."""

from __future__ import annotations

from nexus_protocol.messages import ActionReport
from nexus_protocol.vocabulary import ActionState, Role
from nexus_tui.core.model import LOG_LENGTH, MERGE_WITHIN, ActionLog


def report(number: int, kind: str = "click", state: ActionState = ActionState.DONE, who: str = "alice") -> ActionReport:
    return ActionReport(number=number, who=who, role=Role.OPERATOR, kind=kind, summary="", state=state)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_later_report_of_an_action_replaces_the_earlier_one_where_it_stands() -> None:
    """An action keeps its line and its time while it goes from waiting to its end."""
    clock = Clock()
    log = ActionLog(clock)
    log.add(report(1, state=ActionState.WAITING))
    log.add(report(2))
    clock.now += 60
    log.add(report(1))
    assert [(e.report.number, e.report.state, e.at) for e in log.entries] == [
        (1, ActionState.DONE, 1000.0),
        (2, ActionState.DONE, 1000.0),
    ]


def test_key_presses_of_one_person_make_one_line() -> None:
    """Typing is one line with a count, and not one for each key."""
    log = ActionLog(Clock())
    for number in range(1, 6):
        log.add(report(number, kind="type"))
    (entry,) = log.entries
    assert (entry.count, entry.what) == (5, "type ×5")


def test_a_pause_another_person_another_kind_and_a_failure_start_a_line() -> None:
    """Only what is really one gesture is merged."""
    clock = Clock()
    log = ActionLog(clock)
    log.add(report(1, kind="type"))
    clock.now += MERGE_WITHIN
    log.add(report(2, kind="type"))
    log.add(report(3, kind="type", who="bob"))
    log.add(report(4, kind="key", who="bob"))
    log.add(report(5, kind="key", who="bob", state=ActionState.FAILED))
    log.add(report(6, kind="click"))
    log.add(report(7, kind="click"))
    assert [e.report.number for e in log.entries] == [1, 2, 3, 4, 5, 6, 7]


def test_the_log_keeps_the_newest_lines() -> None:
    """However long a session lasts, the log stays as long as it is."""
    log = ActionLog(Clock())
    for number in range(LOG_LENGTH + 10):
        log.add(report(number))
    assert len(log) == LOG_LENGTH
    assert log.entries[0].report.number == 10
