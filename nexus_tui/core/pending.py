"""Actions that were sent and have not ended: what may be sent again, what is merged, who waits. No I/O."""

from __future__ import annotations

import asyncio
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator

from nexus_protocol.actions import Action, Move, Press, Release
from nexus_protocol.errors import NexusError, Unreachable
from nexus_protocol.messages import Act, Cancel, Result
from nexus_protocol.vocabulary import ActionState

MAX_PENDING = 256
DOUBT = "cancelled while the desk was not reached; whether it was done is not known"


class Pending:
    """``tell`` hears the end of every action.

    Of one that was withdrawn while there was no link that is first that nobody knows, and then, perhaps, what it was.
    """

    def __init__(self, tell: Callable[[Result], None]) -> None:
        self._tell = tell
        self._acts: OrderedDict[str, Act] = OrderedDict()
        self._futures: dict[str, asyncio.Future[Result]] = {}
        self._withdrawn: OrderedDict[str, None] = OrderedDict()  # until their end is heard of
        self._moving = ""
        self._next_move: Move | None = None

    def __iter__(self) -> Iterator[Act]:
        """What is under way, oldest first."""
        return iter(tuple(self._acts.values()))

    def to_repeat(self) -> tuple[Act | Cancel, ...]:
        """What to say on a new link. The agent runs an id at most once; what was withdrawn is never asked for again."""
        return (*(Cancel(id=id) for id in self._withdrawn), *self)

    def begin(self, action: Action) -> Act | None:
        """What to send for this action; None for a movement that waits until the one under way has ended.

        Raises Unreachable when too much is under way.
        """
        if isinstance(action, Move) and self._moving:
            self._next_move = action
            return None
        if len(self._acts) >= MAX_PENDING:
            raise Unreachable(f"{MAX_PENDING} actions have not been answered: nothing more is sent")
        act = Act(id=uuid.uuid4().hex, action=action)
        self._acts[act.id] = act
        if isinstance(action, Move):
            self._moving = act.id
        return act

    async def end_of(self, act: Act) -> Result:
        """The action's end. Raises NexusError when it will not be heard of."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._futures[act.id] = future
        try:
            return await future
        finally:
            del self._futures[act.id]

    def withdraw(self, id: str) -> None:
        """Nobody wants this done any more. Its end is still to be heard of, on this link."""
        if id in self._acts:
            self._withdrawn[id] = None
            if len(self._withdrawn) > MAX_PENDING:
                self._withdrawn.popitem(last=False)

    def ended(self, result: Result) -> Move | None:
        """Take an end in; returns the movement that is to be made now."""
        self._withdrawn.pop(result.id, None)
        return self._close(result)

    def _close(self, result: Result) -> Move | None:
        self._acts.pop(result.id, None)
        move = None
        if result.id == self._moving:
            move, self._moving, self._next_move = self._next_move, "", None
        if (future := self._futures.get(result.id)) is not None and not future.done():
            future.set_result(result)
        self._tell(result)
        return move

    def unlinked(self) -> None:
        """There is no link: what means nothing on the next one ends now.

        That is what was withdrawn, and what held a button or moved, for the agent has let go of it.
        """
        self._next_move = None
        for act in self:
            if act.id in self._withdrawn:
                self._close(Result(id=act.id, state=ActionState.CANCELLED, message=DOUBT))
            elif isinstance(act.action, Move | Press | Release):
                self._close(Result(id=act.id, state=ActionState.CANCELLED, message="the link was lost"))

    def abandon(self, error: NexusError, state: ActionState = ActionState.CANCELLED) -> None:
        """Nothing that is under way will be heard of again: say so to everyone who waits."""
        self._moving, self._next_move = "", None
        self._withdrawn.clear()
        for act in self:
            del self._acts[act.id]
            self._tell(Result(id=act.id, state=state, message=str(error)))
        for future in self._futures.values():
            if not future.done():
                future.set_exception(error)
