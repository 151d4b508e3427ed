"""The small screens on top of the console: a prompt, a choice, a text to read."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Label, OptionList, Static

from ..widgets.request_panel import DEAD_SECONDS

LEAST_ROWS = 4
"""Of a question, below which nobody can have read it."""

_BOX = """
    align: center middle;
    & > Vertical, & > VerticalScroll {
        width: 80%; max-width: 100; height: auto; max-height: 80%;
        border: round #5fafff; border-title-color: #5fafff; background: #16161e; padding: 1 2;
    }
    & .hint { color: #8a8a94; padding-top: 1; }
"""


class Prompt(ModalScreen[str | None]):
    """Asks for one line of text; None when the person thinks better of it."""

    DEFAULT_CSS = f"Prompt {{ {_BOX} }}"
    BINDINGS: ClassVar[list[BindingType]] = [("escape", "dismiss(None)", "Cancel")]

    def __init__(self, title: str, hint: str) -> None:
        super().__init__()
        self._title, self._hint = title, hint

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = Content(self._title)  # not markup: it may be a person's or a peer's text
            yield Input()
            yield Label(f"{self._hint}   Enter: go, Esc: cancel", classes="hint")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.dismiss(event.value or None)


class Choice(ModalScreen[str | None]):
    """Asks for one of several names."""

    DEFAULT_CSS = f"Choice {{ {_BOX} }}"
    BINDINGS: ClassVar[list[BindingType]] = [("escape", "dismiss(None)", "Cancel")]

    def __init__(self, title: str, names: tuple[str, ...]) -> None:
        super().__init__()
        self._title, self._names = title, names

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = Content(self._title)  # not markup: it may be a person's or a peer's text
            yield OptionList(*(Content(name) for name in self._names))
            yield Label("Enter: go, Esc: cancel", classes="hint")

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._names[event.option_index])


class Question(ModalScreen[bool]):
    """Asks for a yes, which takes a key of its own, and all of the question to have been seen: Enter never is one.

    Its keys are dead for a moment, so that one that was meant for something else is no answer.
    """

    DEFAULT_CSS = f"Question {{ {_BOX} }}"
    BINDINGS: ClassVar[list[BindingType]] = [("y", "answer(True)", "Yes"), ("escape,n,q", "answer(False)", "No")]

    def __init__(self, title: str, text: Text, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._title, self._text = title, text
        self._clock = clock
        self._shown_at = math.inf

    def on_mount(self) -> None:
        self._shown_at = self._clock()
        self.query_one(VerticalScroll).focus()

    def action_answer(self, yes: bool) -> None:
        if self._clock() - self._shown_at < DEAD_SECONDS:
            return
        box = self.query_one(VerticalScroll)
        if yes and (box.scroll_y < box.max_scroll_y or box.size.height < LEAST_ROWS):
            self.notify("first see all of it: scroll to its end, or make this terminal larger", severity="warning")
        else:
            self.dismiss(yes)

    def compose(self) -> ComposeResult:
        with VerticalScroll() as box:
            box.border_title = Content(self._title)  # not markup: it may be a person's or a peer's text
            yield Static(self._text)
            yield Label("y: yes, n or Esc: no", classes="hint")


class Reading(ModalScreen[None]):
    """Shows a text, scrollable; any of the usual keys closes it."""

    DEFAULT_CSS = f"Reading {{ {_BOX} }}"
    BINDINGS: ClassVar[list[BindingType]] = [("escape,q,enter,question_mark,f1", "dismiss(None)", "Close")]

    def __init__(self, title: str, text: Text) -> None:
        super().__init__()
        self._title, self._text = title, text

    def compose(self) -> ComposeResult:
        with VerticalScroll() as box:
            box.border_title = Content(self._title)  # not markup: it may be a person's or a peer's text
            yield Static(self._text)
            yield Label("Esc: close", classes="hint")

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()
