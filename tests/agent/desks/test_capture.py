"""Capturing a real X server: the pixels are the screen's, and changes are told when and only when there are any."""

from __future__ import annotations

import asyncio
import io
import subprocess
import threading
from importlib import import_module
from typing import Any

import mss
import numpy as np
import pytest
from PIL import Image

from nexus_agent.capture import DeskLost, polling, screen
from nexus_agent.capture.polling import PollingCapture
from nexus_agent.capture.x11 import X11Capture
from nexus_agent.desks import Desk
from nexus_protocol.actions import Region
from nexus_protocol.errors import NexusError

randr: Any = import_module("xcffib.randr")
DEADLINE = 10.0
STILL = 0.25


class Changes:
    """Counts calls and waits for one."""

    def __init__(self) -> None:
        self.count = 0
        self._event = asyncio.Event()

    def __call__(self) -> None:
        self.count += 1
        self._event.set()

    async def wait(self, deadline: float = DEADLINE) -> None:
        async with asyncio.timeout(deadline):
            await self._event.wait()
        self._event.clear()


async def settled(capture: Any) -> Changes:
    """Watch, and wait until nothing changes any more."""
    changes = Changes()
    capture.watch(changes)
    try:
        while True:
            await changes.wait(STILL)
            await asyncio.to_thread(capture.grab)
    except TimeoutError:
        changes.count = 0
        return changes


def test_grab_equals_what_imagemagick_sees(desk: Desk, client: Any, display: str) -> None:
    """The whole desk, pixel by pixel, as another program captures it."""
    client.paint(0x3366CC, 10, 20, 130, 40)
    picture = subprocess.run(
        ["import", "-display", display, "-window", "root", "png:-"], check=True, capture_output=True
    ).stdout
    expected = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"))
    pixels = desk.capture.grab()
    assert desk.capture.size == (1000, 700)
    assert pixels.shape == (700, 1000, 4)
    assert pixels.flags.c_contiguous
    assert np.array_equal(pixels[..., 2::-1], expected)


def test_region_is_cut_at_the_exact_pixels(desk: Desk, client: Any) -> None:
    """A painted rectangle fills the region of its place and size, and nothing next to it."""
    client.paint(0x000000)
    client.paint(0xFF8000, 7, 11, 30, 20)
    pixels = desk.capture.grab(Region(x=client.x + 6, y=client.y + 10, width=32, height=22))
    assert pixels.shape == (22, 32, 4)
    assert (pixels[1:-1, 1:-1, :3] == (0x00, 0x80, 0xFF)).all()
    for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]):
        assert not edge[..., :3].any()


def test_region_off_the_desk_is_refused(desk: Desk) -> None:
    """The message names the region and the desk's size."""
    with pytest.raises(NexusError, match=r"10×10 at 995,0 leaves the desk of 1000×700"):
        desk.capture.grab(Region(x=995, y=0, width=10, height=10))


async def test_drawing_is_told_and_a_still_desktop_is_not(desk: Desk, client: Any) -> None:
    """One call for each change that follows a grab, and silence otherwise."""
    changes = await settled(desk.capture)
    for colour in (0x112233, 0x445566, 0x778899):
        client.paint(colour)
        await changes.wait()
        assert (await asyncio.to_thread(desk.capture.grab))[200, 300, 0] == colour & 0xFF
    assert changes.count == 3
    with pytest.raises(TimeoutError):
        await changes.wait(STILL)


async def test_a_burst_of_drawing_is_one_call_until_the_next_grab(desk: Desk, client: Any) -> None:
    """However much is drawn, the watcher is called once; and what is drawn after its grab is told again."""
    changes = await settled(desk.capture)
    for colour in range(200):
        client.paint(colour)
    await changes.wait()
    with pytest.raises(TimeoutError):
        await changes.wait(STILL)
    assert changes.count == 1
    await asyncio.to_thread(desk.capture.grab)
    client.paint(0xFFFFFF)
    await changes.wait()


async def test_no_change_is_lost_while_grabs_and_drawing_race(desk: Desk, client: Any) -> None:
    """Whoever grabs when told has, in the end, the last colour that was painted."""
    changes = await settled(desk.capture)
    last = 0

    async def follow() -> None:
        nonlocal last
        while last != 150:
            await changes.wait()
            last = int((await asyncio.to_thread(desk.capture.grab))[200, 300, 0])

    following = asyncio.create_task(follow())
    for colour in range(1, 151):
        await asyncio.to_thread(client.paint, colour)
    async with asyncio.timeout(DEADLINE):
        await following


async def test_unwatch_ends_the_calls(desk: Desk, client: Any) -> None:
    """Nothing is told to somebody who does not watch, and watching can begin again."""
    changes = await settled(desk.capture)
    desk.capture.unwatch(changes)
    client.paint(0xABCDEF)
    with pytest.raises(TimeoutError):
        await changes.wait(STILL)
    changes = await settled(desk.capture)
    client.paint(0xFEDCBA)
    await changes.wait()


