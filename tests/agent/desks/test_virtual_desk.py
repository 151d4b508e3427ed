"""A desk of our own: nobody else gets in, and nothing of it outlives the agent, however the agent ends."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from nexus_agent.desks import open_desk
from nexus_protocol.errors import NexusError, Unreachable, UsageError

xcffib: Any = import_module("xcffib")
xproto: Any = import_module("xcffib.xproto")
DEADLINE = 20.0

AGENT = """
import asyncio, sys
from nexus_agent.desks import open_desk

async def main():
    await open_desk(virtual=(320, 240), command=["sh", "-c", "sleep 600 & echo > $1; wait", "sh", sys.argv[1]])
    await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the desks of one test keep their private folders: its name tells their processes from all others."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


@pytest.fixture
def ready(tmp_path: Path) -> Path:
    """A pipe that a started program writes a line to when it has started its child."""
    fifo = tmp_path / "ready"
    os.mkfifo(fifo)
    return fifo


def private_folders(folder: Path) -> list[Path]:
    return list(folder.glob("nexus-desk-*"))


def is_private(path: Path) -> bool:
    return path.stat().st_mode & 0o077 == 0


def processes_with(text: str, program: str = "") -> list[int]:
    """Running processes, of that program, whose command line or environment names this text."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
            mentions = text.encode() in command + (folder / "environ").read_bytes() and program.encode() in command
            running = (folder / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            continue
        if mentions and running:
            found.append(int(folder.name))
    return found


async def ended(pid: int) -> None:
    """Wait until the process has ended, whoever reaps it."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    gone = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, gone.set)
    try:
        async with asyncio.timeout(DEADLINE):
            await gone.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


async def test_it_has_its_size_and_its_program() -> None:
    """The command runs on the new display: its window changes the picture."""
    command = ["xterm", "-bg", "#2468ac", "-geometry", "80x24+0+0", "-e", "sleep", "600"]
    desk = await open_desk(virtual=(640, 480), command=command)
    try:
        assert desk.kind == "virtual"
        assert desk.capture.size == (640, 480)
        changed = asyncio.Event()
        desk.capture.watch(changed.set)
        async with asyncio.timeout(DEADLINE):
            while (await asyncio.to_thread(desk.capture.grab))[200, 200, :3].tolist() != [0xAC, 0x68, 0x24]:
                await changed.wait()
                changed.clear()
    finally:
        await desk.close()


async def test_closing_ends_and_reaps_everything(folder: Path, ready: Path) -> None:
    """Xvfb, the program, its background child and the private folder are gone; the environment is as before."""
    before = {name: os.environ.get(name) for name in ("DISPLAY", "XAUTHORITY")}
    stubborn = "trap '' TERM; sleep 600 & echo > $1; wait"
    desk = await open_desk(virtual=(320, 240), command=["sh", "-c", stubborn, "sh", str(ready)])
    await asyncio.to_thread(ready.read_bytes)
    assert len(processes_with(str(folder))) >= 4, "guard, Xvfb, sh and sleep"
    pids = processes_with(str(folder))
    await desk.close()
    await desk.close()
    for pid in pids:
        if pid != os.getpid():
            await ended(pid)
    assert private_folders(folder) == []
    assert {name: os.environ.get(name) for name in before} == before


async def test_nobody_without_the_cookie_can_connect() -> None:
    """Not even the same user; and the cookie can be read by its owner only."""
    desk = await open_desk(virtual=(320, 240))
    try:
        authority = Path(desk.environment["XAUTHORITY"])
        assert is_private(authority)
        assert is_private(authority.parent)
        attempt = [sys.executable, "-c", "import xcffib, xcffib.xproto, sys; xcffib.connect(sys.argv[1])"]
        for cookie, status in ((str(authority), 0), (os.devnull, 1)):
            process = await asyncio.create_subprocess_exec(
                *attempt, desk.environment["DISPLAY"], env={**os.environ, "XAUTHORITY": cookie},
                stderr=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
            assert await process.wait() == status
    finally:
        await desk.close()


async def test_a_killed_agent_leaves_nothing(folder: Path, ready: Path) -> None:
    """SIGKILL leaves the agent no chance to clean up; Xvfb, the program and its child end all the same."""
    agent = await asyncio.create_subprocess_exec(sys.executable, "-c", AGENT, str(ready))
    try:
        await asyncio.to_thread(ready.read_bytes)
        (desk_folder,) = private_folders(folder)
        others = [pid for pid in processes_with(str(desk_folder)) if pid != agent.pid]
        assert len(others) >= 4, "guard, Xvfb, sh and sleep"
    finally:
        agent.send_signal(signal.SIGKILL)
        await agent.wait()
    for pid in others:
        await ended(pid)
    assert private_folders(folder) == []


async def test_a_dying_xvfb_is_told() -> None:
    """The desk is lost, in one line, and can still be closed."""
    desk = await open_desk(virtual=(320, 240))
    lost: asyncio.Queue[NexusError] = asyncio.Queue()
    desk.capture.on_lost = lost.put_nowait
    (xvfb,) = processes_with(desk.environment["XAUTHORITY"], program="Xvfb")
    os.kill(xvfb, signal.SIGKILL)
    async with asyncio.timeout(DEADLINE):
        assert "went away" in str(await lost.get())
    await desk.close()


async def test_a_command_that_is_not_there_is_said_and_nothing_stays(folder: Path) -> None:
    """A usage error that names it; the Xvfb started for it is gone."""
    with pytest.raises(UsageError, match="cannot run 'no-such-program' on the virtual desk: No such file"):
        await open_desk(virtual=(320, 240), command=["no-such-program"])
    assert private_folders(folder) == []
    assert processes_with(str(folder / "nexus-desk-")) == []


async def test_a_missing_xvfb_is_said_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line with the command that helps."""
    monkeypatch.setenv("PATH", os.devnull)
    with pytest.raises(NexusError, match="apt install xvfb"):
        await open_desk(virtual=(320, 240))


async def test_no_display_is_said_with_what_to_do_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a missing DISPLAY nor a dead one is a traceback."""
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(Unreachable, match=r"DISPLAY is not set.*--virtual.*--synthetic"):
        await open_desk()
    with pytest.raises(Unreachable, match=r"cannot connect to the X server of :4711.*--virtual.*--synthetic"):
        await open_desk(display=":4711")
