"""Whatever bytes arrive become a message or a ProtocolError; whatever message is made arrives as it was."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import inspect

from nexus_protocol.actions import Execute, FileRead, Type
from nexus_protocol.codec import CODES, Codec
from nexus_protocol.errors import ProtocolError
from nexus_protocol.messages import (
    Act,
    ActionReport,
    FromAgent,
    Hello,
    Pong,
    RequestClosed,
    Result,
    StreamClock,
    ToAgent,
    Welcome,
    from_agent,
    greeting,
    to_agent,
)
from nexus_protocol.relay_messages import (
    Close,
    FromRelay,
    Invite,
    Invited,
    Joined,
    NotInvited,
    Open,
    ToRelay,
    from_invite,
    from_join,
    from_relay,
    to_invite,
    to_relay,
)
from nexus_protocol.vocabulary import ActionState, RequestState, Role

UNIONS: list[tuple[Codec[Any], Any]] = [
    (to_relay, ToRelay),
    (from_relay, FromRelay),
    (to_agent, ToAgent),
    (from_agent, FromAgent),
    (greeting, Hello),
    (from_join, Joined),
    (to_invite, Invite),
    (from_invite, Invited | NotInvited),
]
CODECS = [codec for codec, _ in UNIONS]
NAMES = ["to_relay", "from_relay", "to_agent", "from_agent", "greeting", "from_join", "to_invite", "from_invite"]
MSGPACK = (to_agent, from_agent, greeting)
LONGEST = 40
"""Characters, bytes or items that an example has at most, where the protocol lets it have more."""

BAD = pytest.mark.parametrize("codec", CODECS, ids=NAMES)


def most(lower: int | None, upper: int | None) -> int:
    return max(lower or 0, min(upper or LONGEST, LONGEST))


def integers(low: int | None, high: int | None) -> st.SearchStrategy[int]:
    return st.integers(-(2**63) if low is None else low, 2**63 - 1 if high is None else high)


def any_of(kind: inspect.Type) -> st.SearchStrategy[Any]:  # noqa: C901 - one case for each type there is
    """Values of a type, within the constraints that msgspec reads from it."""
    match kind:
        case inspect.UnionType(types=types):
            return st.one_of(*map(any_of, types))
        case inspect.StructType(cls=cls, fields=fields):
            return st.builds(cls, **{field.name: any_of(field.type) for field in fields})
        case inspect.EnumType(cls=enum):
            return st.sampled_from(list(enum))
        case inspect.BoolType():
            return st.booleans()
        case inspect.NoneType():
            return st.none()
        case inspect.IntType(ge=low, le=high):
            return integers(low, high)
        case inspect.FloatType(gt=above, ge=low, le=high):
            return st.floats(above if low is None else low, high, exclude_min=above is not None, allow_nan=False)
        case inspect.StrType(pattern=None, min_length=low, max_length=high):
            return st.text(min_size=low or 0, max_size=most(low, high))
        case inspect.StrType(pattern=pattern, min_length=low, max_length=high):
            fitting = st.from_regex(str(pattern))
            return fitting.filter(lambda text: (low or 0) <= len(text) <= (high or LONGEST))
        case inspect.BytesType(min_length=low, max_length=high):
            return st.binary(min_size=low or 0, max_size=most(low, high))
        case inspect.VarTupleType(item_type=item, min_length=low, max_length=high):
            return st.lists(any_of(item), min_size=low or 0, max_size=most(low, high)).map(tuple)
        case inspect.TupleType(item_types=items):
            return st.tuples(*map(any_of, items))
        case inspect.DictType(key_type=key, value_type=value):
            return st.dictionaries(any_of(key), any_of(value))
        case _:
            raise AssertionError(f"no strategy for {kind}")


messages = st.one_of(
    *(st.tuples(st.just(codec), any_of(inspect.type_info(union))) for codec, union in UNIONS),
)


def reads_or_refuses(codec: Codec[Any], data: bytes) -> None:
    refusal: ProtocolError | None = None
    message: object = None
    try:
        message = codec.decode(data)
    except ProtocolError as error:
        refusal = error
    assert isinstance(message, msgspec.Struct) == (refusal is None)
    assert refusal is None or (refusal.code in CODES and str(refusal).replace("\n", "").isprintable())


@given(messages)
def test_every_message_arrives_as_it_was_sent(case: tuple[Codec[Any], Any]) -> None:
    """decode(encode(message)) is the message, for every kind of message and every value its fields may have."""
    codec, message = case
    assert codec.decode(codec.encode(message)) == message


@given(st.sampled_from(CODECS), st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(codec: Codec[Any], data: bytes) -> None:
    """Random bytes raise ProtocolError and nothing else."""
    reads_or_refuses(codec, data)


@given(messages, st.data())
def test_a_damaged_message_is_read_or_refused(case: tuple[Codec[Any], Any], data: st.DataObject) -> None:
    """Flipped bits, lost and added bytes in a good message raise ProtocolError and nothing else."""
    codec, message = case
    damaged = bytearray(codec.encode(message))
    for at, bit in data.draw(
        st.lists(st.tuples(st.integers(0, len(damaged) - 1), st.integers(0, 7)), min_size=1, max_size=8)
    ):
        damaged[at] ^= 1 << bit
    reads_or_refuses(codec, bytes(damaged))
    cut = data.draw(st.integers(0, len(damaged)))
    reads_or_refuses(codec, bytes(damaged[:cut]))
    reads_or_refuses(codec, bytes(damaged[:cut]) + data.draw(st.binary(max_size=20)) + bytes(damaged[cut:]))


scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary()
field_names = st.sampled_from(["type", "id", "link", "action"]) | st.text()
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(field_names, inner), max_leaves=12)


@given(st.sampled_from(CODECS), values)
@example(to_agent, {"type": ["act"]})
def test_well_formed_nonsense_is_read_or_refused(codec: Codec[Any], value: object) -> None:
    """Any value that the format can carry raises ProtocolError unless it is a message."""
    format = msgspec.msgpack if codec in MSGPACK else msgspec.json
    reads_or_refuses(codec, format.encode(value))


@BAD
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x91" * 100_000,
        b"[" * 60_000,
        b'{"type":' * 10_000,
        b"\x81" * 100_000,
        b"\x83\xa1a" + b"\x91" * 100_000,
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b'{"type":"\xff\xfe"}',
        b"\x81\xa4type\xa5\xff\xfe\xff\xfe\xff",
        b'{"type":"open","ref":1,"desk":"\\ud800"}',
        b'{"type":"open","ref":' + b"9" * 3_900 + b',"desk":"office"}',
        b'{"type":"welcome","subject":"a","role":"agent","version":' + b"9" * 30_000 + b"}",
        b'{"type":"close","link":1e999}',
        b'{"type":"close","link":-1}',
        b'{"type":"close","link":1,"extra":1}',
        b'{"type":"close"}',
        b"null",
        b"\xc7\x0c\xff" + b"\xff" * 12,
    ],
    ids=lambda data: repr(data[:24]),
)
def test_hostile_bytes_are_refused(codec: Codec[Any], data: bytes) -> None:
    """Deep nesting, invalid UTF-8, huge numbers, lengths that lie, unknown fields: ProtocolError, at once."""
    with pytest.raises(ProtocolError):
        codec.decode(data)


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), 0.0, -1.0, 1e9])
def test_a_time_out_of_bounds_is_refused(seconds: float) -> None:
    """No deadline arrives that a comparison could not end: not-a-number and infinity are not times."""
    action = Execute(argv=("true",), timeout=seconds)
    with pytest.raises(ProtocolError):
        to_agent.decode(to_agent.encode(Act(id="12345678", action=action)))


@pytest.mark.parametrize("clock", [float("nan"), float("inf"), float("-inf")])
def test_a_clock_is_a_finite_number(clock: float) -> None:
    """The console can compute with every time an agent sends."""
    for message in (Pong(sent=0.0, agent_time=clock), StreamClock(rtp=0, captured=clock)):
        with pytest.raises(ProtocolError):
            from_agent.decode(from_agent.encode(message))


@pytest.mark.parametrize("name", ["office\n", "-rf", "", "a b", "x" * 65, "büro", "a\0", "a/b"])
def test_a_name_that_could_confuse_is_refused(name: str) -> None:
    """A desk's name has no space, slash or line end, not even as its last character."""
    with pytest.raises(ProtocolError):
        to_relay.decode(to_relay.encode(Open(ref=1, desk=name)))


