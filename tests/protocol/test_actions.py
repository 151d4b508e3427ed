"""What is said of actions: their permission, their subject, their hash, their line in the log."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from nexus_protocol.actions import (
    PERMISSION_OF,
    Action,
    Admission,
    Asked,
    Click,
    Drag,
    Execute,
    FileRead,
    FileWrite,
    Key,
    Region,
    Screenshot,
    Scroll,
    Type,
    describe,
    kind_of,
    payload_hash,
    place_of,
    subject_of,
    validated,
)
from nexus_protocol.errors import NexusError, ProtocolError, UsageError
from nexus_protocol.messages import Act, to_agent
from nexus_protocol.vocabulary import Role

ADMISSION = Admission("eve", Role.VIEWER, f"SHA256:{'A' * 43}")


def test_every_action_needs_a_permission() -> None:
    """An action without one would be an action nobody can forbid."""
    assert set(PERMISSION_OF) == set(get_args(Asked))


def test_every_action_has_a_name_of_its_own() -> None:
    """The tag on the wire is the word in the log."""
    tags = [kind.__struct_config__.tag for kind in get_args(Asked)]
    assert len(set(tags)) == len(tags)
    assert kind_of(FileRead(path="/x")) == "file_read"


@pytest.mark.parametrize(
    ("action", "subject"),
    [
        (Execute(argv=("git", "status", "a b; rm -rf")), "git status 'a b; rm -rf'"),
        (FileRead(path="/etc/hosts"), "/etc/hosts"),
        (FileWrite(path="/tmp/x", data=b"1"), "/tmp/x"),
        (Type(text="hello"), "hello"),
        (Key(chord="ctrl+c"), "ctrl+c"),
        (Click(x=1, y=2), ""),
    ],
)
def test_a_rule_is_held_against_the_subject(action: Action, subject: str) -> None:
    """Arguments are quoted, so that one argument can never pass for two."""
    assert subject_of(action) == subject


def test_the_hash_is_of_the_exact_action() -> None:
    """The same action has the same hash after the wire; any other action has another."""
    action = Drag(x=1, y=2, to_x=3, to_y=4)
    received = to_agent.decode(to_agent.encode(Act(id="12345678", action=action)))
    assert isinstance(received, Act)
    assert payload_hash(received.action) == payload_hash(action)
    others: list[Action] = [msgspec.structs.replace(action, x=2), Click(x=1, y=2), FileWrite(path="/a", data=b"")]
    hashes = {payload_hash(other) for other in [*others, action]}
    assert len(hashes) == 4
    assert {len(digest) for digest in hashes} == {32}


def test_nobody_can_ask_to_be_let_in_by_an_action() -> None:
    """An admission is the agent's to ask about: as an action it is not read."""
    data = to_agent.encode(Act(id="12345678", action=ADMISSION))  # type: ignore[arg-type]
    with pytest.raises(ProtocolError, match="cannot be read"):
        to_agent.decode(data)


@pytest.mark.parametrize(
    ("action", "line"),
    [
        (Click(x=3, y=4, count=2), "double left at 3,4"),
        (Scroll(x=0, y=0, dy=-3), "3 up at 0,0"),
        (Scroll(x=0, y=0), "nowhere at 0,0"),
        (Type(text="secret"), "6 characters"),
        (Type(text="s"), "1 character"),
        (Screenshot(), "whole desk"),
        (Screenshot(region=Region(x=1, y=2, width=3, height=4)), "3×4 at 1,2"),
        (FileWrite(path="/a", data=bytes(2_000)), "/a (2,000 bytes)"),
        (Execute(argv=("ls", "-l")), "ls -l"),
        (ADMISSION, f"to this desk as viewer, with the key {ADMISSION.fingerprint}"),
    ],
)
def test_an_action_in_one_line(action: Asked, line: str) -> None:
    """Typed text is counted, never shown."""
    assert describe(action) == line


@pytest.mark.parametrize(
    "action",
    [Execute(argv=("printf", "a\nb\x1b[2J\u202e")), FileRead(path="/tmp/\x1b]0;pwned\x07\n"), Key(chord="\x1b")],
)
def test_the_line_in_the_log_is_one_line_and_steers_no_terminal(action: Action) -> None:
    """Line ends, escape sequences and direction marks in a command or path are shown as what they are."""
    assert describe(action).isprintable()


@pytest.mark.parametrize(
    "action",
    [Click(x=-1, y=0), Click(x=0, y=70_000), Type(text=""), Execute(argv=()), FileRead(path="a\0b"),
     Screenshot(region=Region(x=0, y=0, width=0, height=1)), Execute(argv=("true",), timeout=float("nan"))],
)  # fmt: skip
def test_what_no_agent_would_read_is_refused_before_it_is_sent(action: Action) -> None:
    """One line, a usage error, that names the field."""
    with pytest.raises(UsageError, match=r"\Athat cannot be done on any desk: [^\n]+\Z"):
        validated(action)


@pytest.mark.parametrize(
    "action",
    [Drag(x=1, y=2, to_x=3, to_y=4), FileWrite(path="/a", data=b"\0\xff"), Screenshot(), Execute(argv=("ls",))],
)
def test_what_can_be_sent_stays_as_it_is(action: Action) -> None:
    """The very action comes back."""
    assert validated(action) == action


def test_the_place_of_a_drag_is_where_it_ends() -> None:
    """What is shown on the picture is the point the action leaves behind."""
    assert place_of(Drag(x=1, y=2, to_x=3, to_y=4)) == (3, 4)
    assert place_of(Click(x=1, y=2)) == (1, 2)
    assert place_of(Type(text="a")) is None


def test_an_error_for_people_steers_no_terminal() -> None:
    """An error may quote a peer; escape sequences in the quote are replaced, line ends and letters kept."""
    assert str(NexusError("the relay said \x1b[2Jgoodbye\u202e\nété")) == "the relay said �[2Jgoodbye�\nété"
    assert str(ProtocolError("malformed", "\x07")) == "�"
