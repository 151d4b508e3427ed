"""The desk on the screen: its picture, the requests, the log, the status; and the way from here to the desk.

It is the observer of the session: what the session tells ends here, in the widgets; keys and pointer of a driven desk
go from here to the session. What the commands do is `main`'s.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import replace

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Footer

from nexus_protocol.actions import MAX_TEXT, Action, Type, kind_of, place_of
from nexus_protocol.errors import NexusError
from nexus_protocol.messages import ActionReport, RequestClosed, RequestOpened, Result, Viewport, Welcome
from nexus_protocol.vocabulary import ActionState, Effect, Permission

from ..core.commands import Mode, show_key
from ..core.keys import action_for_key
from ..core.known_desks import UnknownDesk
from ..core.model import ActionLog
from ..core.observer import SessionState
from ..core.pointer import Gestures
from ..core.session import Session
from ..core.stream import Picture
from ..core.text import visible
from ..widgets.action_log import ActionLogView
from ..widgets.desk_view import DeskView
from ..widgets.request_panel import STATE_WORDS, RequestPanel
from ..widgets.status_line import StatusLine
from .news import News, told, told_newest

WIDE = 100
"""Columns from which the panes stand beside the picture instead of below it."""
SMALL = (60, 16)
"""Columns and rows below which the picture gets everything."""
MAX_FPS = 60
SAY_AGAIN = 3.0


class DeskScreen(Screen[None]):
    DEFAULT_CSS = """
    DeskScreen { background: #101014; }
    #body { height: 1fr; }
    #side { width: 46; background: #16161e; }
    DeskScreen.-narrow #body { layout: vertical; }
    DeskScreen.-narrow #side { width: 100%; height: 9; layout: horizontal; }
    DeskScreen.-narrow #side > * { width: 1fr; height: 100%; max-height: 100%; }
    DeskScreen.-bare #side { display: none; }
    DeskScreen.-tiny Footer { display: none; }
    Footer { background: #1c1c26; }
    """

    class DeskWanted(Message):
        """No desk was named, and there is not just one: somebody has to choose."""

    class Stranger(Message):
        """The desk shows a key that nobody has trusted yet."""

        def __init__(self, unknown: UnknownDesk) -> None:
            super().__init__()
            self.unknown = unknown

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
            self.post_message(self.DeskWanted())

    def on_resize(self, event: events.Resize) -> None:
        self._lay_out(*event.size)

    def _lay_out(self, width: int, height: int) -> None:
        """Panes beside the picture, below it, or none: by the terminal's size and the person's wish."""
        tiny = width < SMALL[0] or height < SMALL[1]
        self.set_class(width < WIDE, "-narrow")
        self.set_class(tiny, "-tiny")
        self.set_class(tiny or self._bare, "-bare")

    def _begin(self) -> None:
        """The session has a desk: show what is known of it, and start to listen."""
        if self._session.welcome is not None:
            self.on_welcome(self._session.welcome)
        self.on_state(SessionState.LIVE, "")
        self._session.start()

    # -- driving --------------------------------------------------------------------------------------------

    def _enter(self, mode: Mode) -> None:
        self._mode = mode
        self._gestures.follow = mode is Mode.DRIVE
        self._view.focus()
        self._set_status(mode=mode, leave_key=show_key(self._keys["leave_drive"][0]))
        self.refresh_bindings()

    @property
    def driving(self) -> bool:
        """Whether keys go to the desk: not those that are typed into a dialog above it."""
        return self._mode is Mode.DRIVE and self.is_current

    def drive(self, event: events.Event) -> bool:
        """Take a key or a paste for the desk when driving; whether it was taken."""
        if not self.driving:
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
                self._only_viewing()
            return
        action = self._gestures.action(event.kind, event.x, event.y, event.button, event.dx, event.dy)
        if action is not None:
            self._act(action)

    def _only_viewing(self) -> bool:
        """Whether nothing may be sent; says so then."""
        if self._view_only:
            key = next((show_key(key) for key in self._keys["view_only"]), "the palette")
            self._say(f"view only is on, so nothing is sent; {key} turns it off", "warning")
        return self._view_only

    def _act(self, action: Action) -> None:
        if self._only_viewing():
            return
        try:
            self._session.act(action)
        except NexusError as error:
            self._say(str(error), "error")

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
            self._age = None
            ended = state is SessionState.ENDED
            again = f"\n\n{show_key(next(iter(self._keys['desks']), '?'))}: connect again" if ended else ""
            self._view.clear("Not connected" if ended else "Reaching the desk…", detail + again)
        self._set_status(state=state, detail=detail)

    @told
    def on_held(self, reason: str) -> None:
        self._view.clear("Waiting to be let in", reason)
        self._set_status(detail=reason)

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
        self._bare = False  # nobody decides what cannot be seen
        self._lay_out(*self.size)
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
            self.post_message(self.DeskWanted())

    @told
    def on_unknown_desk(self, unknown: UnknownDesk) -> None:
        self.post_message(self.Stranger(unknown))

    # -- status ---------------------------------------------------------------------------------------------

    def _refresh_status(self) -> None:
        now = time.monotonic()
        fps = sum(1 for at in self._frames if at > now - 1)
        clock, live = self._session.clock, self._status.status.state is SessionState.LIVE
        self._set_status(
            fps=fps, age=self._age, round_trip=clock.round_trip if live else None, transport=self._session.transport,
        )  # fmt: skip

    def _set_status(self, **changes: object) -> None:
        self._status.status = replace(self._status.status, **changes)  # type: ignore[arg-type]

    def _say(self, text: str, severity: str = "information") -> None:
        """A passing note; the same one again only after a while, or every denied key would bring its own."""
        now = time.monotonic()
        if text != self._said[0] or now - self._said[1] > SAY_AGAIN:
            self._said = text, now
            self.notify(text, severity=severity, markup=False)  # type: ignore[arg-type]