def test_no_nul_reaches_the_operating_system() -> None:
    """Paths and arguments with a NUL, which no system call takes, are refused where they are read."""
    for action in (FileRead(path="/etc/passwd\0.txt"), Execute(argv=("ls", "a\0b")), Execute(argv=("ls",), cwd="\0")):
        with pytest.raises(ProtocolError):
            to_agent.decode(to_agent.encode(Act(id="12345678", action=action)))


def test_sizes_are_bounded_both_ways() -> None:
    """A message past the limit is neither sent nor read; one at the limit is."""
    codec: Codec[Any] = Codec(FromAgent, format="msgpack", limit=100)
    overhead = len(from_agent.encode(Result(id="1", state=ActionState.DONE, data=b"")))
    fits = Result(id="1", state=ActionState.DONE, data=bytes(100 - overhead))
    assert codec.decode(codec.encode(fits)) == fits
    with pytest.raises(ProtocolError) as sent:
        codec.encode(Result(id="1", state=ActionState.DONE, data=bytes(101 - overhead)))
    with pytest.raises(ProtocolError) as read:
        codec.decode(bytes(101))
    assert (sent.value.code, read.value.code) == ("too-large", "too-large")


@pytest.mark.parametrize(
    ("codec", "message"),
    [
        (to_agent, Act(id="12345678", action=FileRead(path="caf\udce9"))),
        (to_agent, Act(id="12345678", action=Type(text="\ud83d"))),
        (from_agent, StreamClock(rtp=2**64, captured=0.0)),
        (to_relay, Close(link=1, reason="\udcff")),
    ],
)
def test_what_cannot_be_written_is_a_protocol_error_too(codec: Codec[Any], message: Any) -> None:
    """The name of a file that is not UTF-8 gives an error for people, not a traceback."""
    with pytest.raises(ProtocolError, match="cannot be written") as error:
        codec.encode(message)
    assert error.value.code == "malformed"


