"""Running a program on the desk: no shell, no standard input, bounded output, its own process group, a deadline."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping

from nexus_protocol.actions import Execute
from nexus_protocol.errors import NexusError
from nexus_protocol.vocabulary import ActionState

from .guard import Guard
from .outcome import Outcome

MAX_OUTPUT = 1024 * 1024
"""Bytes kept of each of standard output and standard error; the rest is read and dropped."""
DRAIN = 0.25
"""Seconds that output may still come after the program ended: what it started may hold the pipes open for ever."""

_STDOUT, _STDERR = 1, 2


class _Output(asyncio.SubprocessProtocol):
    """Keeps the beginning of both outputs, and knows when the program and its pipes have ended."""

    def __init__(self) -> None:
        self.kept = {_STDOUT: bytearray(), _STDERR: bytearray()}
        self.cut: set[int] = set()
        self.exited = asyncio.Event()
        self.drained = asyncio.Event()
        self._open = {_STDOUT, _STDERR}

    def pipe_data_received(self, fd: int, data: bytes | str) -> None:
        assert isinstance(data, bytes)
        room = MAX_OUTPUT - len(self.kept[fd])
        self.kept[fd] += data[:room]
        if len(data) > room:
            self.cut.add(fd)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self._open.discard(fd)
        if not self._open:
            self.drained.set()

    def process_exited(self) -> None:
        self.exited.set()


_Running = tuple[asyncio.SubprocessTransport, _Output, Guard]


async def execute(action: Execute, environment: Mapping[str, str]) -> Outcome:
    """Run to the end, whatever its exit status; ``environment`` goes on top of the agent's own.

    Raises NexusError when it cannot be started.

    A timeout or a cancellation kills the whole process group. What a program that ended by itself left running
    in the background stays: starting something that stays is a use of this. An agent that is killed itself takes
    the programs that still run with it (guard).
    """
    late = False
    starting = asyncio.ensure_future(_start(action, environment))
    try:
        # A start is not cut short: cancelled between fork and pipes, asyncio waits for ever for the child.
        _, output, _ = await asyncio.shield(starting)
        async with asyncio.timeout(action.timeout):
            await output.exited.wait()
    except TimeoutError:
        late = True
    finally:
        await asyncio.wait({starting})
        if starting.exception() is None:
            await _finish(*starting.result())
    transport, output, _ = starting.result()
    code = transport.get_returncode()
    said = [f"killed after {action.timeout:g} s without an end" if late else _ending(code)]
    said += [f"{name} cut after 1 MiB" for fd, name in ((_STDOUT, "output"), (_STDERR, "errors")) if fd in output.cut]
    return Outcome(
        message="; ".join(said),
        data=bytes(output.kept[_STDOUT]),
        stderr=bytes(output.kept[_STDERR]),
        exit_code=code,
        state=ActionState.FAILED if late else ActionState.DONE,
    )


async def _start(action: Execute, environment: Mapping[str, str]) -> _Running:
    folder = _folder(action.cwd)
    guard: Guard | None = None
    try:
        guard = await Guard.start()
        transport, output = await asyncio.get_running_loop().subprocess_exec(
            _Output,
            *action.argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=folder,
            env={**os.environ, **environment},
            process_group=guard.group,
        )
    except OSError as error:
        if guard is not None:
            await guard.release()
        if guard is not None and isinstance(error, FileNotFoundError):
            raise NexusError(f"there is no program {action.argv[0]!r} on the desk") from None
        raise NexusError(f"cannot start {action.argv[0]!r}: {error.strerror or error}") from None
    return transport, output, guard


def _folder(cwd: str | None) -> str:
    folder = os.path.expanduser(cwd or "~")
    if "\0" in folder or not os.path.isabs(folder) or not os.path.isdir(folder):
        raise NexusError(f"cannot run in {folder!r}: not an absolute path of a folder on the desk")
    return folder


async def _finish(transport: asyncio.SubprocessTransport, output: _Output, guard: Guard) -> None:
    """Nothing of a program that did not end by itself is left running, and the child is reaped."""
    try:
        if not output.exited.is_set():
            guard.kill()
            await output.exited.wait()
        await guard.release()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN):
                await output.drained.wait()
    finally:
        transport.close()


def _ending(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit status {code}"
    with contextlib.suppress(ValueError):
        return f"ended by {signal.Signals(-code).name}"
    return f"ended by signal {-code}"
