"""The line on top: which desk, how the connection is, who one is, how fresh the picture is."""

from __future__ import annotations

from dataclasses import dataclass

from rich.text import Text
from textual.reactive import reactive
from textual.widget import Widget

from ..core.commands import Mode
from ..core.observer import SessionState
from ..core.text import visible


@dataclass(frozen=True)
class Status:
    """Everything the line shows. Times in seconds; None where nothing has been measured yet."""

    desk: str = ""
    state: SessionState = SessionState.REACHING
    detail: str = ""
    mode: Mode = Mode.COMMAND
    view_only: bool = False
    subject: str = ""
    role: str = ""
    transport: str = "-"
    fps: int = 0
    round_trip: float | None = None
    age: float | None = None
    warning: str = ""
    leave_key: str = ""


_LAMPS = {
    SessionState.LIVE: ("●", "bold #00d787"),
    SessionState.REACHING: ("◌", "bold #ffaf00"),
    SessionState.ENDED: ("✗", "bold #ff5f5f"),
}


class StatusLine(Widget):
    DEFAULT_CSS = """
    StatusLine { dock: top; height: 1; background: #1c1c26; color: #d0d0d8; padding: 0 1; }
    StatusLine.-drive { background: #af5f00; color: #ffffff; text-style: bold; }
    """

    status: reactive[Status] = reactive(Status())

    def watch_status(self, status: Status) -> None:
        self.set_class(status.mode is Mode.DRIVE, "-drive")

    def render(self) -> Text:
        return line(self.status, self.size.width)


def line(status: Status, width: int) -> Text:
    """The status as one line of at most ``width`` cells; what matters least is left out first."""
    lamp, colour = _LAMPS[status.state]
    driving = status.mode is Mode.DRIVE
    left = Text.assemble((lamp, "bold" if driving else colour), " ", (visible(status.desk) or "no desk", "bold"))
    if driving:
        left.append(f"  DRIVING: every key goes to the desk, {status.leave_key} leaves")
    else:
        left.append(f"  {visible(status.detail) or status.state.value}")
        if status.view_only:
            left.append("  VIEW ONLY", "bold #ffaf00")
    if status.warning:
        left.append(f"  ⚠ {status.warning}", "bold #ff5f5f")
    parts = [
        f"age {_ms(status.age)}",
        f"rtt {_ms(status.round_trip)}",
        f"{status.fps:2d} fps",
        status.transport,
        visible(f"{status.role} {status.subject}".strip()),
    ]
    while parts and left.cell_len + len(right := "   ".join(reversed(parts))) + 2 > width:
        parts.pop()
    if parts:
        left.append(" " * (width - left.cell_len - len(right)) + right)
    left.truncate(width, overflow="ellipsis")
    left.no_wrap = True
    return left


def _ms(seconds: float | None) -> str:
    return "– ms" if seconds is None else f"{seconds * 1000:.0f} ms"
