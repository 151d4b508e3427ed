"""``nexus-tui demo``: everything on one machine from one command, and nothing of it left afterwards."""

from __future__ import annotations

import os
import re
import select
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from .harness import SIZE, Traces, environment, needed, python
from .terminal import DEADLINE, Terminal

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

    def running(self, name: str) -> bool:
        return any(name in command for command in self._traces.processes().values())


@contextmanager
def demo(folder: Path, *arguments: str, **changes: str) -> Iterator[Demo]:
    running = Demo(folder, *arguments, changes=changes)
    with running.terminal:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder for temporary files, empty."""
    (folder := tmp_path / "tmp").mkdir()
    return folder


def wait_desktop(terminal: Terminal) -> None:
    terminal.wait(lambda screen: screen.shows("demo  live") and screen.area_of([BACKGROUND]), "the demo's desktop")


def test_the_demo_shows_a_desktop_and_leaves_nothing(folder: Path) -> None:
    """A live desktop with a window on it; Ctrl+Q exits 0, and all processes and files are gone."""
    needed("Xvfb")
    with demo(folder, "--size", "640x480") as shown:
        wait_desktop(shown.terminal)
        assert shown.running("Xvfb")
        assert shown.running("relay")
        assert shown.running("nexus_agent")
        with shown.watching_its_end():
            shown.terminal.send("\x11")
            assert shown.terminal.ended() == 0
    assert "Traceback" not in shown.terminal.look(lambda screen: screen.text)


@pytest.mark.parametrize("how", ["terminated", "hung up", "killed"])
def test_a_demo_that_is_ended_leaves_nothing(folder: Path, how: str) -> None:
    """SIGTERM, a closed terminal, even SIGKILL: everything that was started ends, and the files go."""
    needed("Xvfb")
    with demo(folder, "--size", "640x480") as shown:
        wait_desktop(shown.terminal)
        with shown.watching_its_end():
            match how:
                case "terminated":
                    shown.terminal.process.terminate()
                case "hung up":
                    shown.terminal.hang_up()
                case "killed":
                    shown.terminal.process.kill()
            shown.terminal.process.wait(DEADLINE)


def test_the_synthetic_demo_needs_nothing_and_has_something_to_approve(folder: Path, tmp_path: Path) -> None:
    """With nothing on PATH but a shell's few tools: a drawn desktop, and a script's click that one key approves."""
    with demo(folder, "--synthetic", PATH=str(bare_path(tmp_path))) as shown:
        shown.terminal.wait_text("demo  live")
        shown.terminal.wait(lambda screen: sum(line.count("▀") for line in screen.display) > 100, "a picture")
        shown.terminal.wait_text("script", "asks to click", "a: approve")
        shown.terminal.wait(lambda screen: re.search(r"\b[1-5]\d s left", screen.text), "the request to stand a while")
        shown.terminal.send("a")
        shown.terminal.wait_text("script click", "done")
        with shown.watching_its_end():
            shown.terminal.send("\x11")
            assert shown.terminal.ended() == 0


def test_a_demo_without_an_x_server_says_so_and_goes_on(folder: Path, tmp_path: Path) -> None:
    """Without Xvfb the synthetic desk is shown, and the line that says so names the package."""
    with demo(folder, PATH=str(bare_path(tmp_path))) as shown:
        shown.terminal.wait_text("sudo apt install xvfb", "synthetic desk")
        shown.terminal.wait_text("demo  live")


def bare_path(tmp_path: Path) -> Path:
    """A folder of programs without an X server among them."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "rm", "sleep"):
        (folder / name).symlink_to(needed(name))
    assert shutil.which(Path(sys.executable).name, path=str(folder)) is None
    return folder
