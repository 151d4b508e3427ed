"""The Textual application: one main screen, the palette, and the rule that a driven desk gets every key."""

from __future__ import annotations

from collections.abc import Iterable

from textual import events
from textual.app import App, SystemCommand
from textual.screen import Screen

from .core.commands import COMMANDS, Mode
from .core.session import Session
from .screens.main import MainScreen


class NexusApp(App[None]):
    TITLE = "Nexus TUI"
    ENABLE_COMMAND_PALETTE = True
    COMMAND_PALETTE_BINDING = "ctrl+p"

    def __init__(
        self, session: Session, keys: dict[str, tuple[str, ...]], *, view_only: bool = False, notes: Iterable[str] = ()
    ) -> None:
        super().__init__()
        self._main = MainScreen(session, keys, view_only=view_only)
        self._notes = tuple(notes)

    @property
    def main(self) -> MainScreen:
        """The session's observer."""
        return self._main

    def get_default_screen(self) -> Screen[None]:
        return self._main

    def on_mount(self) -> None:
        for note in self._notes:
            self.notify(note, severity="warning", markup=False, timeout=10)

    async def on_event(self, event: events.Event) -> None:
        """Before anything else looks at a key, the driven desk does: Ctrl+C and Ctrl+Q included."""
        if isinstance(event, events.Key | events.Paste) and self._main.is_mounted and self._main.drive(event):
            return
        await super().on_event(event)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """The palette holds every command of the console, and nothing else."""
        for command in COMMANDS:
            if command.mode is Mode.COMMAND and command.id != "palette":
                yield SystemCommand(command.title, command.help, lambda name=command.id: self._main.command(name))
