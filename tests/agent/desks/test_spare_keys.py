"""The rule by which spare keys are lent: longest unused first, and never before they have rested."""

from __future__ import annotations

from nexus_agent.input.spare_keys import SpareKeys


def spare_keys(count: int) -> SpareKeys:
    keys = SpareKeys(rest=1.0)
    keys.revise(range(100, 100 + count), ())
    return keys


def test_a_symbol_keeps_its_key() -> None:
    """It is found again as long as nobody else needed the key."""
    keys = spare_keys(2)
    assert keys.lend(0xE9, now=0.0) == 100
    assert keys.find(0xE9) == 100
    assert keys.lent() == {100: 0xE9}


def test_no_key_is_reused_before_it_has_rested() -> None:
    """Lending fails until the rest of the key pressed longest ago is over."""
    keys = spare_keys(2)
    keys.lend(1, now=0.0)
    keys.lend(2, now=0.0)
    keys.pressed([1], now=5.0)
    keys.pressed([2], now=5.5)
    assert keys.lend(3, now=5.9) is None
    assert keys.ready_at() == 6.0
    assert keys.lend(3, now=6.0) == 100
    assert keys.find(1) is None
    assert keys.all_rested_at() == 6.5


def test_the_key_unused_for_longest_goes_first() -> None:
    """Typing a symbol again makes its key the last to be taken."""
    keys = spare_keys(3)
    for symbol in (1, 2, 3):
        keys.lend(symbol, now=0.0)
        keys.pressed([symbol], now=0.0)
    keys.pressed([1], now=0.5)
    assert keys.lend(4, now=9.0) == 101


def test_keys_needed_in_the_same_chunk_are_not_taken() -> None:
    """What is kept stays, even if nothing else is left."""
    keys = spare_keys(1)
    keys.lend(1, now=0.0)
    assert keys.lend(2, now=9.0, keep={100}) is None


def test_keys_somebody_else_took_are_no_longer_lent() -> None:
    """After the map was read anew: 100 is another's now, 101 was emptied, 102 is still ours."""
    keys = spare_keys(3)
    for symbol in (1, 2, 3):
        keys.lend(symbol, now=0.0)
    keys.revise([101], [102])
    assert keys.lent() == {102: 3}
    assert keys.find(1) is None
    assert keys.lend(4, now=0.0) == 101
    assert len(keys) == 2
