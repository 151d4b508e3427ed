"""Glass to glass: from the flip of a window on the desk to the pixel of the viewer's window that shows it.

Setups take turns in rounds, in another order each, every one with its two X servers to itself and nothing else of
ours running: a noisy moment hits all, and a program that polls does not slow down its neighbours. The time between
flips is random, so that no phase of a clock at a fixed rate is met more often than another.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from .programs import Failed, Programs, await_value, missing_of
from .screens import SCREEN, FlipWindow, Glass, connected, start_screen
from .setups import Setup

POLL = 0.0005
"""Seconds between two looks at the pixel."""
QUIET = (0.15, 0.45)
"""Seconds from one flip's appearance to the next flip: at least, at most."""
LOST = 2.0
"""Seconds after which a flip that was not seen counts as lost."""
WARM_UP = 8
CONTRAST = 120
"""How far (of 255) black and white must lie apart on the glass."""
SMALLEST = 400
"""Pixels of the glass that must show the window; fewer may be figures that change in some status line."""
SETTLE = 0.4
"""Seconds until every viewer shows a flip, while the place is looked for."""

Latencies = list[float]
"""Milliseconds; infinite where a flip was not seen."""


def measure(setups: Iterable[Setup], flips: int, rounds: int, seed: int) -> tuple[dict[str, Latencies], dict[str, str]]:
    """Latencies of each setup, and why those are missing that are."""
    setups = tuple(setups)
    chance = random.Random(seed)
    results: dict[str, Latencies] = defaultdict(list)
    problems = {setup.name: missing for setup in setups if (missing := missing_of(setup.needs))}
    for number in range(rounds):
        share = flips * (number + 1) // rounds - flips * number // rounds
        for setup in chance.sample(setups, len(setups)):
            if setup.name in problems:
                continue
            try:
                results[setup.name] += one_round(setup, share, chance)
            except Failed as error:
                problems[setup.name] = str(error)
    return results, problems


def one_round(setup: Setup, flips: int, chance: random.Random) -> Latencies:
    with Programs() as programs:
        glass_display = start_screen(programs)
        desk_display = glass_display if setup.floor else start_screen(programs)
        with connected(desk_display) as desk, connected(glass_display) as screen:
            window, glass = FlipWindow(desk), Glass(screen)
            setup.start(programs, desk_display, glass_display)
            place = find(window, glass)
            for _ in range(WARM_UP):
                time.sleep(chance.uniform(*QUIET))
                _latency(window, glass, place)
            latencies = []
            for _ in range(flips):
                time.sleep(chance.uniform(*QUIET))
                latencies.append(_latency(window, glass, place))
            return latencies


def find(window: FlipWindow, glass: Glass) -> tuple[int, int]:
    """A place on the glass that shows the window, once a viewer shows it."""

    def look() -> tuple[int, int] | None:
        # Twice each way: a window that opens, light and then dark, is not yet the desk.
        black, white = np.zeros(SCREEN[::-1], np.uint8), np.full(SCREEN[::-1], 255, np.uint8)
        for _ in range(4):
            window.flip()
            time.sleep(SETTLE)
            if window.white:
                white = np.minimum(white, glass.picture())
            else:
                black = np.maximum(black, glass.picture())
        rows, columns = np.nonzero(white > black + np.minimum(CONTRAST, 255 - black))
        if rows.size < SMALLEST:
            return None
        # A quarter in: the middle of the glass is where its pointer is drawn.
        return int(np.percentile(columns, 25)), int(np.percentile(rows, 25))

    return await_value(look, "the viewer to show the desk")


def _latency(window: FlipWindow, glass: Glass, place: tuple[int, int]) -> float:
    # A flip that came late must not be taken for the next one, which brings back the colour on show.
    await_value(lambda: shows(window, glass, place) or None, "the viewer to show the last flip", LOST)
    started = window.flip()
    while not shows(window, glass, place):
        if time.perf_counter() - started > LOST:
            return float("inf")
        time.sleep(POLL)
    return 1000 * (time.perf_counter() - started)


def shows(window: FlipWindow, glass: Glass, place: tuple[int, int]) -> bool:
    """Whether the glass shows the colour that the window has now."""
    return (glass.brightness(*place) > 127) is window.white
