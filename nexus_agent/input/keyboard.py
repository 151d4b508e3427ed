"""The X server's keyboard map: which key, with Shift or without, gives a symbol; and lending spare keys to symbols
that no key gives.

Only group 1 without and with Shift is looked at: `xtest` types with the locks and the other groups switched off.
Everything here happens inside ``with server:``.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import groupby
from typing import NamedTuple

from nexus_agent.xserver import XServer, xkb, xproto
from nexus_protocol.errors import NexusError

from .spare_keys import SpareKeys

REST = 0.25
"""Seconds a spare key keeps its symbol after it was last pressed."""


class Key(NamedTuple):
    keycode: int
    shift: bool


class Keyboard:
    def __init__(self, server: XServer, rest: float = REST) -> None:
        self._server = server
        self._rest = rest
        self._first: int = server.setup.min_keycode
        self._count: int = server.setup.max_keycode - self._first + 1
        self._keys: dict[int, Key] = {}
        self._buttons: list[int] = []
        self._spare = SpareKeys(rest)
        self._read_keys()
        self._read_buttons()

    def refresh(self) -> None:
        """Follow what others changed meanwhile: the layout (setxkbmap, another keyboard), left-handed buttons."""
        self._server.sync()
        keys = buttons = False
        for event in self._server.events():
            if isinstance(event, xproto.MappingNotifyEvent) and event.request == xproto.Mapping.Pointer:
                buttons = True
            # All events of XKB have one number, and xcffib takes them all for the first kind.
            elif isinstance(event, xproto.MappingNotifyEvent | xkb.NewKeyboardNotifyEvent):
                keys = True
        if keys:
            self._read_keys()
        if buttons:
            self._read_buttons()

    def find(self, symbol: int) -> Key | None:
        """The key that gives this symbol now, its own or a spare one."""
        if symbol in self._keys:
            return self._keys[symbol]
        keycode = self._spare.find(symbol)
        return None if keycode is None else Key(keycode, shift=False)

    def lend(self, symbols: Iterable[int]) -> int:
        """Make keys for as many of these symbols as can be had now, in order; returns how many have one then.

        Raises NexusError when the map has no spare key at all.
        """
        now = time.monotonic()
        keep: set[int] = set()
        fresh: dict[int, int] = {}
        ready = 0
        for symbol in symbols:
            if symbol not in self._keys:
                keycode = self._spare.find(symbol)
                if keycode is None:
                    if not len(self._spare):
                        raise NexusError("this desk's keyboard map has no key to spare for characters not on it")
                    keycode = self._spare.lend(symbol, now, keep)
                    if keycode is None:
                        break
                    fresh[keycode] = symbol
                keep.add(keycode)
            ready += 1
        self._write(fresh)
        return ready

    def pressed(self, symbols: Iterable[int]) -> None:
        """Start the rest of the spare keys among these, once the server has seen them."""
        self._spare.pressed(symbols, time.monotonic())

    def seconds_until_ready(self) -> float:
        """How long `lend` cannot make another key."""
        return max(0.0, self._spare.ready_at() - time.monotonic())

    def seconds_until_rested(self) -> float:
        """How long `restore` would still change what a program has not read."""
        return max(0.0, self._spare.all_rested_at() - time.monotonic())

    def restore(self) -> None:
        """Give the spare keys back: the map is as it was found."""
        self.refresh()
        self._write(dict.fromkeys(self._spare.lent(), 0))
        self._server.sync()
        self._spare = SpareKeys(self._rest)

    def physical(self, logical: int) -> int:
        """The button to press so that programs see this one: left-handed people have them swapped."""
        return self._buttons.index(logical) + 1 if logical in self._buttons else logical

    def _read_keys(self) -> None:
        reply = self._server.core.GetKeyboardMapping(self._first, self._count).reply()
        width, symbols = reply.keysyms_per_keycode, list(reply.keysyms)
        rows = {self._first + at // width: symbols[at : at + width] for at in range(0, len(symbols), width)}
        modifiers = set(self._server.core.GetModifierMapping().reply().keycodes)
        # Somebody may have replaced the map, and our spare keys with it.
        lent = {keycode for keycode, symbol in self._spare.lent().items() if rows[keycode][0] == symbol}
        free = [keycode for keycode, row in rows.items() if not any(row) and keycode not in modifiers]
        self._spare.revise(free, lent)
        self._keys = {}
        for keycode, row in rows.items():
            if keycode not in lent:
                for level, symbol in enumerate(row[:2]):
                    if symbol:
                        self._keys.setdefault(symbol, Key(keycode, shift=level == 1))

    def _read_buttons(self) -> None:
        self._buttons = list(self._server.core.GetPointerMapping().reply().map)

    def _write(self, symbols: dict[int, int]) -> None:
        """Give each keycode its symbol, one request for each run of neighbours.

        The symbol goes on both levels: on one alone the server would make a pair of small and capital of it.
        """
        for _, run in groupby(enumerate(sorted(symbols)), key=lambda pair: pair[1] - pair[0]):
            keycodes = [keycode for _, keycode in run]
            values = [symbols[keycode] for keycode in keycodes for _ in range(2)]
            self._server.core.ChangeKeyboardMappingChecked(len(keycodes), keycodes[0], 2, values).check()
