"""Programs as their users start them: processes with arguments, output, exit status, and an end.

What a program shows in a terminal is terminal.py's; which programs a desk needs, and whose they are, is harness.py's.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from threading import Condition, Thread
from typing import IO, Any, NamedTuple, Self

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 40.0
"""Seconds after which a test stops waiting. Only a failure ever takes so long."""


def needed(program: str) -> str:
    """The path of a system program; without it the test is skipped, which CI takes for a failure."""
    if (path := shutil.which(program)) is None:
        pytest.skip(f"{program} is not installed; scripts/system-packages names its package")
    return path


def environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's, less what names somebody's desktop, relay, state or size of terminal; a warning is an error.

    All but a ResourceWarning: aioice, cancelled while it opens its sockets, leaves them to the garbage collector.
    """
    inherited = ("DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "TMUX", "NO_COLOR", "COLUMNS", "LINES")
    kept = {k: v for k, v in os.environ.items() if k not in inherited and not k.startswith(("NEXUS_", "XDG_"))}
    own = {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error,ignore::ResourceWarning", "LC_ALL": "C.UTF-8"}
    return kept | own | dict(changes or {})


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs one of our programs."""
    return [sys.executable, "-m", module, *arguments]


def end_of(process: subprocess.Popen[Any]) -> int:
    """Wait for a process's own end; its exit status."""
    if process.poll() is None:
        descriptor = os.pidfd_open(process.pid)
        try:
            ended, _, _ = select.select([descriptor], [], [], DEADLINE)
        finally:
            os.close(descriptor)
        assert ended, f"still running: {process.args!r}"
    return process.wait()


def make_end(process: subprocess.Popen[Any], number: int = signal.SIGTERM) -> int:
    """End a process by a signal and, should that not do, for good; its exit status. It may have ended before."""
    process.send_signal(number)
    try:
        return end_of(process)
    finally:
        process.kill()
        process.wait()


class Done(NamedTuple):
    """How a program ended, and everything it said."""

    status: int
    out: str
    error: str


class Program:
    """A running program, not in a terminal. Its output is read as it comes; at the end of the block it is gone."""

    def __init__(self, module: str, *arguments: str, changes: Mapping[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            python(module, *arguments),
            cwd=ROOT, env=environment(changes), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, encoding="utf-8", errors="replace",
        )  # fmt: skip
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._heard = Condition()
        self._lines: dict[str, list[str]] = {"out": [], "error": []}
        self._silent: set[str] = set()
        self._readers = [
            Thread(target=self._read, args=(name, stream), daemon=True)
            for name, stream in (("out", self.process.stdout), ("error", self.process.stderr))
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, name: str, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                with self._heard:
                    self._lines[name].append(line)
                    self._heard.notify_all()
        with self._heard:
            self._silent.add(name)
            self._heard.notify_all()

    def said(self, name: str = "out") -> str:
        with self._heard:
            return "".join(self._lines[name])

    def line(self, fits: Callable[[str], bool] | str, name: str = "out") -> str:
        """Wait for the first line that fits, or starts so."""
        condition = fits if callable(fits) else lambda line: line.startswith(fits)

        def found() -> str | None:
            return next((line for line in self._lines[name] if condition(line)), None)

        with self._heard:
            self._heard.wait_for(lambda: found() or name in self._silent, DEADLINE)
            line = found()
        assert line is not None, f"waited in vain for {fits!r}; it said:\n{self.said('out')}{self.said('error')}"
        return line.strip()

    def ended(self) -> Done:
        """Wait for its own end."""
        status = end_of(self.process)
        for reader in self._readers:
            reader.join(DEADLINE)
        return Done(status, self.said("out"), self.said("error"))

    def stop(self, number: int = signal.SIGTERM) -> Done:
        """End it by a signal, and wait for that."""
        self.process.send_signal(number)
        return self.ended()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        make_end(self.process)
        for reader in self._readers:
            reader.join(DEADLINE)
        if kind is None:
            assert "Traceback" not in self.said("error"), self.said("error")


def run(module: str, *arguments: str, changes: Mapping[str, str] | None = None) -> Done:
    """Run a program to its end."""
    with Program(module, *arguments, changes=changes) as program:
        return program.ended()


def together(*programs: Program) -> list[Done]:
    """Let programs run side by side, each to its end."""
    with ExitStack() as running:
        for program in programs:
            running.enter_context(program)
        return [program.ended() for program in programs]


class Traces:
    """Finds every process that came from one start, however it hid: all of them inherit a mark."""

    def __init__(self) -> None:
        self.mark = f"{os.getpid()}-{time.monotonic_ns()}"
        self.environment = {"END_TO_END": self.mark}

    def processes(self) -> dict[int, str]:
        """Process ids and command lines."""
        found = {}
        for folder in Path("/proc").iterdir():
            try:
                if folder.name.isdigit() and f"END_TO_END={self.mark}".encode() in (folder / "environ").read_bytes():
                    found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except (OSError, ValueError):
                continue  # it has just ended, or is somebody else's
        return found
