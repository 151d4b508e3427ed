"""The console as a person uses it, in Textual's pilot, with a real relay, a real agent and a drawn desk behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from nexus_protocol.actions import Click, Execute, FileWrite
from nexus_protocol.vocabulary import ActionState, Button, Role
from nexus_tui.app import NexusApp
from nexus_tui.core.commands import keymap
from nexus_tui.core.observer import SessionState
from nexus_tui.screens.dialogs import Choice, Prompt, Reading
from nexus_tui.screens.main import MainScreen
from nexus_tui.widgets.action_log import ActionLogView
from nexus_tui.widgets.desk_view import DeskView
from nexus_tui.widgets.request_panel import DEAD_SECONDS, RequestPanel
from nexus_tui.widgets.status_line import StatusLine

from .conftest import DEADLINE, World


class Person:
    """Who sits at the console: sees the widgets, presses keys."""

    def __init__(self, app: NexusApp, pilot: Pilot[None]) -> None:
        self.app, self.pilot = app, pilot
        self.main: MainScreen = app.main
        self.view = app.main.query_one(DeskView)
        self.status = app.main.query_one(StatusLine)
        self.requests = app.main.query_one(RequestPanel)
        self.log = app.main.query_one(ActionLogView)

    async def until(self, seen: Callable[[], object]) -> None:
        """Let the application work until something is there to see."""
        async with asyncio.timeout(DEADLINE):
            while not seen():
                await self.pilot.pause(0.01)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    @property
    def lines(self) -> list[tuple[str, ActionState]]:
        """The action log: what, and how it stands."""
        return [(entry.what, entry.report.state) for entry in self.log._lines]

    @property
    def notes(self) -> list[str]:
        return [str(note.message) for note in self.app._notifications]

    @property
    def card(self) -> str:
        """The request that is shown."""
        return str(self.requests._body.content)

    @property
    def footer(self) -> list[str]:
        return [b.binding.description for b in self.app.screen.active_bindings.values() if b.binding.show and b.enabled]


@asynccontextmanager
async def console(
    world: World, *, role: Role = Role.OPERATOR, desk: str | None = "office", view_only: bool = False,
    size: tuple[int, int] = (140, 45), keys: dict[str, object] | None = None,
) -> AsyncIterator[Person]:  # fmt: skip
    session = world.session(role, "alice", watch=True)
    async with session.dialled():
        if desk is not None:
            await session.open(desk)
        app = NexusApp(session, keymap(keys or {})[0], view_only=view_only)
        session.observer = app.main
        async with app.run_test(size=size) as pilot:
            person = Person(app, pilot)
            if desk is not None:
                await person.until(lambda: person.view._frame is not None)
            yield person


async def test_the_desk_is_seen_with_the_connection_and_who_one_is(world: World) -> None:
    """Picture, desk, role, transport, fps, round trip and age."""
    await world.start_agent()
    async with console(world) as person:
        await person.until(lambda: person.status.status.round_trip is not None and person.status.status.age is not None)
        status = person.status.status
        assert (status.desk, status.state, status.role, status.subject) == (
            "office",
            SessionState.LIVE,
            "operator",
            "alice",
        )
        assert status.transport.startswith("udp")
        shown = person.status.render().plain
        for part in ("office", "live", "operator alice", "udp", "fps", "rtt", "age"):
            assert part in shown


async def test_in_drive_mode_every_key_goes_to_the_desk_but_the_one_that_leaves(world: World) -> None:
    """Ctrl+C and Ctrl+Q included; the footer says what leaves, and nothing else."""
    desk = await world.start_agent()
    async with console(world) as person:
        await person.press("enter")
        assert person.footer == ["Leave drive mode"]
        await person.pilot.click(DeskView, offset=(20, 10))
        await person.press("a", "ctrl+q", "question_mark", "ctrl+c", "a", "ctrl+p")
        await person.until(lambda: [what for what, _ in person.lines][-1:] == ["key ctrl+p"])
        assert [what for what, _ in person.lines][1:] == [
            "type 1 character", "key ctrl+q", "type 1 character", "key ctrl+c", "type 1 character", "key ctrl+p",
        ]  # fmt: skip
        assert person.app.is_running
        assert person.app.screen is person.main
        await person.press("ctrl+right_square_bracket")
        assert not person.main.driving
        assert "Drive" in person.footer
    assert desk.clicks


async def test_typed_and_pasted_text_reaches_the_desk(world: World) -> None:
    """Each key at once, a paste as one text."""
    desk = await world.start_agent()
    async with console(world) as person:
        await person.press("enter", *"héllo", "space")
        person.app.post_message(events_paste("wörld €\nsecond line"))
        await person.until(lambda: desk.text.endswith("second line"))
        assert desk.text == "héllo wörld €\nsecond line"


def events_paste(text: str):  # type: ignore[no-untyped-def]
    from textual.events import Paste

    return Paste(text)


async def test_a_paste_that_is_too_long_types_nothing_and_says_so(world: World) -> None:
    """A megabyte is refused whole, not cut."""
    desk = await world.start_agent()
    async with console(world) as person:
        await person.press("enter")
        person.app.post_message(events_paste("x" * 1_000_000))
        await person.until(lambda: any("1,000,000 characters pasted" in note for note in person.notes))
        assert desk.text == ""


async def test_a_click_on_the_picture_reaches_that_pixel_of_the_desk(world: World) -> None:
    """To the centre of the cell that was clicked; it flashes there, and is in the log."""
    desk = await world.start_agent()
    async with console(world) as person:
        placement = person.view.placement
        assert placement is not None
        cell = (placement.column + 10, placement.row + 5)
        await person.pilot.click(DeskView, offset=cell)
        await person.until(lambda: any(state is ActionState.DONE for _, state in person.lines))
        assert desk.clicks == [(*(placement.desk_pixel(*cell) or ()), Button.LEFT)]
        x, y, _ = desk.clicks[0]
        assert person.lines == [(f"click left at {x},{y}", ActionState.DONE)]


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
        robot.cancel(next(iter(robot._pending)))
        assert (await waiting).state is ActionState.CANCELLED


async def test_view_only_sends_nothing(world: World) -> None:
    """Neither keys nor clicks; driving is refused with the key that allows it."""
    desk = await world.start_agent()
    async with console(world, view_only=True) as person:
        await person.press("enter")
        assert not person.main.driving
        await person.pilot.click(DeskView, offset=(20, 10))
        await person.until(lambda: len(person.notes) >= 2)
        assert desk.clicks == []
        assert "VIEW ONLY" in person.status.render().plain
        await person.press("v", "enter")
        assert person.main.driving


async def test_a_viewer_sees_and_is_told_why_nothing_else_works(world: World) -> None:
    """The agent refuses; the console shows its reason."""
    desk = await world.start_agent()
    async with console(world, role=Role.VIEWER) as person:
        await person.press("enter", "x")
        await person.until(lambda: any("denied" in note for note in person.notes))
        assert desk.text == ""


async def test_prompts_type_text_send_keys_and_run_commands(world: World) -> None:
    """From dialogs, for what the keyboard cannot send."""
    desk = await world.start_agent(policy='[defaults]\nexecute = "allow"')
    async with console(world) as person:
        await person.press("t")
        await answer(person, "typed")
        await person.until(lambda: desk.text == "typed")
        await person.press("k")
        await answer(person, "ctrl+altt+delete")
        await person.until(lambda: any("'altt'" in note for note in person.notes))
        await person.press("k")
        await answer(person, "backspace")
        await person.until(lambda: desk.text == "type")
        await person.press("e")
        await answer(person, "printf 'one\\033two'")
        await person.until(lambda: isinstance(person.app.screen, Reading))
        assert isinstance(person.app.screen, Reading)
        assert "one␛two" in person.app.screen._text.plain
        await person.press("escape")


async def answer(person: Person, text: str) -> None:
    await person.until(lambda: isinstance(person.app.screen, Prompt))
    prompt = person.app.screen
    prompt.query_one(Input).value = text
    await person.press("enter")
    await person.until(lambda: person.app.screen is not prompt)


async def test_a_screenshot_is_saved_where_one_is(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At full resolution, and its name is said."""
    await world.start_agent()
    monkeypatch.chdir(tmp_path)
    async with console(world) as person:
        await person.press("s")
        await person.until(lambda: any("saved" in note for note in person.notes))
        (note,) = (note for note in person.notes if "saved" in note)
    assert str(tmp_path / "office-") in note
    assert await asyncio.to_thread(Path(note.removeprefix("saved ")).read_bytes) != b""


