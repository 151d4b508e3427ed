"""The programs that a measurement starts: each in a process group of its own, all of them ended with the block."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import TypeVar

ROOT = Path(__file__).resolve().parent.parent
START = 30.0
"""Seconds that a program may take until it is ready."""
GRACE = 3.0

T = TypeVar("T")


class Failed(Exception):
    """A program could not be measured; the text says why."""


class Programs:
    """``with Programs() as programs:`` what was started inside is gone afterwards, and its private folder too.

    One at a time: whatever children this process has at the end are taken for what the programs left behind.
    """

    def __init__(self) -> None:
        self._opened = ExitStack()
        self._number = 0
        _adopt()
        self._opened.callback(_end_orphans)
        self.folder = Path()

    def __enter__(self) -> Programs:
        self.folder = Path(self._opened.enter_context(tempfile.TemporaryDirectory(prefix="nexus-bench-")))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._opened.close()

    def start(
        self,
        argv: Sequence[str],
        *,
        display: str = "",
        terminal: int | None = None,
        environment: dict[str, str] | None = None,
    ) -> Running:
        """Start it with its output in a file, or on ``terminal``, a pty's descriptor."""
        self._number += 1
        log = self.folder / f"{self._number}-{Path(argv[0]).name}.log"
        settings = os.environ | {"LC_ALL": "C.UTF-8", "TERM": "xterm-256color"} | (environment or {})
        settings.pop("TMUX", None)
        settings.pop("DISPLAY", None)
        if display:
            settings["DISPLAY"] = display
        if missing := missing_of(argv[:1]):
            raise Failed(missing)
        with log.open("wb") as output:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL if terminal is None else terminal,
                stdout=output if terminal is None else terminal,
                stderr=output if terminal is None else terminal,
                cwd=ROOT,
                env=settings,
                start_new_session=True,
            )
        self._opened.callback(_end, process)
        return Running(Path(argv[0]).name, process, log)

    def run(self, argv: Sequence[str]) -> str:
        """What a program prints that ends by itself."""
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=START)
        if done.returncode:
            raise Failed(f"{' '.join(argv[:4])} … ended with status {done.returncode}: {done.stderr.strip()}")
        return done.stdout


class Running:
    """A program that was started, and the file of what it says."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self._process = process
        self._log = log

    def said(self, pattern: str) -> str:
        """Wait for a line like this regular expression, and return what its group matched."""

        def find() -> str | None:
            text = self._log.read_text(errors="replace")
            whole_lines = text[: text.rfind("\n") + 1]  # the last may be half written
            if found := re.search(f"^{pattern}$", whole_lines, re.MULTILINE):
                return found.group(1)
            self.check()
            return None

        return await_value(find, f"a line like {pattern!r} of {self.name}")

    def check(self) -> None:
        """Raises Failed when the program has ended."""
        status = self._process.poll()
        if status is not None:
            said = self._log.read_text(errors="replace").strip().splitlines()
            raise Failed(f"{self.name} ended with status {status}: {said[-1] if said else 'it said nothing'}")


def missing_of(names: Iterable[str]) -> str:
    """Says which of these programs are not installed; empty when all are."""
    missing = [name for name in names if shutil.which(name) is None]
    return f"not installed: {', '.join(missing)}" if missing else ""


def await_value(look: Callable[[], T | None], what: str, timeout: float = START) -> T:
    """Look until there is something. Raises Failed."""
    deadline = time.monotonic() + timeout
    while (found := look()) is None:
        if time.monotonic() > deadline:
            raise Failed(f"waited {timeout:.0f} s in vain for {what}")
        time.sleep(0.05)
    return found


def _end(process: subprocess.Popen[bytes]) -> None:
    for number, patience in ((signal.SIGTERM, GRACE), (signal.SIGKILL, None)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience)


def _adopt() -> None:
    """What outlives its parent, as what runs in an xterm does, becomes a child of this process: prctl(2)."""
    pr_set_child_subreaper = 36
    ctypes.CDLL(None).prctl(pr_set_child_subreaper, 1, 0, 0, 0)


def _end_orphans() -> None:
    deadline = time.monotonic() + GRACE
    with suppress(ChildProcessError):
        while True:
            if os.waitpid(-1, os.WNOHANG)[0]:
                continue
            if time.monotonic() > deadline:
                for child in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
                    os.kill(int(child), signal.SIGKILL)
            time.sleep(0.02)
