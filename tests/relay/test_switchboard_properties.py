"""Whatever peers do, in whatever order: a link's bytes reach its other party only, in order, never after its end."""

from __future__ import annotations

import itertools
from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from nexus_protocol.relay_messages import (
    FRAME_COST,
    Close,
    Closed,
    Incoming,
    Open,
    Opened,
    from_relay,
    pack_frame,
    to_relay,
    unpack_frame,
)
from nexus_protocol.vocabulary import Role
from relay.claims import Claims
from relay.switchboard import Limits, Peer, Switchboard

LIMITS = Limits(links_per_operator=3, links_per_agent=4, link_bytes=3_000, peer_bytes=5_000)


class Links(RuleBasedStateMachine):
    """The model: for each link and receiver, what was sent and has not arrived; and who knows of the link's end."""

    peers = Bundle("peers")

    def __init__(self) -> None:
        super().__init__()
        self.board = Switchboard(LIMITS)
        self.alive: list[Peer] = []
        self.sent: dict[tuple[int, Peer], deque[bytes]] = {}
        self.known: dict[Peer, set[int]] = {}
        self.over: set[tuple[int, Peer]] = set()
        self.serial = itertools.count()

    @rule(target=peers, desk=st.sampled_from("ab"))
    def agent_joins(self, desk: str) -> Peer:
        return self._joined(Claims(f"agent-{desk}", Role.AGENT, (desk,), 0, 2**40, "t"))

    @rule(target=peers, desks=st.sampled_from([("a",), ("*",)]))
    def operator_joins(self, desks: tuple[str, ...]) -> Peer:
        return self._joined(Claims("operator", Role.OPERATOR, desks, 0, 2**40, "t"))

    def _joined(self, claims: Claims) -> Peer:
        peer = self.board.join(claims)
        self.alive.append(peer)
        self.known[peer] = set()
        return peer

    @rule(peer=consumes(peers))
    def peer_leaves(self, peer: Peer) -> None:
        self.board.leave(peer)
        self.alive.remove(peer)

    @rule(peer=peers, desk=st.sampled_from("ab"))
    def operator_opens(self, peer: Peer, desk: str) -> None:
        if not peer.is_agent:
            self.board.receive(peer, to_relay.encode(Open(1, desk)).decode())

    @rule(peer=peers, which=st.integers(0, 10), size=st.integers(0, 1_500))
    def peer_sends(self, peer: Peer, which: int, size: int) -> None:
        if not (links := sorted(self.known[peer])):
            return
        number = links[which % len(links)]
        payload = next(self.serial).to_bytes(8, "big") + bytes(size)
        link = peer.links.get(number)
        self.board.receive(peer, pack_frame(number, payload))
        if link is not None:
            self.sent.setdefault((number, link.other(peer)), deque()).append(payload)

    @rule(peer=peers, which=st.integers(0, 10))
    def peer_closes(self, peer: Peer, which: int) -> None:
        if links := sorted(self.known[peer]):
            number = links[which % len(links)]
            self.board.receive(peer, to_relay.encode(Close(number)).decode())
            self.over.add((number, peer))

    @rule(peer=peers, count=st.integers(1, 20))
    def peer_reads(self, peer: Peer, count: int) -> None:
        for _ in range(count):
            self._read(peer)

    def _read(self, peer: Peer) -> bool:
        frame = self.board.take(peer)
        if isinstance(frame, bytes):
            number, payload = unpack_frame(frame)
            assert number in self.known[peer], "bytes before the link was announced"
            assert (number, peer) not in self.over, "bytes after the link's end"
            assert self.sent[number, peer].popleft() == payload, "not the next byte of this link and direction"
        elif frame is not None:
            match from_relay.decode(frame.encode()):
                case Opened(link=number) | Incoming(link=number):
                    assert number not in self.known[peer]
                    self.known[peer].add(number)
                case Closed(link=number, code=code):
                    assert number in self.known[peer], "the end of a link that was never announced"
                    assert (number, peer) not in self.over, "told twice"
                    self.over.add((number, peer))
                    if code != "too-slow":
                        assert not self.sent.get((number, peer)), "an ordinary end loses nothing"
        return frame is not None

    @invariant()
    def what_waits_is_bounded(self) -> None:
        for peer in self.alive:
            frames = [item for lane in peer.outbox._lanes.values() for item in lane.waiting if isinstance(item, bytes)]
            assert sum(len(frame) + FRAME_COST for frame in frames) <= LIMITS.peer_bytes
            assert len(peer.outbox.links_waiting()) <= LIMITS.links_per_agent

    @invariant()
    def both_parties_agree_on_every_link(self) -> None:
        for peer in self.alive:
            for number, link in peer.links.items():
                assert link.other(peer).links[number] is link

    def teardown(self) -> None:
        for peer in self.alive:
            while self._read(peer):
                pass
            for number in peer.links:
                assert not self.sent.get((number, peer)), "an open link loses nothing"


Links.TestCase.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
TestLinks = Links.TestCase
