"""The console as a person uses it, in Textual's pilot, with a real relay, a real agent and a drawn desk behind it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from nexus_protocol.vocabulary import ActionState, Button, Role
from nexus_tui.console import _own_error
from nexus_tui.core.observer import SessionState
from nexus_tui.screens.dialogs import Choice, Reading
from nexus_tui.screens.main import MainScreen
from nexus_tui.widgets.desk_view import DeskView

from .conftest import World
from .person import answer, console, events_paste


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


async def test_view_only_sends_nothing(world: World) -> None:
    """Neither keys nor clicks; driving is refused with the key that allows it."""
    desk = await world.start_agent()
    async with console(world, view_only=True) as person:
        await person.press("enter")
        assert not person.main.driving
        await person.pilot.click(DeskView, offset=(20, 10))
        for key in ("e", "t", "k"):
            await person.press(key)
            await person.pilot.pause()
            assert person.app.screen is person.main
        await person.until(lambda: person.notes)
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


async def test_what_no_desk_can_do_is_refused_here_and_the_session_lives_on(world: World) -> None:
    """A text past the limit, an empty command, markup in a command: a note, no more."""
    desk = await world.start_agent(policy='[defaults]\nexecute = "allow"')
    async with console(world) as person:
        for text in (" ", "echo [/nope]", "sh -c 'echo [bold]x'"):
            await person.press("e")
            await answer(person, text)
            await person.until(lambda: isinstance(person.app.screen, Reading | MainScreen))
            await person.pilot.pause()
            if person.app.screen is not person.main:
                await person.press("escape")
        await person.press("t")
        await answer(person, "x" * 150_000)
        await person.until(lambda: any("cannot be done" in note for note in person.notes))
        await person.press("t")
        await answer(person, "still here")
        await person.until(lambda: desk.text == "still here")


async def test_resizing_while_the_desk_is_away_is_survived(world: World) -> None:
    """The viewport is asked for when it is back."""
    await world.start_agent()
    async with console(world) as person:
        await world.stop_agent()
        await person.until(lambda: person.status.status.state is SessionState.REACHING)
        for width in (80, 200, 120):
            await person.pilot.resize_terminal(width, 40)
            await person.pilot.pause()
        await world.start_agent()
        await person.until(lambda: person.view._frame is not None)


async def test_a_desk_that_could_not_be_reached_can_be_chosen_again(world: World) -> None:
    """The console waits for it, and is there when it is."""
    await world.start_agent("office")
    await world.start_agent("lab")
    async with console(world) as person:
        await person.press("o")
        await person.until(lambda: isinstance(person.app.screen, Choice))
        await world.stop_agent("lab")
        await person.press("enter")
        await person.until(lambda: "waiting for it" in person.status.status.detail)
        assert person.status.status.desk == "lab"
        lab = await world.start_agent("lab")
        await person.until(lambda: person.view._frame is not None)
        await person.press("enter", "x")
        await person.until(lambda: lab.text == "x")


async def test_a_bug_of_the_consoles_own_is_said_in_one_line(world: World) -> None:
    """Where it is, and nothing of what was in its variables."""
    await world.start_agent()

    async def fail() -> None:
        async with console(world) as person:
            person.main.call_later(lambda: 1 // 0)
            await person.until(lambda: person.app.crash)
            assert person.app._exit_renderables == []

    with pytest.raises(ZeroDivisionError):
        await fail()
    error = _own_error(ZeroDivisionError("secret"))
    assert (error.exit_status, "secret" in str(error), "ZeroDivisionError" in str(error)) == (1, False, True)
