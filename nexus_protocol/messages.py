"""What operator and agent say to each other on a link.

console                                        agent
   │ Hello (an invitation)                       │
   │ ─────────────────────────────────────────>  │
   │ Welcome (desk, role, what is allowed)       │   or Bye, or Held and then one of both
   │ <─────────────────────────────────────────  │
   │ SetViewport, Offer  /  Answer, StreamClock  │   the picture (WebRTC)
   │ Act  /  Result                              │   one action, its one end
   │ ActionReport                                │   what anybody does here, for the log
   │ RequestOpened, RequestClosed  /  Decide     │   what waits for a decision
   │ Ping  /  Pong                               │
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from .actions import Action, Asked, Coordinate, Region, Struct
from .codec import Codec
from .vocabulary import VERSION, ActionState, Effect, Name, NameOrNone, Permission, RequestState, Role

MAX_MESSAGE = 32 * 1024 * 1024

ActionId = Annotated[str, Meta(min_length=8, max_length=64, pattern=r"^[A-Za-z0-9-]+\Z")]
"""Chosen by whoever acts, unique among its actions: the agent runs one id at most once, also after a reconnect."""
Instance = Annotated[str, Meta(max_length=64, pattern=r"^[A-Za-z0-9-]*\Z")]
Text = Annotated[str, Meta(max_length=2_048)]
Sdp = Annotated[str, Meta(max_length=64 * 1024)]
Pixels = Annotated[int, Meta(ge=2, le=16_384)]
Seconds = Annotated[float, Meta(ge=-1e12, le=1e12)]
"""A time or a clock: never infinite and never not-a-number."""


class Viewport(Struct, frozen=True):
    """What a console shows: a region of the desk (None: all of it), the pixels it can draw, and an fps cap.

    The agent scales the region to fit into ``width`` × ``height`` with its aspect ratio kept.
    """

    width: Pixels
    height: Pixels
    region: Region | None = None
    max_fps: Annotated[int, Meta(ge=1, le=240)] = 60


class Hello(Struct, frozen=True, tag="hello"):
    """The console's first message, and all that the agent hears from a key that it does not know.

    ``invitation`` is the proof of one (invitation.py): who shows it is let in, once.
    """

    version: Annotated[int, Meta(ge=0, le=0xFFFF)] = VERSION
    invitation: Annotated[bytes, Meta(max_length=32)] = b""


class SetViewport(Struct, frozen=True, tag="set_viewport"):
    viewport: Viewport


class Offer(Struct, frozen=True, tag="offer"):
    """Starts the stream, or starts it again: an SDP offer with all candidates in it."""

    sdp: Sdp


class Act(Struct, frozen=True, tag="act"):
    id: ActionId
    action: Action


class Cancel(Struct, frozen=True, tag="cancel"):
    """Withdraw a waiting action, or stop a running one, of one's own."""

    id: ActionId


class Decide(Struct, frozen=True, tag="decide"):
    """An approver's decision; ``payload_hash`` names exactly what was shown (actions.payload_hash)."""

    request: Annotated[int, Meta(ge=0)]
    payload_hash: Annotated[bytes, Meta(min_length=32, max_length=32)]
    approve: bool
    reason: Text = ""


class Ping(Struct, frozen=True, tag="ping"):
    """``sent``: the console's monotonic clock, seconds; it comes back untouched."""

    sent: Seconds


class Welcome(Struct, frozen=True, tag="welcome"):
    """The agent's first message: the desk, and what this operator may do on it.

    ``instance`` is another one after the agent was started anew: it then remembers no action id from before.
    """

    desk: Name
    width: Pixels
    height: Pixels
    subject: Name
    role: Role
    effects: dict[Permission, Effect]
    may_decide: bool
    version: int = VERSION
    warning: str = ""
    instance: Instance = ""


class Held(Struct, frozen=True, tag="held"):
    """The agent does not know this key, and asks its approvers: Welcome or Bye comes within ``seconds``."""

    seconds: Annotated[float, Meta(ge=0, le=86_400)]
    reason: Text = ""


class Bye(Struct, frozen=True, tag="bye"):
    """The last message on a link.

    ``code``: version, unknown (key), invitation, forbidden, unready, full, shutdown, protocol. The last four may be
    otherwise the next time; ``invitation`` is one that is not good.
    """

    code: Annotated[str, Meta(pattern=r"^[a-z-]{1,32}\Z")]
    reason: str


class Answer(Struct, frozen=True, tag="answer"):
    """The SDP answer; with ``problem`` set there is no stream, and this says why."""

    sdp: Sdp = ""
    problem: str = ""


class StreamClock(Struct, frozen=True, tag="stream_clock"):
    """``rtp`` (90 kHz, as sent) was captured at ``captured`` on the agent's clock (see Pong)."""

    rtp: int
    captured: Seconds


class Pong(Struct, frozen=True, tag="pong"):
    """``agent_time``: the agent's monotonic clock, seconds."""

    sent: Seconds
    agent_time: Seconds


class DeskResized(Struct, frozen=True, tag="desk_resized"):
    width: Pixels
    height: Pixels


class DeskLost(Struct, frozen=True, tag="desk_lost"):
    """The agent can no longer see its desk; ``reason`` says why."""

    reason: str


class ActionReport(Struct, frozen=True, tag="action_report"):
    """One line of the log, told to everyone who watches the desk; a later report of the same number replaces it.

    ``duration`` is in seconds, from the start of the run. ``place`` is the desk pixel that was touched.
    """

    number: int
    who: Name
    role: Role
    kind: str
    summary: str
    state: ActionState
    message: str = ""
    duration: Seconds = 0.0
    place: tuple[Coordinate, Coordinate] | None = None


class Result(Struct, frozen=True, tag="result"):
    """The end of one action, told to whoever asked for it.

    ``data`` is the PNG, the file's bytes or the command's standard output.
    """

    id: str
    state: ActionState
    message: str = ""
    data: bytes = b""
    stderr: bytes = b""
    exit_code: int | None = None


class RequestOpened(Struct, frozen=True, tag="request_opened"):
    """An action waits for a decision. ``seconds`` are left; ``why`` names the rule that asks."""

    request: int
    number: int
    who: Name
    role: Role
    permission: Permission
    action: Asked
    payload_hash: bytes
    seconds: Seconds
    why: str = ""


class RequestClosed(Struct, frozen=True, tag="request_closed"):
    request: int
    state: RequestState
    by: NameOrNone = ""
    reason: str = ""


ToAgent = Hello | SetViewport | Offer | Act | Cancel | Decide | Ping
FromAgent = (
    Welcome | Held | Bye | Answer | StreamClock | Pong | DeskResized | DeskLost | ActionReport | Result
    | RequestOpened | RequestClosed
)  # fmt: skip

to_agent: Codec[ToAgent] = Codec(ToAgent, format="msgpack", limit=MAX_MESSAGE)
greeting: Codec[Hello] = Codec(Hello, format="msgpack", limit=1024)
"""What a stranger may say."""
from_agent: Codec[FromAgent] = Codec(FromAgent, format="msgpack", limit=MAX_MESSAGE)

BULK_FROM = 8 * 1024
"""A message of at least this many bytes goes on the bulk lane, so that it never stands before a key press."""
