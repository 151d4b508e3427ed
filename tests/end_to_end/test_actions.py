"""``nexus-tui action`` on a real desktop: what a script asks for is done to the pixel and the byte."""

from __future__ import annotations

import json
import os
import random
import select
import struct
from pathlib import Path

import mss
import pytest
from PIL import Image

from nexus_protocol.vocabulary import Role

from .conftest import OFFICE
from .harness import Person, Relay
from .processes import run
from .xdisplay import DESK, Canvas, Mailbox, running_xterm, server_of

WIDTH, HEIGHT = DESK


@pytest.mark.parametrize("place", [(0, 0), (WIDTH - 1, HEIGHT - 1), (123, 321)])
def test_a_click_is_exact_to_the_pixel(ada: Person, office: str, canvas: Canvas, place: tuple[int, int]) -> None:
    """Also in the desk's corners; one press, one release, exit status 0, and nothing said."""
    done = ada.act(office, "click", *map(str, place))
    assert done == (0, "", "")
    canvas.wait_event("release", 1)
    assert canvas.clicks() == [place]


def test_a_double_click_with_another_button(ada: Person, office: str, canvas: Canvas) -> None:
    """Button and count are as asked."""
    assert ada.act(office, "click", "200", "100", "--button", "right", "--count", "2").status == 0
    canvas.wait(lambda events: [e for e in events if e.kind == "release"][1:])
    assert [event[:2] for event in canvas.events() if event.kind != "motion"] == [("press", 3), ("release", 3)] * 2


def test_move_scroll_and_drag_are_exact_to_the_pixel(ada: Person, office: str, canvas: Canvas) -> None:
    """The pointer goes there, the wheel turns there, and a drag goes from its first pixel to its last."""
    assert ada.act(office, "move", "10", "490").status == 0
    canvas.wait(lambda events: ("motion", 0, 10, 490) in events)
    assert ada.act(office, "scroll", "300", "200", "--down", "3").status == 0
    canvas.wait(lambda events: [event for event in events if event.kind == "release"][2:])
    assert [event for event in canvas.events() if event.kind == "press"] == [("press", 5, 300, 200)] * 3
    canvas.forget()
    assert ada.act(office, "drag", "20", "30", "700", "400").status == 0
    canvas.wait_event("release", 1)
    ends = [event for event in canvas.events() if event.kind != "motion"]
    assert ends == [("press", 1, 20, 30), ("release", 1, 700, 400)]


def test_a_screenshot_is_the_screen_pixel_for_pixel(
    ada: Person, office: str, canvas: Canvas, display: str, tmp_path: Path
) -> None:
    """The PNG holds exactly what mss grabs from the same display, of the whole desk and of a region."""
    dice = random.Random(1)
    canvas.paint((12, 34, 56))
    for _ in range(400):
        colour = (dice.randrange(256), dice.randrange(256), dice.randrange(256))
        canvas.paint(colour, dice.randrange(WIDTH), dice.randrange(HEIGHT), dice.randint(1, 90), dice.randint(1, 60))
    whole, part = tmp_path / "whole.png", tmp_path / "part.png"
    assert ada.act(office, "screenshot", "-o", str(whole)) == (0, "", "")
    assert ada.act(office, "screenshot", "-o", str(part), "--region", "101,53,333,77") == (0, "", "")
    with mss.MSS(display=display) as grabber:
        grabbed = grabber.grab({"left": 0, "top": 0, "width": WIDTH, "height": HEIGHT})
    screen = Image.frombytes("RGB", grabbed.size, grabbed.rgb)
    with Image.open(whole) as image:
        assert image.size == DESK
        assert image.convert("RGB").tobytes() == screen.tobytes()
    with Image.open(part) as image:
        assert image.convert("RGB").tobytes() == screen.crop((101, 53, 101 + 333, 53 + 77)).tobytes()


