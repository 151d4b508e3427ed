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

from .programs import Failed, Programs, await_value
from .screens import FlipWindow, Glass, connected, start_screen
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

Latencies = list[float]
"""Milliseconds; infinite where a flip was not seen."""


def measure(setups: Iterable[Setup], flips: int, rounds: int, seed: int) -> tuple[dict[str, Latencies], dict[str, str]]:
    """Latencies of each setup, and why those are missing that are."""
    setups = tuple(setups)
    chance = random.Random(seed)
    results: dict[str, Latencies] = defaultdict(list)
    problems = {setup.name: f"not installed: {', '.join(setup.missing)}" for setup in setups if setup.missing}
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
    """The place on the glass that shows the middle of the window, once a viewer shows it."""

    def look() -> tuple[int, int] | None:
        pictures = []
        for _ in range(2):
            window.flip()
            time.sleep(0.4)
            pictures.append(glass.picture().astype(np.int16) * (1 if window.white else -1))
        rows, columns = np.nonzero(sum(pictures) > CONTRAST)
        # Fewer are a figure in some status line.
        if rows.size < 400:
            return None
        return int(np.median(columns)), int(np.median(rows))

    return await_value(look, "the viewer to show the desk")


def _latency(window: FlipWindow, glass: Glass, place: tuple[int, int]) -> float:
    started = window.flip()
    while (glass.brightness(*place) > 127) is not window.white:
        if time.perf_counter() - started > LOST:
            return float("inf")
        time.sleep(POLL)
    return 1000 * (time.perf_counter() - started)
