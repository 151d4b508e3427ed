"""PyAutoGUI behind the same interface, in a process of its own: it binds to a display when it is imported."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

xproto: Any = import_module("xcffib.xproto")

DRIVE = """
from nexus_agent.input import gestures
from nexus_agent.input.pyautogui_input import PyAutoGuiInput
from nexus_protocol.errors import NexusError
from nexus_protocol.keys import parse_chord
from nexus_protocol.vocabulary import Button

try:
    driver = PyAutoGuiInput()
except NexusError as error:
    print("error:", error)
    raise SystemExit
gestures.click(driver, 123, 145, Button.RIGHT)
gestures.scroll(driver, 123, 145, 0, 2)
driver.chord(parse_chord("ctrl+c"))
driver.text("ab")
try:
    driver.text("fine until é")
except NexusError as error:
    print("refused:", error)
driver.button(Button.LEFT, True)
driver.release_all()
driver.close()
"""


def has_tkinter() -> bool:
    """Whether tkinter works: its package may be there without the library."""
    return subprocess.run([sys.executable, "-c", "import tkinter"], capture_output=True, check=False).returncode == 0


def drive(environment: dict[str, str]) -> str:
    done = subprocess.run([sys.executable, "-c", DRIVE], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_drives_a_real_display(client: Any, display: str, tmp_path: Path) -> None:
    """Clicks, wheel, chords and plain text arrive; text it cannot type is refused before anything is typed."""
    authority = tmp_path / "Xauthority"  # its X library wants such a file even where the server asks for none
    authority.touch()
    said = drive({**os.environ, "DISPLAY": display, "XAUTHORITY": str(authority)})
    if not has_tkinter():
        # A part of it ends the whole program then; the reason must have been said instead.
        assert said.startswith("error: PyAutoGUI cannot drive this desktop")
        return
    assert "refused: these characters cannot be typed on this platform, so nothing was: é" in said
    client.wait(lambda: len(client.seen(xproto.ButtonReleaseEvent)) == 4)
    press = client.seen(xproto.ButtonPressEvent)
    assert [event.detail for event in press] == [3, 5, 5, 1]
    assert (press[0].event_x, press[0].event_y) == (23, 65)
    assert [event.detail for event in client.seen(xproto.KeyPressEvent)] == [37, 54, 38, 56]


def test_without_a_display_it_says_so() -> None:
    """One line, whatever its import does."""
    environment = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    said = drive(environment)
    assert said.startswith("error: PyAutoGUI cannot drive this desktop")
    assert len(said.splitlines()) == 1