def test_typed_text_and_chords_reach_a_program(
    ada: Person, office: str, display: str, tmp_path: Path, mailbox: Mailbox
) -> None:
    """``type`` and ``key`` end in a real xterm, whatever characters they are made of."""
    file = tmp_path / "typed.txt"
    script = 'echo listening > "$2"; cat > "$1"; echo written > "$2"'
    with running_xterm(display, script, str(file), str(mailbox.path)):
        assert mailbox.line() == "listening"
        assert ada.act(office, "move", "100", "100").status == 0
        assert ada.act(office, "type", "héllo wörld €").status == 0
        assert ada.act(office, "key", "enter").status == 0
        assert ada.act(office, "key", "ctrl+d").status == 0
        assert mailbox.line() == "written"
    assert file.read_text(encoding="utf-8") == "héllo wörld €\n"


def test_a_file_is_written_and_read_back_whole(ada: Person, office: str, tmp_path: Path) -> None:
    """Every byte value, and more than one frame of the relay's."""
    content = bytes(range(256)) * 1024
    source, there, back = tmp_path / "source", tmp_path / "on the desk", tmp_path / "back"
    source.write_bytes(content)
    assert ada.act(office, "write", str(there), "-i", str(source)).status == 0
    assert there.read_bytes() == content
    assert ada.act(office, "read", str(there), "-o", str(back)).status == 0
    assert back.read_bytes() == content


def test_a_command_runs_on_the_desk(ada: Person, office: str, display: str) -> None:
    """With the desk's DISPLAY; its output, its errors and its failure come back."""
    assert ada.act(office, "exec", "--", "sh", "-c", "echo $DISPLAY") == (0, f"{display}\n", "")
    failed = ada.act(office, "exec", "--", "sh", "-c", "echo oh >&2; exit 7")
    assert failed == (1, "", "oh\nnexus-tui: exit status 7\n")


def test_json_tells_everything_in_one_line(ada: Person, office: str) -> None:
    """``--json``: one object with state, output and exit status of the command."""
    done = ada.act(office, "exec", "--json", "--", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (done.status, done.error, done.out.count("\n")) == (1, "", 1)
    record = json.loads(done.out)
    assert len(record.pop("id")) >= 8
    assert record == {
        "action": "execute", "state": "done", "message": "exit status 3", "exit_code": 3, "output": "out\n",
        "stderr": "err\n",
    }  # fmt: skip


def test_the_desks_that_are_there_are_listed(ada: Person, office: str, relay: Relay) -> None:
    """A person sees the desks of their token, as lines or as JSON."""
    assert OFFICE in run("nexus_tui", "desks", *ada.options).out.split()
    mine = relay.person("bob", Role.OPERATOR, OFFICE)
    assert run("nexus_tui", "desks", *mine.options) == (0, f"{OFFICE}\n", "")
    assert json.loads(run("nexus_tui", "desks", "--json", *mine.options).out) == {"desks": [OFFICE]}


def test_an_agent_makes_its_own_display_and_ends_it(relay: Relay, ada: Person, tmp_path: Path) -> None:
    """``--virtual``: a display of that size with the command on it; both are gone with the agent."""
    shot = tmp_path / "shot.png"
    policy = '[defaults]\nexecute = "allow"\n'
    with relay.agent("private", "--virtual", "320x200", "--", "sleep", "600", policy=policy) as agent:
        assert ada.act("private", "screenshot", "-o", str(shot)).status == 0
        assert struct.unpack(">II", shot.read_bytes()[16:24]) == (320, 200)
        asked = ada.act("private", "exec", "--", "sh", "-c", 'echo "$DISPLAY"; echo "$XAUTHORITY"')
        name, authority = asked.out.split()
        assert Path(authority).exists()
        server = os.pidfd_open(server_of(name))
        done = agent.stop()
    ended, _, _ = select.select([server], [], [], 0)  # the display's number may be somebody else's already
    os.close(server)
    assert (done.status, done.error) == (0, "")
    assert not Path(authority).exists()
    assert ended
