"""What ends a program of an agent that was killed without a word.

A guard is a shell in a session of its own that waits for a line from the agent. However the agent ends, the pipe ends
with it, and the guard kills the group it was told of. This needs no code between fork and exec, works on every Unix,
and leaves the program's start, status and group as they are. (A virtual desk has a guard of its own, in its group.)
"""

from __future__ import annotations

import asyncio
import contextlib
from asyncio.subprocess import DEVNULL, PIPE, Process

_SCRIPT = 'read -r group && { read -r _ || kill -s KILL -- "-$group"; }'


class Guard:
    """Started before the program, so that no moment is left unguarded but the one in which the group is told."""

    def __init__(self, process: Process) -> None:
        self._process = process

    @classmethod
    async def start(cls) -> Guard:
        """Raises OSError."""
        return cls(
            await asyncio.create_subprocess_exec(
                "sh", "-c", _SCRIPT, stdin=PIPE, stdout=DEVNULL, stderr=DEVNULL, start_new_session=True
            )
        )

    def watch(self, group: int) -> None:
        self._say(f"{group}\n")

    async def release(self) -> None:
        """The program has ended: nothing is to be killed any more. Returns when the guard has ended too."""
        self._say("done\n")
        if self._process.stdin is not None:
            self._process.stdin.close()
        await self._process.wait()

    def _say(self, line: str) -> None:
        if self._process.stdin is not None:
            with contextlib.suppress(ConnectionError):  # somebody has killed it
                self._process.stdin.write(line.encode())
