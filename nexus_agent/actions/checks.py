"""What is wrong with an action on this desk, found before anybody is asked to approve it. Pure."""

from __future__ import annotations

from nexus_agent.input import check_typeable
from nexus_protocol.actions import Action, Drag, Key, Region, Screenshot, Type, place_of
from nexus_protocol.errors import NexusError
from nexus_protocol.keys import parse_chord


def check(action: Action, size: tuple[int, int]) -> None:
    """Raises NexusError in one line. ``size`` is the desk's width and height in pixels."""
    if (place := place_of(action)) is not None:
        _check_point(*place, size)
    match action:
        case Drag(x=x, y=y):
            _check_point(x, y, size)
        case Key(chord=chord):
            parse_chord(chord)
        case Type(text=text):
            check_typeable(text)
        case Screenshot(region=Region(x=x, y=y, width=width, height=height)):
            _check_point(x, y, size)
            _check_point(x + width - 1, y + height - 1, size)


def _check_point(x: int, y: int, size: tuple[int, int]) -> None:
    for name, value, limit in (("x", x, size[0]), ("y", y, size[1])):
        if value >= limit:
            raise NexusError(f"{name}={value} lies off the desk, which is {size[0]}×{size[1]} pixels")
