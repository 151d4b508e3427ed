"""The action log: what anybody does on the desk, with its result, newest at the bottom."""

from __future__ import annotations

import time

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from nexus_protocol.messages import ActionReport
from nexus_protocol.vocabulary import ActionState

from ..core.model import ActionLog, LogEntry
from ..core.text import visible

_LOOKS = {
    ActionState.WAITING: ("…", Style.parse("bold #ffd700")),
    ActionState.RUNNING: ("▸", Style.parse("#5fafff")),
    ActionState.DONE: ("✓", Style.parse("#00d787")),
    ActionState.FAILED: ("✗", Style.parse("bold #ff5f5f")),
    ActionState.DENIED: ("⊘", Style.parse("bold #ff5f5f")),
    ActionState.EXPIRED: ("⌛", Style.parse("#ffaf00")),
    ActionState.CANCELLED: ("–", Style.parse("#8a8a94")),
}
_DIM, _WHO, _WHAT = Style.parse("#8a8a94"), Style.parse("#5fafff"), Style.parse("#e4e4ea")


class ActionLogView(ScrollView, can_focus=True):
    """Shows an ActionLog; follows its end until somebody scrolls up."""

    DEFAULT_CSS = """
    ActionLogView {
        height: 1fr; border-top: solid #3a3a4a; border-title-color: #8a8a94; scrollbar-size-vertical: 1;
    }
    ActionLogView:focus { border-top: solid #5fafff; }
    """

    def __init__(self, log: ActionLog, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._log = log
        self._lines: list[LogEntry] = []
        self.border_title = "Action log"

    def on_mount(self) -> None:
        self.anchor()  # Textual follows the end, at each layout, until somebody scrolls up

    def add(self, report: ActionReport) -> None:
        self._log.add(report)
        self._lines = self._log.entries
        self.virtual_size = Size(self.scrollable_content_region.width, 2 * len(self._lines))
        self.refresh()

    def render_line(self, y: int) -> Strip:
        index, second = divmod(y + self.scroll_offset.y, 2)
        width, ground = self.scrollable_content_region.width, self.visual_style.rich_style
        if index >= len(self._lines):
            return Strip.blank(width, ground)
        entry = self._lines[index]
        segments = _result(entry) if second else _what(entry)
        return Strip(segments).adjust_cell_length(width).apply_style(ground)


def _what(entry: LogEntry) -> list[Segment]:
    mark, style = _LOOKS[entry.report.state]
    clock = time.strftime("%H:%M:%S", time.localtime(entry.at))
    return [
        Segment(f" {mark} ", style),
        Segment(f"{clock} ", _DIM),
        Segment(f"{visible(entry.report.who)} ", _WHO),
        Segment(visible(entry.what), _WHAT),
    ]


def _result(entry: LogEntry) -> list[Segment]:
    report = entry.report
    said = f": {visible(report.message)}" if report.message else ""
    took = f", {_duration(report.duration)}" if report.state in (ActionState.DONE, ActionState.FAILED) else ""
    return [Segment(f"   {report.state.value}{took}{said}", _DIM)]


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"
