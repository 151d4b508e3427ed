"""Every decoder that a stranger can reach, given anything: what was meant for it, damaged; and what never was."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ..fuzz.targets import SEEDS, TARGETS

ALL_SEEDS = [seed for seeds in SEEDS.values() for seed in seeds]


@st.composite
def damaged(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """A seed with some of its bytes changed, a piece cut out, and foreign bytes put in."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for at, byte in draw(st.lists(st.tuples(st.integers(0, len(data) - 1), st.integers(0, 255)), max_size=4)):
        data[at] = byte
    start = draw(st.integers(0, len(data)))
    end = draw(st.integers(start, min(start + 40, len(data))))
    data[start:end] = draw(st.binary(max_size=20))
    return bytes(data)


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_meant_for_it_is_read(name: str) -> None:
    """The fuzzing starts from what gets through."""
    for seed in SEEDS[name]:
        TARGETS[name](seed)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=200)
@given(data=st.data())
def test_nothing_but_its_own_errors_comes_of_it(name: str, data: st.DataObject) -> None:
    """No input leads to another error than ProtocolError or UsageError, or to a wrong result."""
    anything = st.binary(max_size=600) | st.sampled_from(ALL_SEEDS) | st.text(max_size=200).map(str.encode)
    TARGETS[name](data.draw(damaged(SEEDS[name]) | anything))
