"""The permission queue: the request that waits longest, in full, and how many more there are.

It never takes the focus. A decision key is dead for a moment after what is shown has changed, so that a key pressed
for something else cannot decide a request that has just slipped under it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.text import Text
from textual.containers import VerticalScroll
from textual.message import Message
from textual.widgets import Static

from nexus_protocol.actions import Admission, Asked, kind_of
from nexus_protocol.messages import RequestOpened
from nexus_protocol.vocabulary import RequestState

from ..core.model import RequestQueue, Waiting
from ..core.payload import parts_of
from ..core.text import visible

DEAD_SECONDS = 0.35


class RequestPanel(VerticalScroll, can_focus=False):
    DEFAULT_CSS = """
    RequestPanel {
        height: auto; max-height: 60%; min-height: 4; border-top: solid #3a3a4a; border-title-color: #8a8a94;
        padding: 0 1; scrollbar-size-vertical: 1;
    }
    RequestPanel.-waiting { border: heavy #ffd700; border-title-color: #ffd700; border-title-style: bold; }
    """

    class Shown(Message):
        """Another request is shown, or none: its place on the picture is to be marked."""

        def __init__(self, request: RequestOpened | None) -> None:
            super().__init__()
            self.request = request

    def __init__(self, *, keys: str, may_decide: bool = True, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._queue = RequestQueue(clock)
        self._clock = clock
        self._keys = keys
        self._body, self._foot = Static(), Static()
        self._shown: int | None = None
        self._shown_at = 0.0
        self._drawn: int | None = None
        self.may_decide = may_decide

    def compose(self):  # type: ignore[no-untyped-def]
        yield self._body
        yield self._foot

    def on_mount(self) -> None:
        self._ticking = self.set_interval(1.0, self._draw, pause=True)
        self._draw()

    # -- what happens ---------------------------------------------------------------------------------------

    def open(self, request: RequestOpened) -> None:
        self._queue.open(request)
        self._show(self._shown if self._shown is not None else request.request)

    def close(self, number: int) -> Waiting | None:
        gone = self._queue.close(number)
        if number == self._shown:
            self._show(next((w.opened.request for w in self._queue), None))
        else:
            self._draw()
        return gone

    def clear(self) -> None:
        self._queue.clear()
        self._show(None)

    def next(self) -> None:
        """Show the request after the shown one."""
        numbers = [waiting.opened.request for waiting in self._queue]
        if self._shown in numbers:
            self._show(numbers[(numbers.index(self._shown) + 1) % len(numbers)])

    def decidable(self) -> RequestOpened | None:
        """The request a decision key pressed now decides; None while there is none, or it is too new to be meant."""
        if self._clock() - self._shown_at < DEAD_SECONDS:
            return None
        return next((w.opened for w in self._queue if w.opened.request == self._shown), None)

    def __len__(self) -> int:
        return len(self._queue)

    def __bool__(self) -> bool:
        return True

    # -- drawing --------------------------------------------------------------------------------------------

    def _show(self, number: int | None) -> None:
        if number != self._shown:
            self._shown, self._shown_at = number, self._clock()
            request = next((w.opened for w in self._queue if w.opened.request == number), None)
            self.post_message(self.Shown(request))
            self.scroll_home(animate=False)
        self._draw()

    def _draw(self) -> None:
        waiting = next((w for w in self._queue if w.opened.request == self._shown), None)
        self.set_class(waiting is not None, "-waiting")
        if waiting is None:
            self._ticking.pause()
            self.border_title = "Requests"
            self._body.update(Text("Nobody is waiting for permission.", "#8a8a94"))
            self._foot.update("")
            self._drawn = None
            return
        self._ticking.resume()
        count = len(self._queue)
        self.border_title = "Permission request" + (f" (1 of {count}, n: next)" if count > 1 else "")
        if self._drawn != waiting.opened.request:  # a large payload takes its time: once is enough
            self._drawn = waiting.opened.request
            self._body.update(_card(waiting.opened))
        self._foot.update(_foot(waiting.deadline - self._clock(), self._keys if self.may_decide else ""))


def _card(request: RequestOpened) -> Text:
    """Who asks for what, in full."""
    card = Text.assemble(
        (visible(request.who), "bold #5fafff"), (f" ({request.role})", "#8a8a94"), " asks to ",
        (_verb(request.action), "bold #ffffff"), "\n",
    )  # fmt: skip
    for part in parts_of(request.action):
        card.append(part.text, "#8a8a94" if part.remark else "bold #ffd700")
    why = f": {visible(request.why)}" if request.why else ""
    return card.append(f"\nneeds {request.permission}{why}", "#8a8a94")


def _verb(action: Asked) -> str:
    return "be let in" if isinstance(action, Admission) else kind_of(action)


def _foot(seconds: float, keys: str) -> Text:
    left = max(0, round(seconds))
    foot = Text(f"{left} s left, then it is refused", "bold #ff5f5f" if left <= 10 else "#8a8a94")
    return foot.append(f"\n{keys}", "bold #ffffff") if keys else foot


STATE_WORDS = {
    RequestState.APPROVED: "approved",
    RequestState.DENIED: "denied",
    RequestState.EXPIRED: "expired: nobody answered",
    RequestState.WITHDRAWN: "withdrawn",
}
