"""The console's one main screen: the live desk, the requests, the log; and what each command does.

It is the observer of the session: what the session tells ends here, in the widgets; what the person does goes from
here to the session. Keys, footer, palette and help all come from core.commands.
"""

from __future__ import annotations

import asyncio
import shlex
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import Screen
from textual.widgets import Footer

from nexus_protocol.actions import MAX_TEXT, Action, Execute, Key, Screenshot, Type, kind_of, place_of
from nexus_protocol.errors import NexusError
from nexus_protocol.keys import parse_chord
from nexus_protocol.messages import ActionReport, RequestClosed, RequestOpened, Result, Viewport, Welcome
from nexus_protocol.vocabulary import ActionState, Effect, Permission
from nexus_tui.core.commands import BY_ID, COMMANDS, EVERYWHERE, Mode, show_key

from ..core.keys import action_for_key
from ..core.model import ActionLog
from ..core.observer import SessionState
from ..core.pointer import Gestures
from ..core.session import Session
from ..core.stream import Picture
from ..core.text import visible, visible_lines
from ..widgets.action_log import ActionLogView
from ..widgets.desk_view import DeskView
from ..widgets.request_panel import STATE_WORDS, RequestPanel
from ..widgets.status_line import StatusLine
from .dialogs import Choice, Prompt, Reading
from .news import News, told, told_newest

WIDE = 100
"""Columns from which the panes stand beside the picture instead of below it."""
SMALL = (60, 16)
"""Columns and rows below which the picture gets everything."""
MAX_FPS = 60
SAY_AGAIN = 3.0


