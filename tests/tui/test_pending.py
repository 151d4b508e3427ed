"""Actions that have not ended: what is said of them on the next link, and what their end is."""

from __future__ import annotations

import pytest

from nexus_protocol.actions import Click, Press
from nexus_protocol.messages import Act, Cancel, Result
from nexus_protocol.vocabulary import ActionState
from nexus_tui.core.pending import MAX_PENDING, Pending


@pytest.fixture
def told() -> list[Result]:
    return []


@pytest.fixture
def pending(told: list[Result]) -> Pending:
    return Pending(told.append)


def begun(pending: Pending) -> Act:
    act = pending.begin(Click(x=1, y=1))
    assert act is not None
    return act


def test_what_is_under_way_is_asked_for_again(pending: Pending, told: list[Result]) -> None:
    act = begun(pending)
    pending.unlinked()
    assert pending.to_repeat() == (act,)
    assert told == []


def test_what_was_withdrawn_is_never_asked_for_again(pending: Pending, told: list[Result]) -> None:
    """Whether the agent has heard of it or not: the next links are told to cancel it, until one says what became of it.

    It ends when its link does, with a doubt.
    """
    act, kept = begun(pending), begun(pending)
    pending.withdraw(act.id)
    assert told == []
    pending.unlinked()
    (end,) = told
    assert (end.id, end.state, "not known" in end.message) == (act.id, ActionState.CANCELLED, True)
    for _ in range(2):
        assert pending.to_repeat() == (Cancel(id=act.id), kept)
        pending.unlinked()
    pending.ended(Result(id=act.id, state=ActionState.DONE))
    assert pending.to_repeat() == (kept,)


def test_an_end_that_is_heard_of_is_no_doubt(pending: Pending, told: list[Result]) -> None:
    act = begun(pending)
    pending.withdraw(act.id)
    pending.ended(Result(id=act.id, state=ActionState.CANCELLED, message="cancelled"))
    pending.unlinked()
    assert [result.message for result in told] == ["cancelled"]
    assert pending.to_repeat() == ()


def test_what_has_ended_cannot_be_withdrawn(pending: Pending) -> None:
    act = begun(pending)
    pending.ended(Result(id=act.id, state=ActionState.DONE))
    pending.withdraw(act.id)
    assert pending.to_repeat() == ()


def test_a_held_button_ends_with_its_link(pending: Pending, told: list[Result]) -> None:
    assert pending.begin(Press(x=1, y=1)) is not None
    pending.unlinked()
    assert pending.to_repeat() == ()
    assert [result.state for result in told] == [ActionState.CANCELLED]


def test_withdrawals_that_nobody_answers_do_not_pile_up(pending: Pending) -> None:
    for _ in range(MAX_PENDING + 1):
        pending.withdraw(begun(pending).id)
        pending.unlinked()
    assert len(pending.to_repeat()) == MAX_PENDING
