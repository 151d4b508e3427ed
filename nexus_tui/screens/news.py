"""From the session to the screen: calls that come from the network's tasks are taken in the screen's own turn.

Only handlers of messages change widgets, so nothing is drawn while something else is being changed, and nothing is
touched after the screen has gone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import Concatenate, ParamSpec, TypeVar

from textual.message import Message
from textual.message_pump import MessagePump

P = ParamSpec("P")
Pump = TypeVar("Pump", bound=MessagePump)


class News(Message, bubble=False):
    """Something to be taken in; of several of a kind that ``replaces``, only the newest is."""

    def __init__(self, take: Callable[[], None], replaces: str = "") -> None:
        super().__init__()
        self.take = take
        self.replaces = replaces

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, News) and bool(self.replaces) and message.replaces == self.replaces


def told(method: Callable[Concatenate[Pump, P], None]) -> Callable[Concatenate[Pump, P], None]:
    """Make calling ``method`` post a News that calls it."""
    return _posting(method, "")


def told_newest(method: Callable[Concatenate[Pump, P], None]) -> Callable[Concatenate[Pump, P], None]:
    """The same, where a call that has not been taken in yet is worth nothing once there is a newer one."""
    return _posting(method, method.__name__)


def _posting(method: Callable[Concatenate[Pump, P], None], replaces: str) -> Callable[Concatenate[Pump, P], None]:
    @wraps(method)
    def post(self: Pump, /, *args: P.args, **kwargs: P.kwargs) -> None:
        self.post_message(News(partial(method, self, *args, **kwargs), replaces))

    return post
