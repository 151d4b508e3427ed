"""How often somebody may do something: a number at once, and then so many a second. No I/O."""

from __future__ import annotations

from collections.abc import Callable

_MANY = 1024
"""Whoever has waited long enough is forgotten when there are more than that."""


class Pace:
    """One for everybody, each by a name of their own."""

    def __init__(self, at_once: int, per_second: float, clock: Callable[[], float]) -> None:
        self._at_once = at_once
        self._per_second = per_second
        self._clock = clock
        self._rested: dict[str, float] = {}
        """When each may do ``at_once`` again, by the clock's seconds: later for each time it was allowed."""

    def allows(self, name: str) -> bool:
        """Whether that is within the pace; if so, it counts."""
        now = self._clock()
        rested = max(now, self._rested.get(name, now)) + 1 / self._per_second
        if rested - now > self._at_once / self._per_second + 1e-6:  # as good as equal: these are sums of fractions
            return False
        if len(self._rested) >= _MANY:
            self._rested = {other: when for other, when in self._rested.items() if when > now}
        self._rested[name] = rested
        return True
