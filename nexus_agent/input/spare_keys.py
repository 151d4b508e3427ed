"""Which spare key stands for which symbol, and when it may stand for another. No X in here.

A client looks up what a key means when it *reads* the event, not when it happened. If a spare key were given a new
symbol while a client still has the old press in its queue, that press would turn into the new character. Nothing
tells how far a client has read, so:

- a key keeps its symbol for as long as possible: the least recently used key is reused first;
- no key is reused until `rest` seconds have passed since it was last pressed, longer than programs that are alive
  leave events lying. Text with more new symbols than there are spare keys waits for that; other text never waits.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable


class SpareKeys:
    """Keys of the keyboard that carry no symbol of their own, lent to symbols that no key carries."""

    def __init__(self, rest: float) -> None:
        self._rest = rest
        self._symbols: OrderedDict[int, int] = OrderedDict()
        """Keycode → symbol it was lent to (0: none), least recently used first."""
        self._keycodes: dict[int, int] = {}
        self._pressed: dict[int, float] = {}

    def __len__(self) -> int:
        return len(self._symbols)

    def revise(self, free: Iterable[int], still_lent: Iterable[int]) -> None:
        """The map was read anew: these keycodes carry nothing, and of those that were lent these still are."""
        free = list(free)
        symbols = {keycode: self._symbols[keycode] for keycode in still_lent}
        known = [keycode for keycode in self._symbols if keycode in symbols or keycode in free]
        new = [keycode for keycode in free if keycode not in self._symbols]
        self._symbols = OrderedDict((keycode, symbols.get(keycode, 0)) for keycode in [*new, *known])
        self._keycodes = {symbol: keycode for keycode, symbol in symbols.items()}

    def find(self, symbol: int) -> int | None:
        """The key now lent to the symbol."""
        return self._keycodes.get(symbol)

    def lend(self, symbol: int, now: float, keep: Iterable[int] = ()) -> int | None:
        """Take the key that was used longest ago for this symbol.

        None when no key outside `keep` has rested; `ready_at` tells when one will have.
        """
        for keycode in self._symbols:
            if keycode not in keep and self._rested_at(keycode) <= now:
                self._keycodes.pop(self._symbols[keycode], None)
                self._symbols[keycode] = symbol
                self._keycodes[symbol] = keycode
                self._symbols.move_to_end(keycode)
                return keycode
        return None

    def pressed(self, symbols: Iterable[int], now: float) -> None:
        """These symbols were typed, the last of them now."""
        for symbol in symbols:
            keycode = self._keycodes.get(symbol)
            if keycode is not None:
                self._pressed[keycode] = now
                self._symbols.move_to_end(keycode)

    def ready_at(self) -> float:
        """When the key that rests longest may be reused."""
        return min((self._rested_at(keycode) for keycode in self._symbols), default=0.0)

    def all_rested_at(self) -> float:
        return max((self._rested_at(keycode) for keycode in self._pressed), default=0.0)

    def lent(self) -> dict[int, int]:
        """Keycode → symbol, for the keys lent now."""
        return {keycode: symbol for keycode, symbol in self._symbols.items() if symbol}

    def _rested_at(self, keycode: int) -> float:
        pressed = self._pressed.get(keycode)
        return 0.0 if pressed is None else pressed + self._rest
