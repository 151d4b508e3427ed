"""Somebody at the console, in Textual's pilot, with a real relay, a real agent and a drawn desk behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from textual.pilot import Pilot
from textual.widgets import Input

from nexus_protocol.vocabulary import ActionState, Role
from nexus_tui.app import NexusApp
from nexus_tui.core.commands import keymap
from nexus_tui.screens.dialogs import Prompt
from nexus_tui.screens.main import MainScreen
from nexus_tui.widgets.action_log import ActionLogView
from nexus_tui.widgets.desk_view import DeskView
from nexus_tui.widgets.request_panel import RequestPanel
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
        return f"{self.requests._body.content}\n{self.requests._foot.content}"

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


def events_paste(text: str):  # type: ignore[no-untyped-def]
    from textual.events import Paste

    return Paste(text)


async def answer(person: Person, text: str) -> None:
    await person.until(lambda: isinstance(person.app.screen, Prompt))
    prompt = person.app.screen
    prompt.query_one(Input).value = text
    await person.press("enter")
    await person.until(lambda: person.app.screen is not prompt)
