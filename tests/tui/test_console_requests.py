"""Permission requests as a person meets them at the console."""

from __future__ import annotations

import asyncio
import hashlib

from nexus_protocol.actions import Click, Execute, FileWrite
from nexus_protocol.vocabulary import ActionState, Button, Role
from nexus_tui.widgets.request_panel import DEAD_SECONDS

from .conftest import World
from .person import console


async def test_a_request_shows_who_what_and_where_and_runs_when_approved(world: World) -> None:
    """Its place pulses while it waits; a decision key that comes too soon decides nothing."""
    desk = await world.start_agent()
    robot, _ = await world.enter(Role.AUTOMATION, "robot")
    async with console(world) as person:
        await person.press("a")
        waiting = asyncio.create_task(robot.perform(Click(x=640, y=300)))
        await person.until(lambda: len(person.requests))
        shown_at = person.requests._shown_at
        person.requests._clock = lambda: shown_at + DEAD_SECONDS - 0.01
        await person.press("a")
        assert any("just changed" in note for note in person.notes)
        assert desk.clicks == []
        for part in ("robot", "automation", "click", "640,300", "default for automation", "s left"):
            assert part in person.card
        await person.until(lambda: person.view._marks)
        person.requests._clock = lambda: shown_at + DEAD_SECONDS + 0.01
        await person.press("a")
        assert (await waiting).state is ActionState.DONE
        assert desk.clicks == [(640, 300, Button.LEFT)]
        await person.until(lambda: person.lines[-1:] == [("click left at 640,300", ActionState.DONE)])
        await person.until(lambda: not len(person.requests))


async def test_a_denied_request_never_runs_and_the_next_one_is_shown(world: World) -> None:
    """One key each; the queue goes on."""
    desk = await world.start_agent()
    robot, _ = await world.enter(Role.AUTOMATION, "robot")
    async with console(world) as person:
        first = asyncio.create_task(robot.perform(Execute(argv=("rm", "-rf", "/tmp/\x1b[2Jx"))))
        await person.until(lambda: len(person.requests) == 1)
        second = asyncio.create_task(robot.perform(Click(x=1, y=1)))
        await person.until(lambda: len(person.requests) == 2)
        assert "/tmp/␛[2Jx" in person.card
        person.requests._clock = lambda: person.requests._shown_at + 1
        await person.press("x")
        assert (await first).state is ActionState.DENIED
        await person.until(lambda: "left at 1,1" in person.card)
        await person.press("x")
        assert (await second).state is ActionState.DENIED
    assert desk.clicks == []


async def test_a_request_never_takes_the_focus(world: World) -> None:
    """Whoever is typing goes on typing; the driven desk gets the `a`."""
    desk = await world.start_agent()
    robot, _ = await world.enter(Role.AUTOMATION, "robot")
    async with console(world) as person:
        await person.press("enter")
        waiting = asyncio.create_task(robot.perform(Click(x=640, y=300)))
        await person.until(lambda: len(person.requests))
        await person.press("a")
        await person.until(lambda: desk.text == "a")
        assert len(person.requests) == 1
        robot.cancel_all()
        assert (await waiting).state is ActionState.CANCELLED


async def test_a_request_brings_the_panes_back_and_what_cannot_be_seen_cannot_be_approved(world: World) -> None:
    """With the picture alone on the screen, or in a terminal too small for the panes."""
    desk = await world.start_agent()
    robot, _ = await world.enter(Role.AUTOMATION, "robot")
    async with console(world) as person:
        await person.press("f")
        assert not person.main.query_one("#side").display
        waiting = asyncio.create_task(robot.perform(Click(x=1, y=1)))
        await person.until(lambda: person.main.query_one("#side").display)
        await person.pilot.resize_terminal(40, 12)
        await person.until(lambda: not person.main.query_one("#side").display)
        person.requests._clock = lambda: person.requests._shown_at + 1
        await person.press("a")
        await person.until(lambda: any("larger" in note for note in person.notes))
        assert desk.clicks == []
        await person.pilot.resize_terminal(140, 45)
        await person.until(lambda: person.main.query_one("#side").display)
        await person.press("a")
        assert (await waiting).state is ActionState.DONE


async def test_a_large_request_leaves_the_console_quick_and_names_what_it_leaves_out(world: World) -> None:
    """Start, end, size and SHA-256 are shown; the keys still answer."""
    await world.start_agent()
    robot, _ = await world.enter(Role.AUTOMATION, "robot")
    async with console(world) as person:
        data = b"first line\n" + b"x" * 4_000_000 + b"\nlast line"
        waiting = asyncio.create_task(robot.perform(FileWrite(path="/tmp/large", data=data)))
        await person.until(lambda: len(person.requests))
        for part in ("first line", "last line", "4,000,021 bytes", "are not shown", hashlib.sha256(data).hexdigest()):
            assert part in person.card
        person.requests._clock = lambda: person.requests._shown_at + 1
        await person.press("x")
        assert (await waiting).state is ActionState.DENIED


async def test_a_long_request_can_be_read_to_its_end(world: World) -> None:
    """All of the payload is there, and Page Down goes through it without taking the focus."""
    await world.start_agent()
    robot, _ = await world.enter(Role.AUTOMATION, "robot")
    async with console(world) as person:
        content = "\n".join(f"line {n}" for n in range(200)).encode() + b"\nrm -rf /"
        waiting = asyncio.create_task(robot.perform(FileWrite(path="/tmp/long", data=content)))
        await person.until(lambda: len(person.requests))
        assert "rm -rf /" in person.card
        await person.until(lambda: person.requests.max_scroll_y > 0)
        for _ in range(20):
            await person.press("pagedown")
        await person.until(lambda: person.requests.scroll_y == person.requests.max_scroll_y)
        assert person.main.focused is person.view
        robot.cancel_all()
        assert (await waiting).state is ActionState.CANCELLED
