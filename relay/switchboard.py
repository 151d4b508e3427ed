"""Who is present, who may open a link to whom, and what goes out to which peer: the relay without its sockets.

Bytes come in with `receive`, go out with `take`; `wake` tells the adapter that there is something to take or
that the peer is to end. The bytes of a link are copied as they are; nothing here could read them.

A link is open from the moment the agent's Incoming is queued. It ends by a Close of either side, when a side goes
away, or when a side reads too slowly; each side that did not end it itself is told once, after the last byte.
"""

from __future__ import annotations

import difflib
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from nexus_protocol.errors import ProtocolError
from nexus_protocol.relay_messages import (
    MAX_IN_FLIGHT,
    Close,
    CloseCode,
    Closed,
    FromRelay,
    Incoming,
    NotOpened,
    Open,
    Opened,
    Presence,
    Renewed,
    Welcome,
    from_relay,
    to_relay,
    unpack_frame,
)
from nexus_protocol.vocabulary import Role

from .claims import Claims
from .outbox import GENERAL, Outbox
from .pace import Pace

_REMEMBERED = 1024
"""Ended links a peer may still name for a while: its frames were under way when the link ended."""
_MAX_REASON = 512


@dataclass(frozen=True, slots=True)
class Limits:
    """What one relay carries at most.

    A Welcome with the names of all desks fits into one message, and an Incoming and a Closed for each of an agent's
    links fit into ``message_bytes``. How fast links are asked for counts for a token, whichever connection it comes by.
    """

    desks: int = 512
    links_per_operator: int = 32
    links_per_agent: int = 256
    opens_at_once: int = 64
    opens_per_second: float = 20.0
    link_bytes: int = MAX_IN_FLIGHT
    peer_bytes: int = 4 * MAX_IN_FLIGHT
    message_bytes: int = MAX_IN_FLIGHT


class Ending(NamedTuple):
    """How the peer's socket is to be closed."""

    code: int
    reason: str


class Link(NamedTuple):
    number: int
    operator: Peer
    agent: Peer

    def other(self, peer: Peer) -> Peer:
        return self.agent if peer is self.operator else self.operator


class Peer:
    """One connection, as the switchboard knows it."""

    def __init__(self, claims: Claims, limits: Limits) -> None:
        self.claims = claims
        self.links: dict[int, Link] = {}
        self.outbox = Outbox(
            link_bytes=limits.link_bytes, peer_bytes=limits.peer_bytes, message_bytes=limits.message_bytes
        )
        self.wake: Callable[[], None] = lambda: None
        """Set by the adapter; called when there is something to take or `ending` has been set."""
        self.ending: Ending | None = None
        self.welcomed = False
        self.news = False
        """The desks have changed since they were last told. The newest list wins: it is made when it is taken."""
        self._ended_links: dict[int, None] = {}

    @property
    def is_agent(self) -> bool:
        return self.claims.role is Role.AGENT

    def links_used(self) -> int:
        """Open links, and ended ones that the peer has yet to be told of."""
        return len(self.links.keys() | self.outbox.links_waiting())

    def forget(self, link: int) -> None:
        del self.links[link]
        self._ended_links[link] = None
        if len(self._ended_links) > _REMEMBERED:
            del self._ended_links[next(iter(self._ended_links))]

    def find(self, link: int) -> Link | None:
        """The open link of that number, or None for one that has just ended. Raises ProtocolError."""
        if (found := self.links.get(link)) is None and link not in self._ended_links:
            raise ProtocolError("unknown-link", f"link {link} was never yours")
        return found