async def test_a_new_screen_size_is_told_and_captured(start_xvfb: Any) -> None:
    """RandR makes the desk smaller, then larger: callback, size and grab follow."""
    xcffib: Any = import_module("xcffib")
    with start_xvfb("-screen", "0", "800x600x24") as (name, _):
        capture = X11Capture(name)
        capture.grab()
        sizes: asyncio.Queue[tuple[int, int]] = asyncio.Queue()
        capture.on_resize = lambda *size: sizes.put_nowait(size)
        other = xcffib.connect(name)
        requests = other(randr.key)
        requests.QueryVersion(1, 4).reply()
        root = other.setup.roots[0].root
        for size in ((640, 480), (800, 600)):
            crtc = requests.GetScreenResources(root).reply().crtcs[0]
            requests.SetCrtcConfig(crtc, 0, 0, 0, 0, 0, 1, 0, []).reply()
            requests.SetScreenSizeChecked(root, *size, 200, 150).check()
            async with asyncio.timeout(DEADLINE):
                while await sizes.get() != size:
                    pass
            assert capture.size == size
            assert capture.grab().shape == (size[1], size[0], 4)
        other.disconnect()
        capture.close()


async def test_a_lost_server_is_told_once_and_grabs_say_so(start_xvfb: Any) -> None:
    """The X server is killed: on_lost names the display, later grabs raise DeskLost, closing still works."""
    with start_xvfb() as (name, process):
        capture = X11Capture(name)
        changes = await settled(capture)
        lost: asyncio.Queue[NexusError] = asyncio.Queue()
        capture.on_lost = lost.put_nowait
        process.kill()
        async with asyncio.timeout(DEADLINE):
            error = await lost.get()
        assert str(error) == f"the X server of {name} went away"
        with pytest.raises(DeskLost, match="went away"):
            capture.grab()
        capture.unwatch(changes)
        capture.close()
        assert lost.empty()


async def test_a_server_without_damage_is_polled(start_xvfb: Any, make_client: Any) -> None:
    """Changes are still told, and a still desktop is still silent."""
    with start_xvfb("-extension", "DAMAGE") as (name, _):
        capture = X11Capture(name)
        client = make_client(name)
        changes = await settled(capture)
        client.paint(0x123456)
        await changes.wait()
        capture.close()


@pytest.mark.parametrize("kind", [X11Capture, PollingCapture])
async def test_polling_closes_what_it_opened(
    start_xvfb: Any, monkeypatch: pytest.MonkeyPatch, kind: type[X11Capture] | type[PollingCapture]
) -> None:
    """Watchers come and go on a server without DAMAGE: no connection to it stays behind."""
    looked = threading.Event()
    grab = screen.Screen.grab

    def grab_and_say(self: screen.Screen) -> Any:
        pixels = grab(self)
        looked.set()
        return pixels

    monkeypatch.setattr(screen.Screen, "grab", grab_and_say)
    with start_xvfb("-extension", "DAMAGE") as (name, _):
        capture = kind(display=name)
        before = len(capture._screen._opened)
        for changes in (Changes(), Changes(), Changes()):
            looked.clear()
            capture.watch(changes)
            assert await asyncio.to_thread(looked.wait, DEADLINE)
            assert len(capture._screen._opened) == before + 1
            capture.unwatch(changes)
            assert len(capture._screen._opened) == before
        capture.close()


async def test_polling_reads_the_desks_size_now_and_then(display: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which opens mss anew, so not at each look."""
    capture = PollingCapture(interval=0.001, display=display)
    looks, opened, enough = 0, 0, threading.Event()
    look, fresh = capture._look, mss.MSS

    def counted_look() -> Any:
        nonlocal looks
        looks += 1
        if looks > 2 * polling.LOOKS:
            enough.set()
        return look()

    def counted_open(**options: Any) -> Any:
        nonlocal opened
        opened += not enough.is_set()
        return fresh(**options)

    monkeypatch.setattr(capture, "_look", counted_look)
    monkeypatch.setattr(mss, "MSS", counted_open)
    changes = Changes()
    capture.watch(changes)
    assert await asyncio.to_thread(enough.wait, DEADLINE)
    capture.unwatch(changes)
    capture.close()
    assert opened == 3


async def test_polling_sees_changes(display: str, client: Any) -> None:
    """What other platforms use: a grab at an interval, compared with the one before."""
    capture = PollingCapture(interval=0.02, display=display)
    changes = await settled(capture)
    client.paint(0x654321)
    await changes.wait()
    assert (await asyncio.to_thread(capture.grab))[200, 300, :3].tolist() == [0x21, 0x43, 0x65]
    capture.close()