@pytest.mark.parametrize("name", ["\x1b[2J", "a\nb", "", "x" * 65, "-a", "a b"])
def test_a_name_from_a_peer_steers_no_terminal(name: str) -> None:
    """Desks and subjects are letters, digits and a few marks, whoever says them."""
    said = json.dumps(name)
    for text in (
        f'{{"type":"welcome","subject":{said},"role":"operator"}}',
        f'{{"type":"welcome","subject":"a","role":"operator","desks":[{said}]}}',
        f'{{"type":"presence","desks":[{said}]}}',
        f'{{"type":"opened","ref":1,"link":1,"desk":{said}}}',
        f'{{"type":"incoming","link":1,"subject":{said},"role":"operator"}}',
    ):
        with pytest.raises(ProtocolError, match="cannot be read"):
            from_relay.decode(text.encode())
    messages: list[FromAgent] = [
        Welcome(desk=name, width=9, height=9, subject="a", role=Role.VIEWER, effects={}, may_decide=False),
        Welcome(desk="a", width=9, height=9, subject=name, role=Role.VIEWER, effects={}, may_decide=False),
        ActionReport(number=1, who=name, role=Role.VIEWER, kind="key", summary="", state=ActionState.DONE),
        RequestClosed(request=1, state=RequestState.DENIED, by=name or "\0"),
    ]
    for message in messages:
        with pytest.raises(ProtocolError, match="cannot be read"):
            from_agent.decode(from_agent.encode(message))
    expired = RequestClosed(request=1, state=RequestState.EXPIRED)
    assert from_agent.decode(from_agent.encode(expired)) == expired
