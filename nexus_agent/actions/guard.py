"""What ends a program of an agent that was killed without a word.

A guard is a shell that leads a process group and waits for a line from the agent. However the agent ends, the pipe ends
with it, and the guard kills its group. Programs are started into that group, so no moment of theirs is unguarded; it
needs no code between fork and exec, and works on every Unix. (A virtual desk has a guard of its own.)
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process

_SCRIPT = "read -r _ || kill -s KILL 0"


class Guard:
    def __init__(self, process: Process) -> None:
        self._process = process

    @classmethod
    async def start(cls) -> Guard:
        """Raises OSError."""
        return cls(
            await asyncio.create_subprocess_exec(
                "sh", "-c", _SCRIPT, stdin=PIPE, stdout=DEVNULL, stderr=DEVNULL, process_group=0
            )
        )

    @property
    def group(self) -> int:
        """The process group that programs are to be started into."""
        return self._process.pid

    def kill(self) -> None:
        """End the whole group. It cannot be anybody else's: its leader has not been reaped yet."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.group, signal.SIGKILL)

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
