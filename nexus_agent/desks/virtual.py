"""A desk of our own: an Xvfb that nobody else can connect to, and a program on it.

Ending them is the hard part, as the agent may be killed without a word. All processes of the desk share one process
group, led by a guard: a shell that waits for the end of a pipe which only the agent holds. However the agent ends,
the pipe ends with it, and the guard ends the group, itself included. This needs no code between fork and exec, works
on every Unix, and reaches grandchildren too.

One agent serves one desk, so DISPLAY and XAUTHORITY are set for the whole process (mss and xcb read them there) and
put back when the desk is closed.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import signal
import struct
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from nexus_protocol.errors import NexusError, UsageError

from . import Desk
from .x11 import attach

START = 15.0
"""Seconds an Xvfb may take to be ready."""
GRACE = 2.0
"""Seconds the desk's processes have to end when they are asked to, before they are killed."""

# $1 is the desk's private folder. The guard outlives its own SIGTERM, so that it can still kill what ignored it.
_GUARD = 'trap "" TERM; read -r _; kill -TERM 0; sleep 1; rm -rf -- "$1"; kill -KILL 0'


async def open_virtual(size: tuple[int, int], command: Sequence[str] = ()) -> Desk:
    """Start Xvfb, connect to it and start `command` there.

    Raises UsageError when the command cannot be run, NexusError when Xvfb is missing or does not start.
    """
    if shutil.which("Xvfb") is None:
        raise NexusError("Xvfb is not installed; run: sudo apt install xvfb (or use --synthetic, a drawn desktop)")
    async with AsyncExitStack() as opened:
        folder = Path(tempfile.mkdtemp(prefix="nexus-desk-"))
        opened.callback(shutil.rmtree, folder, ignore_errors=True)
        authority = folder / "Xauthority"
        _write_authority(authority)

        guard = await _start("sh", "-c", _GUARD, "nexus-desk-guard", str(folder), stdin=PIPE, process_group=0)
        processes = [guard]
        opened.push_async_callback(_end, guard.pid, processes)
        display = await _start_xvfb(size, authority, guard.pid, processes)

        environment = {"DISPLAY": display, "XAUTHORITY": str(authority)}
        _set_environment(environment, opened)
        desk = await attach(display, "virtual", environment)
        opened.push_async_exit(desk.ending)
        if command:
            try:
                processes.append(await _start(*command, process_group=guard.pid))
            except OSError as error:
                raise UsageError(f"cannot run {command[0]!r} on the virtual desk: {error.strerror}") from None
        desk.ending = opened.pop_all()
        return desk


async def _start_xvfb(size: tuple[int, int], authority: Path, group: int, processes: list[Process]) -> str:
    """The new display's name, once it can be connected to. The process is added to `processes` at once."""
    log = authority.with_name("Xvfb.log")
    width, height = size
    with log.open("wb") as errors:
        xvfb = await _start(
            "Xvfb", "-displayfd", "1", "-screen", "0", f"{width}x{height}x24", "-auth", str(authority),
            "-nolisten", "tcp", "-noreset", "-s", "0", "-dpi", "96",
            "+extension", "DAMAGE", "+extension", "XTEST", "+extension", "RANDR", "+extension", "XFIXES",
            stdout=PIPE, stderr=errors.fileno(), process_group=group,
        )  # fmt: skip
    processes.append(xvfb)
    assert xvfb.stdout is not None
    try:
        async with asyncio.timeout(START):
            number = (await xvfb.stdout.readline()).decode("ascii", "replace").strip()
    except TimeoutError:
        raise NexusError(f"Xvfb was not ready after {START:.0f} seconds; is the machine overloaded?") from None
    if not number:
        said = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        raise NexusError(f"Xvfb did not start: {said[-1].strip() if said else 'it said nothing'}")
    return f":{number}"


async def _start(
    *argv: str, stdin: int = DEVNULL, stdout: int = DEVNULL, stderr: int = DEVNULL, process_group: int
) -> Process:
    return await asyncio.create_subprocess_exec(
        *argv, stdin=stdin, stdout=stdout, stderr=stderr, process_group=process_group
    )


async def _end(group: int, processes: list[Process]) -> None:
    """Ask the group to end, then make it, and reap all that was started here. `processes` begins with the guard."""
    guard, *others = processes
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGTERM)
    with suppress(TimeoutError):
        async with asyncio.timeout(GRACE):
            await asyncio.gather(*(process.wait() for process in others))
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
    if guard.stdin is not None:
        guard.stdin.close()
    await asyncio.gather(*(process.wait() for process in processes))


def _write_authority(path: Path) -> None:
    """An Xauthority file with one fresh cookie, good for any display: the number is not known yet.

    The format is Xau's: family, address, display number, name, data; all but the first counted in 16 bits.
    """
    wild = 0xFFFF
    fields = (b"", b"", b"MIT-MAGIC-COOKIE-1", secrets.token_bytes(16))
    entry = struct.pack(">H", wild) + b"".join(struct.pack(">H", len(field)) + field for field in fields)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(entry)


def _set_environment(wanted: dict[str, str], opened: AsyncExitStack) -> None:
    """Set these variables until the stack unwinds. WAYLAND_DISPLAY goes: programs would prefer it to DISPLAY."""
    for name, value in {**wanted, "WAYLAND_DISPLAY": None}.items():
        opened.callback(_put_variable, name, os.environ.get(name))
        _put_variable(name, value)


def _put_variable(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
