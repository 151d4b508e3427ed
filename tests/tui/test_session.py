"""The console's session with a real relay and a real agent: actions, requests, pictures, and coming back."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from nexus_protocol.actions import Click, Execute, Move, Press, Screenshot, Type
from nexus_protocol.errors import Unauthorized, Unreachable
from nexus_protocol.messages import Viewport
from nexus_protocol.settings import RelayToken
from nexus_protocol.vocabulary import ActionState, Button, RequestState, Role
from nexus_tui.core.observer import SessionState
from nexus_tui.core.session import Session

from .conftest import DEADLINE, Witness, World


async def test_an_action_is_done_and_reported_to_everyone(world: World) -> None:
    """Whoever watches the desk hears what anybody does there."""
    desk = await world.start_agent()
    alice, _ = await world.enter()
    _, viewer = await world.enter(Role.VIEWER, "vera")
    result = await alice.perform(Click(x=100, y=100))
    assert result.state is ActionState.DONE
    assert desk.clicks == [(100, 100, Button.LEFT)]
    await viewer.until(lambda: viewer.reports)
    report = viewer.reports[-1]
    assert (report.who, report.kind, report.place, report.state) == ("alice", "click", (100, 100), ActionState.DONE)


async def test_a_request_waits_and_runs_once_when_approved(world: World) -> None:
    """The first decision counts; a second one changes nothing."""
    desk = await world.start_agent()
    robot, _ = await world.enter(Role.AUTOMATION, "robot")
    alice, told = await world.enter()
    waiting = asyncio.create_task(robot.perform(Click(x=10, y=20)))
    await told.until(lambda: told.requests)
    assert desk.clicks == []
    alice.decide(told.requests[0], approve=True)
    alice.decide(told.requests[0], approve=False)
    assert (await waiting).state is ActionState.DONE
    assert desk.clicks == [(10, 20, Button.LEFT)]
    await told.until(lambda: told.closed)
    assert [(closed.state, closed.by) for closed in told.closed] == [(RequestState.APPROVED, "alice")]


async def test_a_denied_request_never_runs(world: World) -> None:
    """And the requester learns why."""
    desk = await world.start_agent()
    robot, _ = await world.enter(Role.AUTOMATION, "robot")
    alice, told = await world.enter()
    waiting = asyncio.create_task(robot.perform(Type(text="hello")))
    await told.until(lambda: told.requests)
    alice.decide(told.requests[0], approve=False, reason="not now")
    result = await waiting
    assert (result.state, "not now" in result.message) == (ActionState.DENIED, True)
    assert desk.text == ""


async def test_pictures_arrive_in_the_size_asked_for_with_their_age(world: World) -> None:
    """The viewport is asked for before the stream stands, and changed while it does."""
    await world.start_agent()
    alice, seen = await world.enter(watch=True)
    alice.look(Viewport(width=160, height=100), (80, 50))
    await seen.until(lambda: any(p.pixels.shape == (50, 80, 3) for p in seen.pictures))
    alice.look(Viewport(width=80, height=50), (40, 24))
    await seen.until(lambda: any(p.pixels.shape == (24, 40, 3) for p in seen.pictures))
    await alice.perform(Click(x=5, y=5))
    await seen.until(lambda: alice.clock.age(seen.pictures[-1].rtp, 0) is not None)


async def test_it_comes_back_when_the_relay_does_and_repeats_no_action(world: World) -> None:
    """What was under way gets its result over the new link, and has run once."""
    desk = await world.start_agent(policy='timeout = "1h"')
    robot, _ = await world.enter(Role.AUTOMATION, "robot")
    alice, told = await world.enter()
    waiting = asyncio.create_task(robot.perform(Click(x=10, y=20)))
    await told.until(lambda: told.requests)
    await world.stop_relay()
    await told.until(lambda: told.states[-1][0] is SessionState.REACHING)
    with pytest.raises(Unreachable, match="nothing was sent"):
        alice.act(Click(x=1, y=1))
    await world.start_relay()
    await told.until(lambda: told.states[-1][0] is SessionState.LIVE)
    await told.until(lambda: len(told.requests) == 2)
    alice.decide(told.requests[-1], approve=True)
    assert (await waiting).state is ActionState.DONE
    assert desk.clicks == [(10, 20, Button.LEFT)]


async def test_what_was_cancelled_while_nothing_was_reached_is_not_asked_for_again(world: World) -> None:
    """It ends at once, with a doubt; back again, the console only has it withdrawn. So it is for who waited for it."""
    desk = await world.start_agent(policy='timeout = "1h"')
    robot, heard = await world.enter(Role.AUTOMATION, "robot")
    _, told = await world.enter()
    waiting = asyncio.create_task(robot.perform(Click(x=10, y=20)))
    given_up = asyncio.create_task(robot.perform(Click(x=30, y=40)))
    await told.until(lambda: len(told.requests) == 2)
    await world.stop_relay()
    await heard.until(lambda: heard.states[-1][0] is SessionState.REACHING)
    given_up.cancel()
    await asyncio.gather(given_up, return_exceptions=True)
    robot.cancel_all()
    result = await waiting
    assert (result.state, "whether it was done is not known" in result.message) == (ActionState.CANCELLED, True)
    assert [ended.state for ended in heard.results.values()] == [ActionState.CANCELLED] * 2
    await world.start_relay()
    await heard.until(lambda: heard.states[-1][0] is SessionState.LIVE)
    await robot.perform(Screenshot())  # comes after what is said first on a new link
    bob, late = await world.enter(Role.OPERATOR, "bob")
    await bob.perform(Screenshot())
    assert (late.requests, desk.clicks) == ([], [])


async def test_what_the_relay_ended_for_good_stays_ended_with_its_reason(world: World) -> None:
    """Whatever is tried afterwards: another desk, opening again, or serving the link that was open before."""
    await world.start_agent()
    alice, told = await world.enter()
    late, witness = world.session(Role.OPERATOR, "bob"), Witness()
    late.observer = witness
    async with late.dialled():
        await late.open("office")
        for name in ("alice", "bob"):
            world.issuer.revoke_subject(name)
        await told.until(lambda: told.states[-1][0] is SessionState.ENDED)
        await witness.until(lambda: witness.states[-1][0] is SessionState.ENDED)
        before = len(witness.states)
        late.start()
        await witness.until(lambda: len(witness.states) > before and witness.states[-1][0] is SessionState.ENDED)
        assert "revoked" in witness.states[-1][1]
    before = len(told.states)
    await alice.switch("lab")
    await told.until(lambda: len(told.states) > before and told.states[-1][0] is SessionState.ENDED)
    assert "revoked" in told.states[-1][1]
    with pytest.raises(Unauthorized, match="revoked"):
        await alice.open("office")


async def test_it_waits_for_a_desk_that_has_gone_and_comes_back(world: World) -> None:
    """The agent restarts; the console says whom it waits for, and is there again by itself."""
    await world.start_agent()
    alice, told = await world.enter()
    await world.stop_agent()
    await told.until(lambda: any("waiting for it" in detail for _, detail in told.states))
    desk = await world.start_agent()
    await told.until(lambda: told.states[-1][0] is SessionState.LIVE)
    await alice.perform(Click(x=3, y=4))
    assert desk.clicks == [(3, 4, Button.LEFT)]


async def test_a_held_button_is_let_go_when_the_link_ends(world: World) -> None:
    """Nobody is left to release it."""
    desk = await world.start_agent()
    alice, _ = await world.enter()
    await alice.perform(Press(x=50, y=60))
    pressed = desk.capture.held  # type: ignore[attr-defined]
    assert pressed == [Button.LEFT]
    changed = asyncio.Event()
    desk.capture.watch(changed.set)
    await world.stop_relay()
    async with asyncio.timeout(DEADLINE):
        while desk.capture.held:  # type: ignore[attr-defined]
            changed.clear()
            await changed.wait()
            desk.capture.grab()


async def test_moves_are_merged_to_the_newest(world: World) -> None:
    """A hundred moves at once become two: the first, and the last."""
    desk = await world.start_agent()
    alice, told = await world.enter()
    for x in range(100):
        alice.act(Move(x=x, y=7))
    await told.until(lambda: len(told.results) == 2)
    assert desk.pointer == (99, 7)


async def test_going_to_another_desk_leaves_the_first(world: World) -> None:
    """One console, one desk at a time."""
    first = await world.start_agent("office")
    second = await world.start_agent("lab")
    alice, _ = await world.enter()
    await alice.open("lab")
    alice.start()
    await alice.perform(Click(x=1, y=2))
    assert (first.clicks, second.clicks) == ([], [(1, 2, Button.LEFT)])


async def test_what_cannot_be_reached_is_said_at_once(world: World) -> None:
    """A desk that is not there, and a token that is none."""
    await world.start_agent()
    session = world.session()
    async with session.dialled():
        with pytest.raises(Unreachable, match="did you mean office"):
            await session.open("offise")
    with pytest.raises(Unauthorized):
        async with Session(replace(world.membership(), token=RelayToken("nonsense"))).dialled():
            pass


async def test_results_carry_what_was_asked_for(world: World) -> None:
    """A PNG larger than a fragment, and a command's output with its exit status."""
    await world.start_agent(policy='[defaults]\nexecute = "allow"')
    alice, _ = await world.enter()
    picture = await alice.perform(Screenshot())
    assert picture.data.startswith(b"\x89PNG")
    run = await alice.perform(Execute(argv=("sh", "-c", "echo out; echo err >&2; exit 3")))
    assert (run.data, run.stderr, run.exit_code) == (b"out\n", b"err\n", 3)