async def test_several_desks_open_a_choice(world: World) -> None:
    """And the chosen one is opened."""
    await world.start_agent("office")
    second = await world.start_agent("lab")
    async with console(world, desk=None) as person:
        await person.until(lambda: isinstance(person.app.screen, Choice))
        await person.press("enter")
        await person.until(lambda: person.status.status.desk == "lab")
        await person.until(lambda: person.view._frame is not None)
        await person.press("enter", "x")
        await person.until(lambda: second.text == "x")


async def test_the_relay_goes_and_comes_back_and_the_console_says_so(world: World) -> None:
    """Not connected, trying again, live: by itself."""
    desk = await world.start_agent()
    async with console(world) as person:
        await world.stop_relay()
        await person.until(lambda: person.status.status.state is SessionState.REACHING)
        await person.until(lambda: person.view.placeholder == "Reaching the desk…")
        await person.press("t")
        await answer(person, "lost")
        await person.until(lambda: any("nothing was sent" in note for note in person.notes))
        await world.start_relay()
        await person.until(lambda: person.status.status.state is SessionState.LIVE)
        await person.until(lambda: person.view._frame is not None)
        await person.press("t")
        await answer(person, "back")
        await person.until(lambda: desk.text == "back")


@pytest.mark.parametrize("size", [(20, 5), (1, 1), (300, 100)])
async def test_any_size_of_terminal_is_survived(world: World, size: tuple[int, int]) -> None:
    """The picture, or nothing; and all of it again when there is room."""
    await world.start_agent()
    async with console(world) as person:
        await person.pilot.resize_terminal(*size)
        await person.pilot.pause()
        await person.pilot.resize_terminal(140, 45)
        await person.until(lambda: person.view.placement is not None)
        assert person.main.query_one("#side").display


async def test_a_broken_policy_is_seen_at_once(world: World) -> None:
    """On the status line, for as long as it lasts."""
    await world.start_agent(policy="[defaults\n")
    async with console(world) as person:
        await person.pilot.resize_terminal(220, 45)
        await person.until(lambda: "policy cannot be used" in person.status.render().plain)


async def test_the_palette_holds_every_command_and_quits_from_anywhere(world: World) -> None:
    """Ctrl+P, and Ctrl+Q with a dialog open."""
    await world.start_agent()
    async with console(world, keys={"drive": "f2"}) as person:
        names = {command.title for command in person.app.get_system_commands(person.app.screen)}
        assert {"Drive the desk", "Save a screenshot", "Quit", "Help"} <= names
        await person.press("ctrl+p")
        await person.until(lambda: person.app.screen is not person.main)
        await person.press("escape", "question_mark")
        await person.until(lambda: isinstance(person.app.screen, Reading))
        assert isinstance(person.app.screen, Reading)
        assert "F2  Drive the desk" in person.app.screen._text.plain
        await person.press("ctrl+q")
        await person.until(lambda: person.app._exit)


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
        robot.cancel(next(iter(robot._pending)))
        assert (await waiting).state is ActionState.CANCELLED
