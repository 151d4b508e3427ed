"""The console's main screen: the desk, and what each command of core.commands does there.

Keys, footer, palette and help all come from that one table.
"""

from __future__ import annotations

import asyncio
import shlex
import time
from collections.abc import Callable
from pathlib import Path

from rich.text import Text
from textual import on, work

from nexus_protocol.actions import Action, Execute, Key, Screenshot, Type
from nexus_protocol.errors import NexusError
from nexus_protocol.keys import parse_chord
from nexus_protocol.messages import Result
from nexus_protocol.vocabulary import ActionState

from ..core.commands import BY_ID, COMMANDS, EVERYWHERE, Mode, show_key
from ..core.observer import SessionState
from ..core.session import Session
from ..core.text import visible, visible_lines
from .desk import DeskScreen
from .dialogs import Choice, Prompt, Question, Reading


class MainScreen(DeskScreen):
    def __init__(self, session: Session, keys: dict[str, tuple[str, ...]], *, view_only: bool) -> None:
        super().__init__(session, keys, view_only=view_only)
        for command in COMMANDS:
            for key in keys[command.id] if command.id not in EVERYWHERE else ():
                self._bindings.bind(
                    key, f"command('{command.id}')", command.footer or command.title,
                    show=bool(command.footer) and key == keys[command.id][0],
                    key_display=show_key(key),
                )  # fmt: skip

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """In drive mode only what leaves it is offered, so that the footer never lies about a key."""
        if action != "command":
            return True
        command = BY_ID[str(parameters[0])]
        if self._mode is not command.mode:
            return False
        return not (command.id in ("approve", "deny") and len(self._requests) == 0)

    def action_command(self, name: str) -> None:
        self.command(name)

    def command(self, name: str) -> None:
        """Run a command of core.commands by its id."""
        run: Callable[[], object] = getattr(self, f"_do_{name}")
        try:
            run()
        except NexusError as error:
            self._say(str(error), "error")

    def _do_drive(self) -> None:
        if not self._only_viewing():
            self._enter(Mode.DRIVE)

    def _do_leave_drive(self) -> None:
        self._enter(Mode.COMMAND)

    def _do_approve(self) -> None:
        self._decide(approve=True)

    def _do_deny(self) -> None:
        self._decide(approve=False)

    def _decide(self, *, approve: bool) -> None:
        if self.has_class("-bare"):
            self._say("a request is waiting; make this terminal larger to see it, and decide then", "warning")
        elif (request := self._requests.decidable()) is not None:
            self._session.decide(request, approve)
        elif len(self._requests):
            self._say("the request shown has just changed: look at it, then press the key again", "warning")

    def _do_next_request(self) -> None:
        self._requests.next()

    def _do_request_down(self) -> None:
        self._requests.scroll_page_down(animate=False)

    def _do_request_up(self) -> None:
        self._requests.scroll_page_up(animate=False)

    def _do_cancel(self) -> None:
        if not self._session.cancel_all():
            self._say("nothing that you asked for is under way")

    @work
    async def _do_type_text(self) -> None:
        if self._only_viewing():
            return
        text = await self.app.push_screen_wait(Prompt("Type text on the desk", "All Unicode is typed as it stands."))
        if text:
            self._act(Type(text=text))

    @work
    async def _do_send_keys(self) -> None:
        if self._only_viewing():
            return
        chord = await self.app.push_screen_wait(Prompt("Send keys to the desk", "For example ctrl+alt+delete, super."))
        if chord:
            try:
                self._act(Key(chord=str(parse_chord(chord.strip()))))
            except NexusError as error:
                self._say(str(error), "error")

    @work
    async def _do_execute(self) -> None:
        if self._only_viewing():
            return
        line = await self.app.push_screen_wait(
            Prompt("Run a command on the desk", "No shell: program, then arguments.")
        )
        if not line or not line.strip():
            return
        try:
            argv = tuple(shlex.split(line))
        except ValueError as error:
            self._say(f"that command cannot be read: {error}", "error")
            return
        result = await self._perform(Execute(argv=argv))
        if result is not None and (result.data or result.stderr):
            text = visible_lines((result.data + result.stderr).decode("utf-8", "replace"))
            if self._mode is Mode.DRIVE or not self.is_current:  # a dialog now would take keys meant for something else
                self._say(f"{visible(line)} printed {len(text):,} characters: {text[:200]}")
            else:
                await self.app.push_screen_wait(Reading(visible(line), Text(text)))

    @work
    async def _do_screenshot(self) -> None:
        result = await self._perform(Screenshot())
        if result is None:
            return
        path = Path.cwd() / time.strftime(f"{self._session.desk}-%Y%m%d-%H%M%S.png")
        try:
            await asyncio.to_thread(path.write_bytes, result.data)
        except OSError as error:
            self._say(f"cannot write {path}: {error.strerror}", "error")
        else:
            self._say(f"saved {path}")

    def _do_view_only(self) -> None:
        self._view_only = not self._view_only
        if self._view_only and self._mode is Mode.DRIVE:
            self._enter(Mode.COMMAND)
        self._set_status(view_only=self._view_only)

    def _do_side(self) -> None:
        self._bare = not self._bare
        self._lay_out(*self.size)

    def _do_log(self) -> None:
        self._log.focus()

    @work(exclusive=True, group="desks")
    async def _do_desks(self) -> None:
        if not (desks := self._session.desks):
            if not self._session.desk:
                self._view.clear("No desk is there", "Start nexus-agent on one: it appears here.")
            else:
                self._say("no desk is there now, or the relay is not reached")
            return
        desk = await self.app.push_screen_wait(Choice("Which desk?", desks))
        if desk is None or (desk == self._session.desk and self._status.status.state is SessionState.LIVE):
            return
        self._requests.clear()
        self._set_status(desk=desk)
        self._view.clear(f"Opening {desk}…")
        await self._session.switch(desk)

    def _do_help(self) -> None:
        text = Text()
        for command in COMMANDS:
            keys = ", ".join(show_key(key) for key in self._keys[command.id]) or "palette"
            text.append(f"{keys:>14}  ", "bold #ffd700").append(f"{command.title}\n", "bold")
            text.append(f"{'':>14}  {command.help}\n", "#8a8a94")
        text.append("\nThe mouse acts on the picture: click, drag and wheel reach the desk at that very place.")
        self.app.push_screen(Reading("Nexus TUI: keys and commands", text))

    @on(DeskScreen.Stranger)
    @work(exclusive=True, group="desks")
    async def _ask_to_trust(self, stranger: DeskScreen.Stranger) -> None:
        unknown = stranger.unknown
        text = Text.assemble(
            ("It is not known here yet. The key it shows is\n\n", ""), (f"{unknown.fingerprint}\n", "bold #ffd700"),
            (f"{unknown.fingerprint.words}\n\n", "bold #ffd700"),
            ("Compare it with what `nexus-agent fingerprint` prints at the desk.", "#8a8a94"),
        )  # fmt: skip
        self._enter(Mode.COMMAND)  # whoever goes on typing does not answer
        if await self.app.push_screen_wait(Question(f"Trust {unknown.desk} from now on?", text)):
            try:
                self._session.trust(unknown, by="asked")
            except NexusError as error:
                self._say(str(error), "error")
            else:
                await self._session.switch(unknown.desk)

    @on(DeskScreen.DeskWanted)
    def _choose_desk(self) -> None:
        self.command("desks")

    async def _perform(self, action: Action) -> Result | None:
        """Act and wait; None, with the reason shown, when it did not come to a good end."""
        try:
            result = await self._session.perform(action)
        except NexusError as error:
            self._say(str(error), "error")
            return None
        return result if result.state is ActionState.DONE else None
