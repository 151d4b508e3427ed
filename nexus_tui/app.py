"""The Textual application: one main screen, the palette, and the rule that a driven desk gets every key."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import ClassVar

from textual import events
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingsMap, BindingType
from textual.screen import Screen

from .core.commands import BY_ID, COMMANDS, EVERYWHERE, Mode, show_key
from .core.session import Session
from .screens.main import MainScreen


class NexusApp(App[None], inherit_bindings=False):
    TITLE = "Nexus TUI"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+c", "help_quit", show=False)]

    def __init__(
        self, session: Session, keys: dict[str, tuple[str, ...]], *, view_only: bool = False, notes: Iterable[str] = ()
    ) -> None:
        super().__init__()
        self._main = MainScreen(session, keys, view_only=view_only)
        self._notes = tuple(notes)
        self.crash: Exception | None = None
        """What ended the application, when it was an error of its own."""
        self._run = {"palette": self.action_command_palette, "quit": self.exit}
        # Textual's own two bindings would hide ours: it adds the palette's unless there is one, and we took quit away.
        self._bindings = BindingsMap(self.BINDINGS)
        for name in sorted(EVERYWHERE):
            for key in keys[name]:
                self._bindings.bind(
                    key, f"command('{name}')", BY_ID[name].footer, key_display=show_key(key), priority=True
                )

    @property
    def main(self) -> MainScreen:
        """The session's observer."""
        return self._main

    def get_default_screen(self) -> Screen[None]:
        return self._main

    def on_mount(self) -> None:
        for note in self._notes:
            self.notify(note, severity="warning", markup=False, timeout=10)

    def _handle_exception(self, error: Exception) -> None:
        """A bug of ours: leave, and let whoever started us say so; Textual would print what is in our variables."""
        super()._handle_exception(error)
        self._exit_renderables.clear()
        self.crash = self.crash or error

    async def on_event(self, event: events.Event) -> None:
        """Before anything else looks at a key, the driven desk does: Ctrl+C and Ctrl+Q included."""
        if isinstance(event, events.Key | events.Paste) and self._main.is_mounted and self._main.drive(event):
            return
        await super().on_event(event)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return not (action == "command" and self._main.driving)

    def action_command(self, name: str) -> None:
        self._run[name]()

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """The palette holds every command of the console, and nothing else."""
        for command in COMMANDS:
            if command.mode is Mode.COMMAND and command.id != "palette":
                run = self._run.get(command.id, partial(self._main.command, command.id))
                yield SystemCommand(command.title, command.help, run)
