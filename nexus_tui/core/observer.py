"""What a session tells, and to whom: the one direction in which news flows from the network to the screen."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from nexus_protocol.messages import ActionReport, RequestClosed, RequestOpened, Result, Welcome

from .known_desks import UnknownDesk

if TYPE_CHECKING:
    from .stream import Picture


class SessionState(StrEnum):
    REACHING = "reaching"
    LIVE = "live"
    ENDED = "ended"


class Observer(Protocol):
    """What a session tells; every call is in the event loop and must return at once."""

    def on_state(self, state: SessionState, detail: str) -> None: ...
    def on_held(self, reason: str) -> None:
        """The desk does not know this operator yet, and somebody there is asked."""

    def on_welcome(self, welcome: Welcome) -> None: ...
    def on_desk_resized(self, width: int, height: int) -> None: ...
    def on_picture(self, picture: Picture) -> None: ...
    def on_stream_problem(self, problem: str) -> None: ...
    def on_report(self, report: ActionReport) -> None: ...
    def on_result(self, result: Result) -> None: ...
    def on_request(self, request: RequestOpened) -> None: ...
    def on_request_closed(self, closed: RequestClosed) -> None: ...
    def on_desks(self, desks: tuple[str, ...]) -> None: ...
    def on_unknown_desk(self, unknown: UnknownDesk) -> None:
        """The session has ended because nobody has said yet whether that is the desk's key."""


class Silence:
    """An observer that takes everything in and does nothing with it; a base for those that care for a little."""

    def on_state(self, state: SessionState, detail: str) -> None:
        pass

    def on_held(self, reason: str) -> None:
        pass

    def on_welcome(self, welcome: Welcome) -> None:
        pass

    def on_desk_resized(self, width: int, height: int) -> None:
        pass

    def on_picture(self, picture: Picture) -> None:
        pass

    def on_stream_problem(self, problem: str) -> None:
        pass

    def on_report(self, report: ActionReport) -> None:
        pass

    def on_result(self, result: Result) -> None:
        pass

    def on_request(self, request: RequestOpened) -> None:
        pass

    def on_request_closed(self, closed: RequestClosed) -> None:
        pass

    def on_desks(self, desks: tuple[str, ...]) -> None:
        pass

    def on_unknown_desk(self, unknown: UnknownDesk) -> None:
        pass
