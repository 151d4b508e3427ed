"""What an approver reads of a request."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_protocol.actions import Action, Execute, FileWrite, Type
from nexus_tui.core.payload import LONGEST, parts_of


def shown(action: Action) -> str:
    return "".join(part.text for part in parts_of(action))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Execute(argv=("rm", "-rf", "x", "in /tmp/safe")), Execute(argv=("rm", "-rf", "x"), cwd="/tmp/safe")),
        (Execute(argv=("a b",)), Execute(argv=("a", "b"))),
        (Execute(argv=("a", "")), Execute(argv=("a",))),
        (Execute(argv=("a",)), Execute(argv=("a",), timeout=3600)),
        (FileWrite(path="f", data=b"a\r\nb"), FileWrite(path="f", data=b"a\nb")),
        (FileWrite(path="f", data=b"\xff"), FileWrite(path="f", data=b"\xfe")),
        (Type(text="a\u200bb"), Type(text="ab")),
    ],
)
def test_two_different_actions_never_look_the_same(one: Action, other: Action) -> None:
    """Or one could be approved for the other."""
    assert shown(one) != shown(other)


@given(st.text(min_size=1, max_size=300))
def test_nothing_in_it_can_steer_the_terminal(text: str) -> None:
    """Line ends are the only control characters left."""
    assert shown(Type(text=text)).replace("\n", "").isprintable()


def test_what_is_left_out_is_said() -> None:
    """With how much, and a sum over the whole."""
    text = shown(Type(text="a" * LONGEST + "b" * LONGEST))
    assert f"{LONGEST:,} characters are not shown" in text
    assert "SHA-256" in text
    assert text.rstrip().endswith("b")
