"""Drive mode: whatever is typed in the terminal reaches the program on the desk, and nothing of it stays here."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .harness import Person, Relay
from .terminal import Terminal
from .xdisplay import Mailbox, running_xterm, running_xvfb

SHELL = "shell"
LEAVE = "\x1d"
"""Ctrl+], the one key that drive mode keeps for itself."""

# Says that it listens, writes what is typed to a file until Ctrl+D, and says that it is done.
WRITE_FILE = 'echo listening > "$2"; cat > "$1"; echo written > "$2"'
# The same for every single byte that a program in raw mode gets, until there are so many of them.
WRITE_BYTES = 'stty raw -echo; echo listening > "$2"; head -c "$3" > "$1"; echo written > "$2"'
# Says when it is interrupted, whenever that is from the moment it listens; a shell's trap might just miss it.
INTERRUPTED = """
import signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
with open(sys.argv[1], "w", buffering=1) as mailbox:
    print("listening", file=mailbox)
    signal.sigwait({signal.SIGINT})
    print("interrupted", file=mailbox)
"""


@pytest.fixture(scope="module")
def shell_display() -> Iterator[str]:
    with running_xvfb() as name:
        yield name


@pytest.fixture(scope="module")
def console(relay: Relay, ada: Person, shell_display: str) -> Iterator[Terminal]:
    with relay.agent(SHELL, "--display", shell_display), ada.console(SHELL) as terminal:
        terminal.wait_text(f"{SHELL}  live")
        yield terminal


@pytest.fixture
def driver(console: Terminal) -> Iterator[Terminal]:
    """The console in drive mode."""
    console.send("\r")
    console.wait_text("DRIVING")
    yield console
    console.send(LEAVE)
    console.wait_gone("DRIVING")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "typed.txt"


def test_typed_text_lands_in_a_file_exactly(driver: Terminal, shell_display: str, file: Path, mailbox: Mailbox) -> None:
    """Letters, accents, signs of other layouts and Enter, through a real xterm into ``cat``."""
    text = "héllo wörld €\nÅngström ~ [brackets] {braces} \\ | @ # $ % ^ & * 'q' \"Q\"\nñandú ß ÿ Ω ж 日本\n"
    with running_xterm(shell_display, WRITE_FILE, str(file), str(mailbox.path)):
        assert mailbox.line() == "listening"
        driver.send(text.replace("\n", "\r"))
        driver.send("\x04")
        assert mailbox.line() == "written"
    assert file.read_text(encoding="utf-8") == text


def test_a_paste_of_several_lines_arrives_as_text(
    driver: Terminal, shell_display: str, file: Path, mailbox: Mailbox
) -> None:
    """A bracketed paste is typed on the desk as it stands, line ends and tabs included."""
    text = "first line\n\tthe second, with a tab\nünd die dritte €\n\nlast\n"
    with running_xterm(shell_display, WRITE_FILE, str(file), str(mailbox.path)):
        assert mailbox.line() == "listening"
        driver.paste(text)
        driver.send("\x04")
        assert mailbox.line() == "written"
    assert file.read_text(encoding="utf-8") == text


def test_ctrl_c_interrupts_the_desks_program_and_not_the_console(
    driver: Terminal, shell_display: str, mailbox: Mailbox
) -> None:
    """The program on the desk gets the signal; the console drives on."""
    with running_xterm(shell_display, 'exec "$@"', sys.executable, "-c", INTERRUPTED, str(mailbox.path)):
        assert mailbox.line() == "listening"
        driver.send("\x03")
        assert mailbox.line() == "interrupted"
    assert driver.process.poll() is None
    driver.wait_text("DRIVING")


def test_the_consoles_own_keys_reach_the_desk(
    driver: Terminal, shell_display: str, file: Path, mailbox: Mailbox
) -> None:
    """Ctrl+Q, Ctrl+P, letters that are commands, arrows, Tab, Home, Delete and F5 are the desk's in drive mode."""
    # As this terminal sends them, and as xterm passes them on.
    keys = {"\x11": b"\x11", "\x10": b"\x10", "a": b"a", "x": b"x", "?": b"?", "\x1b[A": b"\x1b[A", "\t": b"\t",
            "\x1b[H": b"\x1b[H", "\x1b[3~": b"\x1b[3~", "\x1b[15~": b"\x1b[15~"}  # fmt: skip
    wanted = b"".join(keys.values())
    with running_xterm(shell_display, WRITE_BYTES, str(file), str(mailbox.path), str(len(wanted))):
        assert mailbox.line() == "listening"
        for key in keys:
            driver.send(key)
        assert mailbox.line() == "written"
    assert file.read_bytes() == wanted


def test_no_key_reaches_the_desk_in_command_mode(
    console: Terminal, shell_display: str, file: Path, mailbox: Mailbox
) -> None:
    """Before drive mode and after it keys are commands: only what was typed in between is in the file."""
    with running_xterm(shell_display, WRITE_FILE, str(file), str(mailbox.path)):
        assert mailbox.line() == "listening"
        console.send("zzz")
        console.send("\r")
        console.wait_text("DRIVING")
        console.send("only this\r\x04")
        assert mailbox.line() == "written"
        console.send(LEAVE)
        console.wait_gone("DRIVING")
    assert file.read_text(encoding="utf-8") == "only this\n"
