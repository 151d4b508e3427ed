"""Our own path without a terminal: from the change on the desk to the decoded picture in the console's event loop.

The relay and the agent are the real programs; this process is the console, up to where it would draw. What is
missing to the glass-to-glass time is the console's drawing and the terminal's.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import defaultdict

from nexus_protocol.messages import Viewport
from nexus_tui.core.geometry import fit, viewport_size
from nexus_tui.core.observer import Silence
from nexus_tui.core.session import Session
from nexus_tui.core.stream import Picture

from .glass import LOST, QUIET, WARM_UP
from .programs import START, Failed, Programs
from .screens import SCREEN, FlipWindow, connected, start_screen
from .setups import COLUMNS, DESK, ROWS, Desk, serve

STAGES = (
    "change → captured",
    "captured → in the console",
    "of which decoding",
    "change → in the console",
)


class Watcher(Silence):
    """Waits for a picture whose middle is white, or black."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._wanted = False
        self._seen: asyncio.Future[dict[str, float]] | None = None
        self._started = 0.0

    def expect(self, white: bool, started: float) -> asyncio.Future[dict[str, float]]:
        """The stages of the picture that shows it, in milliseconds."""
        self._wanted, self._started = white, started
        self._seen = asyncio.get_running_loop().create_future()
        return self._seen

    def on_picture(self, picture: Picture) -> None:
        now = time.monotonic()
        height, width = picture.pixels.shape[:2]
        white = bool(picture.pixels[height // 2, width // 2].mean() > 127)
        if self._seen is None or self._seen.done() or white is not self._wanted:
            return
        total = time.perf_counter() - self._started
        age = self._session.clock.age(picture.rtp, now)
        figures = (float("nan"), float("nan")) if age is None else (total - age, age)
        milliseconds = [1000 * figure for figure in (*figures, picture.decoding, total)]
        self._seen.set_result(dict(zip(STAGES, milliseconds, strict=True)))


def measure(flips: int, seed: int) -> dict[str, list[float]]:
    """Milliseconds of each stage; infinite where a flip never came."""
    with Programs() as programs:
        display = start_screen(programs)
        with connected(display) as connection:
            window = FlipWindow(connection)
            desk = serve(programs, display)
            return asyncio.run(_watch(desk, window, flips, random.Random(seed)))


async def _watch(desk: Desk, window: FlipWindow, flips: int, chance: random.Random) -> dict[str, list[float]]:
    placement = fit(SCREEN, (COLUMNS, ROWS))
    assert placement is not None
    width, height = viewport_size(placement)
    session = Session(desk.membership)
    watcher = session.observer = Watcher(session)
    results: dict[str, list[float]] = defaultdict(list)
    async with session.dialled():
        await session.open(DESK)
        session.look(Viewport(width=width, height=height), (placement.width, placement.height))
        started = watcher.expect(window.white, time.perf_counter())
        session.start()
        try:
            await asyncio.wait_for(started, START)
        except TimeoutError:
            raise Failed("no picture came") from None
        for number in range(-WARM_UP, flips):
            await asyncio.sleep(chance.uniform(*QUIET))
            seen = watcher.expect(not window.white, time.perf_counter())
            window.flip()
            try:
                stages = await asyncio.wait_for(seen, LOST)
            except TimeoutError:
                stages = dict.fromkeys(STAGES, float("inf"))
            if number >= 0:
                for stage, figure in stages.items():
                    results[stage].append(figure)
    return results
