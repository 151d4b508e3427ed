"""``nexus-tui demo``: everything on one machine from one command, and nothing of it left afterwards."""

from __future__ import annotations

import os
import re
import select
import signal
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from .harness import SIZE
from .processes import DEADLINE, Traces, end_of, environment, needed, python
from .terminal import Terminal

CTRL_Q = "\x11"
BACKGROUND = (46, 58, 89)
"""What the demo's desktop is painted with."""


class Demo:
    """A demo in a terminal, and all that it starts and leaves."""

    def __init__(self, folder: Path, *arguments: str, changes: Mapping[str, str]) -> None:
        self._traces = Traces()
        self._folder = folder
        command = python("nexus_tui", "demo", *arguments)
        marked = environment({**self._traces.environment, "TMPDIR": str(folder), **changes})
        self.terminal = Terminal(command, marked, SIZE)

    @contextmanager
    def watching_its_end(self) -> Iterator[None]:
        """At the end of the block every process that ran at its begin has to end, and to leave nothing."""
        with ExitStack() as watched:
            waiting = {}
            for process, command in self._traces.processes().items():
                try:
                    descriptor = os.pidfd_open(process)
                except ProcessLookupError:
                    continue
                watched.callback(os.close, descriptor)
                waiting[descriptor] = command
            yield
            while waiting:
                ended, _, _ = select.select(list(waiting), [], [], DEADLINE)
                assert ended, f"still there: {sorted(waiting.values())}"
                for descriptor in ended:
                    del waiting[descriptor]
        assert not self._traces.processes()
        assert not list(self._folder.glob("nexus*"))  # an xterm that is killed leaves a file of its own

    def end_what_is_left(self) -> None:
        """For a test that has failed: nothing of it may stay on this machine."""
        for process in self._traces.processes():
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def running(self, name: str) -> bool:
        return any(name in command for command in self._traces.processes().values())


@contextmanager
def demo(folder: Path, *arguments: str, **changes: str) -> Iterator[Demo]:
    running = Demo(folder, *arguments, changes=changes)
    try:
        with running.terminal:
            yield running
    finally:
        running.end_what_is_left()


@pytest.fixture
def bare_path(tmp_path: Path) -> str:
    """A PATH of one folder with a few programs, and no X server among them."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "rm", "sleep"):
        (folder / name).symlink_to(needed(name))
    return str(folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder for temporary files, empty."""
    (folder := tmp_path / "tmp").mkdir()
    return folder


def wait_desktop(terminal: Terminal) -> None:
    terminal.wait(lambda screen: screen.shows("demo  live") and screen.area_of([BACKGROUND]), "the demo's desktop")


def wait_drawn_desktop(terminal: Terminal) -> None:
    terminal.wait(
        lambda screen: screen.shows("demo  live") and sum(line.count("▀") for line in screen.display) > 100,
        "the drawn desktop",
    )


def test_the_demo_shows_a_desktop_and_leaves_nothing(folder: Path) -> None:
    """A live desktop with a window on it; Ctrl+Q exits 0, and all processes and files are gone."""
    needed("Xvfb")
    with demo(folder, "--size", "640x480") as shown:
        wait_desktop(shown.terminal)
        assert shown.running("Xvfb")
        assert shown.running("relay")
        assert shown.running("nexus_agent")
        with shown.watching_its_end():
            shown.terminal.send(CTRL_Q)
            assert shown.terminal.ended() == 0


def test_demos_that_are_ended_leave_nothing(tmp_path: Path, bare_path: str) -> None:
    """Killed, with an X server; terminated or its terminal closed, with --synthetic and nothing on PATH: all is gone.

    The three run side by side, and so do not touch each other either.
    """
    needed("Xvfb")
    folders = [tmp_path / name for name in ("killed", "terminated", "hung up")]
    for folder in folders:
        folder.mkdir()
    with ExitStack() as running:
        killed = running.enter_context(demo(folders[0], "--size", "640x480"))
        terminated = running.enter_context(demo(folders[1], "--synthetic", PATH=bare_path))
        hung_up = running.enter_context(demo(folders[2], "--synthetic", PATH=bare_path))
        wait_desktop(killed.terminal)
        wait_drawn_desktop(terminated.terminal)
        wait_drawn_desktop(hung_up.terminal)
        with killed.watching_its_end(), terminated.watching_its_end(), hung_up.watching_its_end():
            killed.terminal.process.kill()
            terminated.terminal.process.terminate()
            hung_up.terminal.hang_up()
            for ended in (killed, terminated, hung_up):
                end_of(ended.terminal.process)


def test_without_an_x_server_the_demo_goes_on_and_has_something_to_approve(folder: Path, bare_path: str) -> None:
    """A line names the package and the drawn desktop is shown; a script asks to click, and one key approves it."""
    with demo(folder, PATH=bare_path) as shown:
        shown.terminal.wait_text("sudo apt install xvfb", "synthetic desk")
        wait_drawn_desktop(shown.terminal)
        shown.terminal.wait_text("script", "asks to click", "a: approve")
        shown.terminal.wait(lambda screen: re.search(r"\b[1-5]\d s left", screen.text), "the request to stand a while")
        shown.terminal.send("a")
        shown.terminal.wait_text("script click", "done")
        with shown.watching_its_end():
            shown.terminal.send(CTRL_Q)
            assert shown.terminal.ended() == 0


def test_no_invitation_is_on_a_command_line(folder: Path, tmp_path: Path) -> None:
    """Whoever else is on the machine reads those of every process, and would come to the desk first."""
    hooks, commands = tmp_path / "hooks", tmp_path / "commands"
    hooks.mkdir()
    (hooks / "sitecustomize.py").write_text(
        "import os, sys\n"
        "with open(os.environ['COMMANDS'], 'a') as file:\n"
        "    file.write(' '.join(sys.orig_argv[1:]) + chr(10))\n"
    )
    path = f"{hooks}{os.pathsep}{environment()['PYTHONPATH']}"
    with demo(folder, "--synthetic", PYTHONPATH=path, COMMANDS=str(commands)) as shown:
        shown.terminal.wait_text("script", "asks to click")
    started = commands.read_text()
    assert started.count("-m nexus_agent join - ") == 1
    assert started.count("-m nexus_agent invite ") == 2
    assert "/join/" not in started
