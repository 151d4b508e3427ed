"""`nexus-tui demo`: a relay, an agent on a desktop of its own, a script that asks for something, and the console.

Everything lives in one private folder and one process group. The group is led by a guard, a shell that waits for
the end of a pipe which only this process holds: however the console ends, everything it started ends too.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path

import click

from nexus_protocol.errors import NexusError
from nexus_protocol.invitation import Invitation
from nexus_protocol.settings import state_dir

from .commandline import PROGRAM, Settings
from .console import load_screen, run_console
from .core.membership import Membership
from .joining import accept

DESK = "demo"
READY_TIMEOUT = 30.0
GRACE = 3.0
ASK_AFTER = 3.0
"""Seconds after which the demo's script asks for its click: time to see the desk first."""

# $1 is the demo's private folder. The guard outlives its own SIGTERM, so that it can still kill what ignored it.
_GUARD = 'trap "" TERM; read -r _; kill -TERM 0; sleep 3; rm -rf -- "$1"; kill -KILL 0'

# A desktop with a window manager and a few real applications; whatever is not installed is left out.
_DESKTOP = r"""
run() { command -v "$1" >/dev/null && "$@" & }
export LC_ALL=C.UTF-8
run xsetroot -solid '#2e3a59'
run openbox
font="-fa Monospace -fs 12"
run xterm $font -geometry 72x20+24+44 -T 'Terminal' -bg '#1d2129' -fg '#e6e6e6' -cr '#ffd700' -e sh -c '
printf "\033[1;38;5;214m\n"
printf "   ██   ██  ███████  ██   ██  ██   ██   █████\n"
printf "   ███  ██  ██        ██ ██   ██   ██  ██   ██\n"
printf "   ██ █ ██  █████      ███    ██   ██   ████\n"
printf "   ██  ███  ██        ██ ██   ██   ██      ███\n"
printf "   ██   ██  ███████  ██   ██   █████   ██████\n\n"
printf "\033[0m   A desktop of its own, only for this demo.\n   Press Enter in the console, then type here.\n\n"
exec "${SHELL:-sh}"'
run xterm $font -geometry 72x12+24+480 -T 'Processes' -bg '#0d2b1f' -fg '#9fe6b8' -e top -d 2
run xclock -geometry 240x240-40+44 -bg '#f5e6c8' -hd '#8a3324' -hl '#8a3324' -update 1
run xcalc -geometry 240x320-40+400
wait
"""


async def run_demo(*, size: str, synthetic: bool) -> int:
    """The exit status, when the person has quit. Raises NexusError when a part does not start."""
    if not synthetic and shutil.which("Xvfb") is None:
        click.echo("nexus-tui: no Xvfb here (sudo apt install xvfb); showing the synthetic desk instead", err=True)
        synthetic = True
    async with _group() as (start, folder):
        relay_state, agent_state = (("--state-dir", str(folder / name)) for name in ("relay", "agent"))
        loading = asyncio.create_task(asyncio.to_thread(load_screen), name="demo-screen")
        # Links are secrets: none is on a command line. This one waits for its own, and has been loaded by then.
        joining = await start("nexus_agent", "join", "-", *agent_state, stdin=PIPE)
        await _finish(await start("relay", *relay_state, "init"))
        relay = await start("relay", *relay_state, "serve", "--listen", "127.0.0.1:0")
        url = (await _line(relay, "listening on ")).removeprefix("listening on ")
        invited = await _finish(await start("relay", *relay_state, "invite", "--desk", DESK, "--url", url))
        await _finish(joining, f"{_link(invited)}\n")

        async def come(name: str, role: str) -> Membership:
            """Somebody who comes to the desk by an invitation of its own."""
            wanted = ("--name", name, "--role", role)
            invited = await _finish(await start("nexus_agent", "invite", *wanted, *agent_state))
            return await accept(Invitation.parse(_link(invited)), state_dir(PROGRAM, str(folder / name)))

        desk = ("--synthetic",) if synthetic else ("--virtual", size, "--", "sh", "-c", _DESKTOP)
        agent = await start("nexus_agent", "run", *agent_state, *desk)
        me, _, _ = await asyncio.gather(come("you", "operator"), _line(agent, "serving "), loading)
        settings = Settings(membership=me, accept_new=False, desk=DESK, keys={}, notes=())

        async def ask() -> None:
            """A script that wants to click on the desk, so that there is something to approve."""
            await asyncio.sleep(ASK_AFTER)
            await come("script", "automation")
            state = ("--state-dir", str(folder / "script"))
            await (await start("nexus_tui", "action", DESK, "click", "300", "200", *state)).wait()

        asking = asyncio.create_task(ask(), name="demo-script")
        try:
            await run_console(settings, DESK, view_only=False)
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
    return 0


class Start:
    """Starts one of our programs in the demo's process group, its errors kept in the demo's folder."""

    def __init__(self, group: int, folder: Path) -> None:
        self._group = group
        self._errors = folder / "errors.log"
        self.processes: list[Process] = []

    async def __call__(self, module: str, *arguments: str, stdin: int = DEVNULL) -> Process:
        with self._errors.open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", module, *arguments,
                stdin=stdin, stdout=PIPE, stderr=errors.fileno(), process_group=self._group,
            )  # fmt: skip
        self.processes.append(process)
        return process

    def last_error(self) -> str:
        lines = self._errors.read_text(errors="replace").splitlines() if self._errors.exists() else []
        return lines[-1] if lines else "it said nothing"


@contextlib.asynccontextmanager
async def _group() -> AsyncIterator[tuple[Start, Path]]:
    """A process group and a private folder; at the end both are gone."""
    folder = Path(tempfile.mkdtemp(prefix="nexus-demo-"))
    guard = await asyncio.create_subprocess_exec(
        "sh", "-c", _GUARD, "nexus-demo-guard", str(folder), stdin=PIPE, stdout=DEVNULL, process_group=0
    )
    start = Start(guard.pid, folder)
    try:
        yield start, folder
    except _Failed as failed:
        raise NexusError(f"the demo's {failed} did not start: {start.last_error()}") from None
    finally:
        await _end(guard, start.processes)
        shutil.rmtree(folder, ignore_errors=True)


async def _end(guard: Process, processes: list[Process]) -> None:
    """Ask everything to end, then make it, and reap it all."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(guard.pid, signal.SIGTERM)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(GRACE):
            await asyncio.gather(*(process.wait() for process in processes))
    with contextlib.suppress(ProcessLookupError):
        os.killpg(guard.pid, signal.SIGKILL)
    await asyncio.gather(*(process.wait() for process in (guard, *processes)))


class _Failed(Exception):
    """A program ended, or was silent for too long, before it was ready; the argument says which."""


async def _finish(process: Process, said: str = "") -> str:
    """What a program prints until it ends, after it was told what ``said`` is."""
    output, _ = await process.communicate(said.encode() or None)
    if process.returncode:
        raise _Failed("first steps")
    return output.decode()


def _link(invited: str) -> str:
    """The invitation in the line that `invite` prints."""
    return invited.rsplit(maxsplit=1)[-1]


async def _line(process: Process, start: str) -> str:
    """The first line of standard output that starts so."""
    assert process.stdout is not None
    try:
        async with asyncio.timeout(READY_TIMEOUT):
            async for line in process.stdout:
                if (text := line.decode("utf-8", "replace").strip()).startswith(start):
                    return text
    except TimeoutError:
        pass
    raise _Failed("relay" if start == "listening on " else "agent")
