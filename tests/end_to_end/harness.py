"""The three programs as their users start them: processes with arguments, output, exit status, and an end.

What a program shows in a terminal is terminal.py's; what is on the X display of a desk is xdisplay.py's.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from threading import Condition, Thread
from typing import IO, NamedTuple, Self

import pytest

from nexus_protocol.vocabulary import Role
from relay import tokens

from .terminal import DEADLINE, Terminal

ROOT = Path(__file__).resolve().parents[2]
SIZE = (120, 36)
"""Columns and rows of a console, unless a test wants others."""


def needed(program: str) -> str:
    """The path of a system program; without it the test is skipped, which CI takes for a failure."""
    if (path := shutil.which(program)) is None:
        pytest.skip(f"{program} is not installed; scripts/system-packages names its package")
    return path


def environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment, less what would point a program at somebody's desktop, relay or state."""
    inherited = ("DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "TMUX", "NO_COLOR")
    kept = {k: v for k, v in os.environ.items() if k not in inherited and not k.startswith(("NEXUS_", "XDG_"))}
    return kept | {"PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"} | dict(changes or {})


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs one of our programs."""
    return [sys.executable, "-m", module, *arguments]


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
            self._heard.notify_all()

    def said(self, name: str = "out") -> str:
        with self._heard:
            return "".join(self._lines[name])

    def line(self, fits: Callable[[str], bool] | str, name: str = "out") -> str:
        """Wait for the first line that fits, or starts so."""
        condition = fits if callable(fits) else lambda line: line.startswith(fits)

        def found() -> str | None:
            return next((line for line in self._lines[name] if condition(line)), None)

        reader = self._readers[name == "error"]
        with self._heard:
            self._heard.wait_for(lambda: found() or not reader.is_alive(), DEADLINE)
            line = found()
        assert line is not None, f"waited in vain for {fits!r}; it said:\n{self.said('out')}{self.said('error')}"
        return line.strip()

    def ended(self) -> Done:
        """Wait for its own end."""
        status = self.process.wait(DEADLINE)
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
        try:
            done = self.stop()
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            for reader in self._readers:
                reader.join(DEADLINE)
        if kind is None:
            assert "Traceback" not in done.error, done.error


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


@dataclass(frozen=True)
class Person:
    """Somebody with a token: what a program run by them needs on its command line."""

    name: str
    url: str
    token: Path
    folder: Path

    @property
    def options(self) -> tuple[str, ...]:
        return ("--relay", self.url, "--token-file", str(self.token), "--state-dir", str(self.folder))

    def act(self, desk: str, *action: str) -> Done:
        """``nexus-tui action``, to its end."""
        with self.acting(desk, *action) as program:
            return program.ended()

    def acting(self, desk: str, *action: str) -> Program:
        """``nexus-tui action``, under way. The options stand before the arguments, which may follow a ``--``."""
        return Program("nexus_tui", "action", desk, action[0], *self.options, *action[1:])

    def console(self, *arguments: str, size: tuple[int, int] = SIZE) -> Terminal:
        """``nexus-tui connect`` in a terminal."""
        return Terminal(self.command("connect", *arguments), environment(), size)

    def command(self, name: str, *arguments: str) -> list[str]:
        """``nexus-tui`` with their options."""
        return python("nexus_tui", name, *arguments, *self.options)


class Relay:
    """A relay with a key of its own. It can be stopped and started again at the same address."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self._listen = "127.0.0.1:0"
        self._made = 0
        done = run("relay", *self._state, "init")
        assert done.status == 0, done.error
        self.start()

    @property
    def _state(self) -> tuple[str, str]:
        return ("--state-dir", str(self.folder / "state"))

    def start(self) -> None:
        self.program = Program("relay", *self._state, "serve", "--listen", self._listen)
        self.url = self.program.line("listening on ").removeprefix("listening on ")
        self._listen = self.url.removeprefix("ws://")

    def stop(self) -> None:
        done = self.program.stop()
        assert (done.status, done.error) == (0, "")

    def key(self) -> bytes:
        return tokens.load_key(self.folder / "state")

    def token(self, *options: str) -> str:
        """``nexus-relay token``."""
        done = run("relay", *self._state, "token", *options)
        assert (done.status, done.error) == (0, "")
        return done.out

    def person(self, name: str, role: Role, *desks: str) -> Person:
        """Somebody new with a token for these desks, or all, and a state folder of their own."""
        return self.holder(name, tokens.mint(self.key(), role, name, desks or "*"))

    def holder(self, name: str, token: str) -> Person:
        """Somebody who holds this token, whatever it is worth."""
        self._made += 1
        folder = self.folder / f"{self._made}-{name}"
        folder.mkdir(mode=0o700)
        file = folder / "its.token"
        file.touch(mode=0o600)
        file.write_text(token, encoding="utf-8")
        return Person(name, self.url, file, folder)

    def agent(self, desk: str, *options: str, policy: str = "") -> Program:
        """``nexus-agent run``, once it serves its desk."""
        holder = self.person(desk, Role.AGENT, desk)
        (holder.folder / "policy.toml").write_text(policy, encoding="utf-8")
        agent = Program("nexus_agent", "run", *holder.options, *options)
        try:
            agent.line("serving desk ")
        except BaseException:
            agent.stop()
            raise
        return agent

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        with self.program:
            pass


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
