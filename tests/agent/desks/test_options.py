"""The options that name a desk."""

from __future__ import annotations

from typing import Any

import pytest

from nexus_agent.desks import open_desk, parse_size
from nexus_protocol.errors import UsageError


@pytest.mark.parametrize(("text", "size"), [("1280x800", (1280, 800)), ("640X480", (640, 480)), (" 64×64 ", (64, 64))])
def test_sizes_are_read(text: str, size: tuple[int, int]) -> None:
    """Width, x, height."""
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "1280x", "x800", "1280x800x24", "-5x5", "1280 800", "٣x٣", "0x0", "9x90000"])
def test_what_is_no_size_is_a_usage_error(text: str) -> None:
    """The message repeats what was written."""
    with pytest.raises(UsageError) as caught:
        parse_size(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [{"display": ":1", "synthetic": True}, {"virtual": (640, 480), "display": ":1"}, {"command": ["xterm"]}],
)
async def test_options_that_exclude_each_other_are_a_usage_error(options: dict[str, Any]) -> None:
    """Nothing is started."""
    with pytest.raises(UsageError):
        await open_desk(**options)