class MainScreen(Screen[None]):
    DEFAULT_CSS = """
    MainScreen { background: #101014; }
    #body { height: 1fr; }
    #side { width: 46; background: #16161e; }
    MainScreen.-narrow #body { layout: vertical; }
    MainScreen.-narrow #side { width: 100%; height: 11; layout: horizontal; }
    MainScreen.-narrow #side > * { width: 1fr; height: 100%; max-height: 100%; }
    MainScreen.-bare #side { display: none; }
    MainScreen.-tiny Footer { display: none; }
    Footer { background: #1c1c26; }
    """
    BINDINGS: ClassVar[list[BindingType]] = []

    def __init__(self, session: Session, keys: dict[str, tuple[str, ...]], *, view_only: bool) -> None:
        super().__init__()
        self._session = session
        self._keys = keys
        self._view_only = view_only
        self._mode = Mode.COMMAND
        self._bare = False
        self._gestures = Gestures()
        self._frames: deque[float] = deque(maxlen=2 * MAX_FPS)
        self._age: float | None = None
        self._said = "", 0.0
        self._view = DeskView(id="desk")
        self._status = StatusLine()
        approve, deny = (show_key(next(iter(keys[name]), "?")) for name in ("approve", "deny"))
        self._requests = RequestPanel(keys=f"{approve}: approve   {deny}: deny")
        self._log = ActionLogView(ActionLog(), id="log")
        for command in COMMANDS:
            for key in keys[command.id] if command.id not in EVERYWHERE else ():
                self._bindings.bind(
                    key, f"command('{command.id}')", command.footer or command.title,
                    show=bool(command.footer) and key == keys[command.id][0],
                    key_display=show_key(key),
                )  # fmt: skip

    def compose(self) -> ComposeResult:
        yield self._status
        with Horizontal(id="body"):
            yield self._view
            with Vertical(id="side"):
                yield self._requests
                yield self._log
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        self._view.focus()
        self._view.placeholder = "Waiting for the picture…"
        self.set_interval(0.5, self._refresh_status)
        if self._session.desk:
            self._begin()
        else:
            self.command("desks")

    def on_resize(self, event: events.Resize) -> None:
        self.set_class(event.size.width < WIDE, "-narrow")
        tiny = event.size.width < SMALL[0] or event.size.height < SMALL[1]
        self.set_class(tiny, "-tiny")
        self.set_class(tiny or self._bare, "-bare")

    def _begin(self) -> None:
        """The session has a desk: show what is known of it, and start to listen."""
        if self._session.welcome is not None:
            self.on_welcome(self._session.welcome)
        self.on_state(SessionState.LIVE, "")
        self._session.start()

    # -- commands -------------------------------------------------------------------------------------------

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
        if self._view_only:
            self._say(f"view only is on; {show_key(self._keys['view_only'][0])} turns it off", "warning")
            return
        self._enter(Mode.DRIVE)

    def _do_leave_drive(self) -> None:
        self._enter(Mode.COMMAND)

    def _enter(self, mode: Mode) -> None:
        self._mode = mode
        self._gestures.follow = mode is Mode.DRIVE
        self._view.focus()
        self._set_status(mode=mode)
        self.refresh_bindings()

    def _do_approve(self) -> None:
        self._decide(approve=True)

    def _do_deny(self) -> None:
        self._decide(approve=False)

    def _decide(self, *, approve: bool) -> None:
        if (request := self._requests.decidable()) is not None:
            self._session.decide(request, approve)
        elif len(self._requests):
            self._say("the request shown has just changed: look at it, then press the key again", "warning")

    def _do_next_request(self) -> None:
        self._requests.next()

    @work
    async def _do_type_text(self) -> None:
        text = await self.app.push_screen_wait(Prompt("Type text on the desk", "All Unicode is typed as it stands."))
        if text:
            self._act(Type(text=text))

    @work
    async def _do_send_keys(self) -> None:
        chord = await self.app.push_screen_wait(Prompt("Send keys to the desk", "For example ctrl+alt+delete, super."))
        if chord:
            try:
                self._act(Key(chord=str(parse_chord(chord.strip()))))
            except NexusError as error:
                self._say(str(error), "error")

    @work
    async def _do_execute(self) -> None:
        line = await self.app.push_screen_wait(
            Prompt("Run a command on the desk", "No shell: program, then arguments.")
        )
        if not line:
            return
        try:
            argv = tuple(shlex.split(line))
        except ValueError as error:
            self._say(f"that command cannot be read: {error}", "error")
            return
        result = await self._perform(Execute(argv=argv))
        if result is not None and (result.data or result.stderr):
            text = visible_lines((result.data + result.stderr).decode("utf-8", "replace"))
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
        self.set_class(self._bare, "-bare")

    def _do_log(self) -> None:
        self._log.focus()

    @work(exclusive=True, group="desks")
    async def _do_desks(self) -> None:
        if not (desks := self._session.desks):
            self._view.clear("No desk is there", "Start nexus-agent on one; it appears here.")
            return
        desk = await self.app.push_screen_wait(Choice("Which desk?", desks))
        if desk is None or desk == self._session.desk:
            return
        self._requests.clear()
        self._view.clear(f"Opening {desk}…")
        try:
            await self._session.open(desk)
        except NexusError as error:
            self._view.clear(f"{desk} cannot be reached", str(error))
            self.on_state(SessionState.ENDED, str(error))
        else:
            self._begin()

    def _do_help(self) -> None:
        text = Text()
        for command in COMMANDS:
            keys = ", ".join(show_key(key) for key in self._keys[command.id]) or "palette"
            text.append(f"{keys:>14}  ", "bold #ffd700").append(f"{command.title}\n", "bold")
            text.append(f"{'':>14}  {command.help}\n", "#8a8a94")
        text.append("\nThe mouse acts on the picture: click, drag and wheel reach the desk at that very place.")
        self.app.push_screen(Reading("Nexus TUI: keys and commands", text))

    @property
    def driving(self) -> bool:
        return self._mode is Mode.DRIVE

    # -- driving --------------------------------------------------------------------------------------------

    def drive(self, event: events.Event) -> bool:
        """Take a key or a paste for the desk when driving; whether it was taken."""
        if self._mode is not Mode.DRIVE or self.app.screen is not self:
            return False
        if isinstance(event, events.Paste):
            if len(event.text) > MAX_TEXT:
                self._say(f"{len(event.text):,} characters pasted: nothing typed, {MAX_TEXT:,} is the most", "error")
            elif event.text:
                self._act(Type(text=event.text.replace("\r\n", "\n").replace("\r", "\n")))
            return True
        if not isinstance(event, events.Key) or event.key in self._keys["leave_drive"]:
            return False
        action = action_for_key(event.key, event.character)
        if action is None:
            self._say(f"the desk has no key for {event.key}", "warning")
        else:
            self._act(action)
        return True

    @on(DeskView.Pointer)
    def _on_pointer(self, event: DeskView.Pointer) -> None:
        if self._view_only:
            if event.kind == "down":
                self._say("view only: nothing is sent to the desk", "warning")
            return
        action = self._gestures.action(event.kind, event.x, event.y, event.button, event.dx, event.dy)
        if action is not None:
            self._act(action)

    def _act(self, action: Action) -> None:
        if self._view_only:
            self._say("view only: nothing is sent to the desk", "warning")
            return
        try:
            self._session.act(action)
        except NexusError as error:
            self._say(str(error), "error")

    async def _perform(self, action: Action) -> Result | None:
        """Act and wait; None, with the reason shown, when it did not come to a good end."""
        try:
            result = await self._session.perform(action)
        except NexusError as error:
            self._say(str(error), "error")
            return None
        return result if result.state is ActionState.DONE else None

    @on(DeskView.Resized)
    def _on_view_resized(self, event: DeskView.Resized) -> None:
        viewport = Viewport(width=event.viewport_width, height=event.viewport_height, max_fps=MAX_FPS)
        self._session.look(viewport, (event.picture_width, event.picture_height))

    @on(RequestPanel.Shown)
    def _on_shown(self, event: RequestPanel.Shown) -> None:
        self._view.unmark("request")
        if event.request is not None and (place := place_of(event.request.action)) is not None:
            self._view.mark("request", *place)
        self.refresh_bindings()

    # -- what the session tells -----------------------------------------------------------------------------

    @on(News)
    def _on_news(self, news: News) -> None:
        news.take()

    @told
    def on_state(self, state: SessionState, detail: str) -> None:
        if state is not SessionState.LIVE:
            self._requests.clear()
            self._view.clear("Not connected" if state is SessionState.ENDED else "Reaching the desk…", detail)
        self._set_status(state=state, detail=detail)

    @told
    def on_welcome(self, welcome: Welcome) -> None:
        self._gestures.live = welcome.effects.get(Permission.CLICK) is Effect.ALLOW
        self._requests.may_decide = welcome.may_decide
        self._view.desk_size = (welcome.width, welcome.height)
        self._set_status(
            desk=welcome.desk, subject=welcome.subject, role=welcome.role.value, view_only=self._view_only,
            warning=visible(welcome.warning),
        )  # fmt: skip

    @told
    def on_desk_resized(self, width: int, height: int) -> None:
        self._view.desk_size = (width, height)

    @told_newest
    def on_picture(self, picture: Picture) -> None:
        now = time.monotonic()
        self._age = self._session.clock.age(picture.rtp, now)
        self._frames.append(now)
        self._view.show(picture.pixels)

    @told
    def on_stream_problem(self, problem: str) -> None:
        self._view.clear("No picture", problem)

    @told
    def on_report(self, report: ActionReport) -> None:
        self._log.add(report)
        if report.place is not None and report.state is ActionState.DONE:
            self._view.flash(*report.place)

    @told
    def on_result(self, result: Result) -> None:
        if result.state not in (ActionState.DONE, ActionState.CANCELLED):
            self._say(f"{result.state}: {visible(result.message)}", "error")

    @told
    def on_request(self, request: RequestOpened) -> None:
        self._requests.open(request)
        self.app.bell()
        self.refresh_bindings()

    @told
    def on_request_closed(self, closed: RequestClosed) -> None:
        waiting = self._requests.close(closed.request)
        self.refresh_bindings()
        if waiting is not None:
            by = f" by {visible(closed.by)}" if closed.by else ""
            self._say(
                f"{kind_of(waiting.opened.action)} of {visible(waiting.opened.who)}: {STATE_WORDS[closed.state]}{by}"
            )

    @told
    def on_desks(self, desks: tuple[str, ...]) -> None:
        if not self._session.desk and desks and self.is_current:
            self.command("desks")

    # -- status ---------------------------------------------------------------------------------------------

    def _refresh_status(self) -> None:
        now = time.monotonic()
        fps = sum(1 for at in self._frames if at > now - 1)
        clock = self._session.clock
        self._set_status(
            fps=fps, age=self._age, round_trip=clock.round_trip, transport=self._session.transport,
        )  # fmt: skip

    def _set_status(self, **changes: object) -> None:
        self._status.status = replace(self._status.status, **changes)  # type: ignore[arg-type]

    def _say(self, text: str, severity: str = "information") -> None:
        """A passing note; the same one again only after a while, or every denied key would bring its own."""
        now = time.monotonic()
        if text != self._said[0] or now - self._said[1] > SAY_AGAIN:
            self._said = text, now
            self.notify(text, severity=severity, markup=False)  # type: ignore[arg-type]
