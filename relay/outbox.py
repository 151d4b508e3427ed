"""What waits to be sent to one peer: bounded, in order within a link, and fair between links.

Each link has a lane of its own and the lanes take turns, so that a key press on one link never waits behind a
megabyte of a file on another. Who may send what is left to the switchboard.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container
from dataclasses import dataclass, field

from nexus_protocol.relay_messages import FRAME_COST

GENERAL = 0
"""The lane of messages that belong to no link; links are numbered from 1."""


@dataclass(slots=True)
class _Lane:
    waiting: deque[str | bytes] = field(default_factory=deque)
    held: int = 0
    """Bytes of the frames in it, each with FRAME_COST. Messages are few and small, and not counted here."""


class Outbox:
    """Text messages and binary frames on their way to one peer."""

    def __init__(self, *, link_bytes: int, peer_bytes: int, message_bytes: int) -> None:
        self._link_bytes = link_bytes
        self._peer_bytes = peer_bytes
        self._message_bytes = message_bytes
        self._lanes: dict[int, _Lane] = {}
        self._turns: deque[int] = deque()
        """Every lane with something in it, each once, the next one first."""
        self._frames_held = 0
        self._messages_held = 0

    def links_waiting(self) -> set[int]:
        """The links of which something has yet to be sent, ended ones included."""
        return self._lanes.keys() - {GENERAL}

    def put_message(self, text: str, link: int = GENERAL) -> bool:
        """False when the peer has left too many unread; nothing is kept then."""
        cost = len(text) + FRAME_COST
        if self._messages_held + cost > self._message_bytes:
            return False
        self._messages_held += cost
        self._lane(link).waiting.append(text)
        return True

    def put_frame(self, link: int, frame: bytes, open_links: Container[int]) -> int | None:
        """Keep the frame, or name the link that must end before it fits: the open one that holds most.

        The last bytes of a link that has ended are never given up for another's.
        """
        cost = len(frame) + FRAME_COST
        lane = self._lanes.get(link)
        held = cost + (lane.held if lane else 0)
        if held > self._link_bytes:
            return link
        if self._frames_held + cost > self._peer_bytes:
            sizes = {number: lane.held for number, lane in self._lanes.items() if number in open_links} | {link: held}
            return max(sizes, key=sizes.__getitem__)
        lane = self._lane(link)
        lane.held = held
        self._frames_held += cost
        lane.waiting.append(frame)
        return None

    def drop(self, link: int, *, keep_messages: bool = False) -> None:
        """Forget what waits on a link that nobody will read."""
        lane = self._lanes.pop(link, None)
        if lane is None:
            return
        messages = [item for item in lane.waiting if isinstance(item, str)]
        self._frames_held -= lane.held
        if keep_messages and messages:
            self._lanes[link] = _Lane(deque(messages))
        else:
            self._turns.remove(link)
            self._messages_held -= sum(len(text) + FRAME_COST for text in messages)

    def take(self) -> str | bytes | None:
        """The next one to send; None when nothing waits."""
        if not self._turns:
            return None
        number = self._turns.popleft()
        lane = self._lanes[number]
        item = lane.waiting.popleft()
        if isinstance(item, str):
            self._messages_held -= len(item) + FRAME_COST
        else:
            cost = len(item) + FRAME_COST
            lane.held -= cost
            self._frames_held -= cost
        if lane.waiting:
            self._turns.append(number)
        else:
            del self._lanes[number]
        return item

    def _lane(self, number: int) -> _Lane:
        lane = self._lanes.get(number)
        if lane is None:
            lane = self._lanes[number] = _Lane()
            self._turns.append(number)
        return lane