class Switchboard:
    def __init__(self, limits: Limits | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock``: seconds, from any beginning."""
        self._limits = limits or Limits()
        self._opens = Pace(self._limits.opens_at_once, self._limits.opens_per_second, clock)
        self._agents: dict[str, Peer] = {}
        self._operators: set[Peer] = set()
        self._numbers = itertools.count(GENERAL + 1)

    def counts(self) -> dict[str, int]:
        """How many desks, operators and links there are now."""
        links = sum(len(agent.links) for agent in self._agents.values())
        return {"desks": len(self._agents), "operators": len(self._operators), "links": links}

    def peers(self) -> list[Peer]:
        return [*self._agents.values(), *self._operators]

    # A peer comes and goes

    def join(self, claims: Claims) -> Peer:
        """A new connection. An agent takes over its desk from the one before."""
        peer = Peer(claims, self._limits)
        if not peer.is_agent:
            self._operators.add(peer)
            return peer
        before = self._agents.get(claims.desk)
        if before is None and len(self._agents) >= self._limits.desks:
            self.end(peer, CloseCode.FULL, f"this relay serves {self._limits.desks} desks at most; try again later")
            return peer
        self._agents[claims.desk] = peer
        if before is None:
            self._tell_presence(claims.desk)
        else:
            self.end(before, CloseCode.REPLACED, f"another agent serves {claims.desk} now")
        return peer

    def leave(self, peer: Peer) -> None:
        """The connection is gone. Calling it again changes nothing."""
        who = f"the agent of {peer.claims.desk}" if peer.is_agent else peer.claims.subject
        why = peer.ending.reason if peer.ending else "disconnected"
        while peer.links:
            link = next(iter(peer.links.values()))
            self._end_link(link, "gone", f"{who} is gone: {why}", tell=[link.other(peer)])
        self._operators.discard(peer)
        if peer.is_agent and self._agents.get(peer.claims.desk) is peer:
            del self._agents[peer.claims.desk]
            self._tell_presence(peer.claims.desk)

    def end(self, peer: Peer, code: int, reason: str) -> None:
        """The relay ends the connection: it leaves at once, and the adapter closes its socket."""
        if peer.ending is None:
            peer.ending = Ending(code, reason)
            self.leave(peer)
            peer.wake()

    def renew(self, peer: Peer, claims: Claims, token: str) -> None:
        """From now on the peer is here by these claims, and is sent the token that says so."""
        peer.claims = claims
        self._say(peer, Renewed(token))

    def _tell_presence(self, desk: str) -> None:
        for operator in self._operators:
            if operator.claims.reaches(desk):
                operator.news = True
                operator.wake()

    def _reachable(self, claims: Claims) -> tuple[str, ...]:
        if claims.role is Role.AGENT:
            return claims.desks
        return tuple(sorted(desk for desk in self._agents if claims.reaches(desk)))

    # What peers send

    def receive(self, peer: Peer, data: str | bytes) -> None:
        """One text or binary frame from a peer. What the protocol does not allow ends that peer, and only it."""
        if peer.ending is not None:
            return
        try:
            if isinstance(data, bytes):
                self._copy(peer, data)
                return
            match to_relay.decode(data.encode()):
                case Open() as wanted:
                    self._open(peer, wanted)
                case Close(link=number, reason=reason):
                    link = peer.find(number)
                    peer.outbox.drop(number)
                    if link is not None:
                        self._end_link(link, "closed", reason, tell=[link.other(peer)])
        except ProtocolError as error:
            self.end(peer, CloseCode.PROTOCOL, str(error))

    def _copy(self, peer: Peer, frame: bytes) -> None:
        number, _ = unpack_frame(frame)
        link = peer.find(number)
        if link is None:
            return
        receiver = link.other(peer)
        while number in peer.links:
            too_large = receiver.outbox.put_frame(number, frame, receiver.links)
            if too_large is None:
                receiver.wake()
                return
            self._end_slow(receiver, receiver.links[too_large])

    def _end_slow(self, receiver: Peer, link: Link) -> None:
        receiver.outbox.drop(link.number, keep_messages=True)
        reason = f"{receiver.claims.subject} reads too slowly"
        self._end_link(link, "too-slow", reason, tell=[link.operator, link.agent])

    def _open(self, peer: Peer, wanted: Open) -> None:
        if peer.is_agent:
            raise ProtocolError("forbidden", "an agent cannot open a link")
        agent = self._agents.get(wanted.desk)
        if not self._opens.allows(peer.claims.family):  # first: finding out what else is wrong costs more
            code, reason = "too-many", "you ask for links too fast; try again in a second"
        elif not peer.claims.reaches(wanted.desk):
            theirs = _listed(peer.claims.desks)
            code, reason = "forbidden", f"your token does not reach {wanted.desk}; it is for {theirs}"
        elif agent is None:
            code, reason = "unknown-desk", _not_here(wanted.desk, self._reachable(peer.claims))
        elif peer.links_used() >= (most := self._limits.links_per_operator):
            code, reason = "too-many", f"you have {most} links, the most there can be; close one"
        elif agent.links_used() >= self._limits.links_per_agent:
            code, reason = "too-many", f"{wanted.desk} has as many links as it can; try again later"
        else:
            link = Link(next(self._numbers), peer, agent)
            peer.links[link.number] = agent.links[link.number] = link
            # The agent's two messages a link always fit (see Limits), so the operator cannot hear of the end first.
            self._say(agent, Incoming(link.number, peer.claims.subject, peer.claims.role), link.number)
            self._say(peer, Opened(wanted.ref, link.number, wanted.desk), link.number)
            return
        self._say(peer, NotOpened(wanted.ref, code, reason[:_MAX_REASON]))

    def _end_link(self, link: Link, code: str, reason: str, *, tell: list[Peer]) -> None:
        for peer in (link.operator, link.agent):
            peer.forget(link.number)
        for peer in tell:
            self._say(peer, Closed(link.number, code, reason[:_MAX_REASON]), link.number)

    # What goes out

    def take(self, peer: Peer) -> str | bytes | None:
        """The next text or binary frame for the peer; None when there is none now."""
        if peer.ending is not None:
            return None
        claims = peer.claims
        if not peer.welcomed:
            peer.welcomed, peer.news = True, False
            return _text(Welcome(claims.subject, claims.role, self._reachable(claims)))
        if peer.news:
            peer.news = False
            return _text(Presence(self._reachable(claims)))
        return peer.outbox.take()

    def _say(self, peer: Peer, message: FromRelay, link: int = GENERAL) -> None:
        if peer.outbox.put_message(_text(message), link):
            peer.wake()
        else:
            self.end(peer, CloseCode.TOO_SLOW, "the relay's messages were not read")


def _text(message: FromRelay) -> str:
    return from_relay.encode(message).decode()


def _not_here(desk: str, present: tuple[str, ...]) -> str:
    if not present:
        return f"{desk} is not here, and no other desk is; is its agent running?"
    near = difflib.get_close_matches(desk, present, n=1)
    return f"{desk} is not here; " + (f"did you mean {near[0]}?" if near else f"present: {_listed(present)}")


def _listed(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:10])
    return shown if len(names) <= 10 else f"{shown} and {len(names) - 10} more"
