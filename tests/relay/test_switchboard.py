"""The switchboard without a socket: presence, links, limits, and who may do what."""

from __future__ import annotations

from typing import TypeVar

import pytest

from nexus_protocol.relay_messages import (
    Close,
    CloseCode,
    Closed,
    FromRelay,
    Incoming,
    NotOpened,
    Open,
    Opened,
    Presence,
    ToRelay,
    Welcome,
    from_relay,
    pack_frame,
    to_relay,
)
from nexus_protocol.vocabulary import Role
from relay.claims import Claims
from relay.switchboard import Limits, Peer, Switchboard

T = TypeVar("T")
FOREVER = 2**40


class Bench:
    """A switchboard with a few words to drive it."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.board = Switchboard(limits)

    def agent(self, desk: str) -> Peer:
        return self._welcomed(Claims(f"{desk[:58]}-agent", Role.AGENT, (desk,), 0, FOREVER, "t"))

    def operator(self, name: str, *desks: str, role: Role = Role.OPERATOR) -> Peer:
        return self._welcomed(Claims(name, role, desks or ("*",), 0, FOREVER, "t"))

    def _welcomed(self, claims: Claims) -> Peer:
        peer = self.board.join(claims)
        self.next(peer, Welcome)
        return peer

    def say(self, peer: Peer, message: ToRelay) -> None:
        self.board.receive(peer, to_relay.encode(message).decode())

    def message(self, peer: Peer) -> FromRelay | None:
        frame = self.board.take(peer)
        assert not isinstance(frame, bytes)
        return None if frame is None else from_relay.decode(frame.encode())

    def next(self, peer: Peer, kind: type[T]) -> T:
        message = self.message(peer)
        assert isinstance(message, kind), message
        return message

    def link(self, operator: Peer, agent: Peer) -> int:
        """A new link, with all messages about it read."""
        self.say(operator, Open(1, agent.claims.desk))
        number = self.next(operator, Opened).link
        assert self.next(agent, Incoming).link == number
        return number

    def refused(self, operator: Peer, desk: str) -> NotOpened:
        self.say(operator, Open(9, desk))
        return self.next(operator, NotOpened)


def test_welcome_names_the_peer_and_the_desks_it_may_reach_now() -> None:
    """An operator sees the desks of its token that are present; an agent sees its own."""
    bench = Bench()
    for desk in ("office", "lab", "attic"):
        bench.agent(desk)
    board = bench.board
    bob = board.join(Claims("bob", Role.VIEWER, ("lab", "office", "cellar"), 0, FOREVER, "t"))
    assert bench.message(bob) == Welcome("bob", Role.VIEWER, ("lab", "office"))
    agent = board.join(Claims("c", Role.AGENT, ("cellar",), 0, FOREVER, "t"))
    assert bench.message(agent) == Welcome("c", Role.AGENT, ("cellar",))


def test_presence_reaches_those_whose_token_covers_the_desk() -> None:
    """A desk that comes or goes is told to operators who may reach it, and to nobody else."""
    bench = Bench()
    everywhere, lab_only = bench.operator("ann"), bench.operator("bob", "lab")
    office = bench.agent("office")
    assert bench.next(everywhere, Presence).desks == ("office",)
    assert bench.message(lab_only) is None
    bench.board.leave(office)
    assert bench.next(everywhere, Presence).desks == ()


def test_only_the_newest_presence_is_kept() -> None:
    """Many changes that an operator has not read yet are one message with the last state."""
    bench = Bench()
    ann = bench.operator("ann")
    for n in range(50):
        bench.agent(f"desk-{n}")
    assert len(bench.next(ann, Presence).desks) == 50
    assert bench.message(ann) is None


def test_a_link_joins_operator_and_agent_under_one_number() -> None:
    """The agent hears who opens it; bytes arrive at the other side as they were."""
    bench = Bench()
    agent, bob = bench.agent("office"), bench.operator("bob", role=Role.AUTOMATION)
    bench.say(bob, Open(7, "office"))
    opened = bench.next(bob, Opened)
    assert (opened.ref, opened.desk) == (7, "office")
    assert bench.next(agent, Incoming) == Incoming(opened.link, "bob", Role.AUTOMATION)
    bench.board.receive(bob, pack_frame(opened.link, b"to the desk"))
    bench.board.receive(agent, pack_frame(opened.link, b"to bob"))
    assert bench.board.take(agent) == pack_frame(opened.link, b"to the desk")
    assert bench.board.take(bob) == pack_frame(opened.link, b"to bob")
    assert bench.board.counts() == {"desks": 1, "operators": 1, "links": 1}


def test_a_desk_that_is_not_here_is_refused_with_the_nearest_name() -> None:
    """unknown-desk names the desk that was probably meant, or those that are here."""
    bench = Bench()
    bob = bench.operator("bob")
    assert "no other desk is" in bench.refused(bob, "office").reason
    bench.agent("office")
    bench.next(bob, Presence)
    answer = bench.refused(bob, "ofice")
    assert (answer.ref, answer.code) == (9, "unknown-desk")
    assert "did you mean office?" in answer.reason
    assert "present: office" in bench.refused(bob, "kitchen").reason


def test_a_desk_outside_the_token_is_forbidden_and_stays_unseen() -> None:
    """forbidden says what the token is for; whether the desk is present is not told."""
    bench = Bench()
    bench.agent("office")
    bob = bench.operator("bob", "lab")
    present, absent = bench.refused(bob, "office"), bench.refused(bob, "attic")
    assert present.code == absent.code == "forbidden"
    assert present.reason.replace("office", "attic") == absent.reason


def test_links_are_limited_for_operator_and_agent() -> None:
    """too-many; closing a link makes room for another."""
    bench = Bench(Limits(links_per_operator=2, links_per_agent=3))
    agent = bench.agent("office")
    ann, bob = bench.operator("ann"), bench.operator("bob")
    first, _ = bench.link(ann, agent), bench.link(ann, agent)
    assert bench.refused(ann, "office").code == "too-many"
    bench.link(bob, agent)
    assert bench.refused(bob, "office").code == "too-many"
    bench.say(ann, Close(first))
    assert bench.refused(bob, "office").code == "too-many", "the agent has not been told yet"
    bench.next(agent, Closed)
    bench.link(bob, agent)


def test_opening_and_closing_without_end_cannot_flood_an_agent() -> None:
    """What waits for an agent that reads nothing stays bounded, and the agent is not cut for it."""
    bench = Bench(Limits(opens_at_once=2000))
    agent, bob = bench.agent("office"), bench.operator("bob")
    for _ in range(2000):
        bench.say(bob, Open(1, "office"))
        if isinstance(answer := bench.message(bob), Opened):
            bench.say(bob, Close(answer.link, "\x00" * 512))
    assert agent.ending is None
    assert len(agent.outbox.links_waiting()) == Limits().links_per_agent


def test_a_close_tells_the_other_side_after_the_last_byte() -> None:
    """What was sent before the close still arrives; the reason comes along; the closer hears nothing."""
    bench = Bench()
    agent, bob = bench.agent("office"), bench.operator("bob")
    link = bench.link(bob, agent)
    bench.board.receive(bob, pack_frame(link, b"last words"))
    bench.board.receive(agent, pack_frame(link, b"nobody reads this"))
    bench.say(bob, Close(link, "done"))
    assert bench.board.take(agent) == pack_frame(link, b"last words")
    assert bench.next(agent, Closed) == Closed(link, "closed", "done")
    assert bench.board.take(bob) is None


def test_frames_that_cross_a_close_are_dropped() -> None:
    """A side that has not heard of the end yet does nothing wrong by sending, or by closing too."""
    bench = Bench()
    agent, bob = bench.agent("office"), bench.operator("bob")
    link = bench.link(bob, agent)
    bench.say(bob, Close(link))
    bench.board.receive(agent, pack_frame(link, b"late"))
    bench.say(agent, Close(link))
    assert agent.ending is None
    assert bench.board.take(bob) is None


def test_who_closes_a_link_hears_nothing_more_of_it() -> None:
    """Not even that it had ended already: what was on its way is forgotten."""
    bench = Bench()
    agent, bob = bench.agent("office"), bench.operator("bob")
    link = bench.link(bob, agent)
    bench.board.receive(agent, pack_frame(link, b"unread"))
    bench.say(agent, Close(link, "done"))
    bench.say(bob, Close(link))
    assert bench.board.take(bob) is None
    assert bench.board.take(agent) is None


def test_a_side_that_goes_away_ends_its_links_as_gone() -> None:
    """Operator or agent: the other side of each link is told once, and by name."""
    bench = Bench()
    agent, ann, bob = bench.agent("office"), bench.operator("ann"), bench.operator("bob")
    with_ann, with_bob = bench.link(ann, agent), bench.link(bob, agent)
    bench.board.leave(ann)
    bench.board.leave(ann)
    closed = bench.next(agent, Closed)
    assert (closed.link, closed.code) == (with_ann, "gone")
    assert "ann" in closed.reason
    bench.board.leave(agent)
    assert bench.next(bob, Presence).desks == ()
    closed = bench.next(bob, Closed)
    assert (closed.link, closed.code) == (with_bob, "gone")
    assert bench.board.counts() == {"desks": 0, "operators": 1, "links": 0}


def test_a_second_agent_takes_over_the_desk() -> None:
    """The first is ended as replaced, its links are gone, and the desk never leaves the list."""
    bench = Bench()
    first, bob = bench.agent("office"), bench.operator("bob")
    bench.link(bob, first)
    second = bench.agent("office")
    assert first.ending is not None
    assert first.ending.code == CloseCode.REPLACED
    assert bench.next(bob, Closed).code == "gone"
    assert bench.message(bob) is None, "no presence: the same desks are here"
    bench.board.leave(first)
    bench.link(bob, second)


def test_the_relay_has_room_for_so_many_desks() -> None:
    """One more is ended with a reason; taking over a desk is still possible."""
    bench = Bench(Limits(desks=1))
    bench.agent("office")
    extra = bench.board.join(Claims("x", Role.AGENT, ("lab",), 0, FOREVER, "t"))
    assert extra.ending is not None
    assert extra.ending.code == CloseCode.FULL
    bench.agent("office")
    assert bench.board.counts()["desks"] == 1


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("{", "cannot be read"),
        ('{"type":"open","ref":1,"desk":"../x"}', "cannot be read"),
        ('{"type":"welcome","subject":"x","role":"agent"}', "cannot be read"),
        ("[" * 4000, "cannot be read"),
        (" " * 5000, "at most"),
        ('{"type":"close","link":77}', "never yours"),
        (b"", "too short"),
        (pack_frame(77, b"x"), "never yours"),
        (pack_frame(0, b"x"), "never yours"),
        (pack_frame(1, bytes(65 * 1024)), "66,564"),
    ],
)
def test_what_the_protocol_does_not_allow_ends_that_peer_only(data: str | bytes, says: str) -> None:
    """4004 with a reason for the one who sent it; everybody else goes on."""
    bench = Bench()
    agent, ann, bob = bench.agent("office"), bench.operator("ann"), bench.operator("bob")
    link = bench.link(ann, agent)
    bench.board.receive(bob, data)
    assert bob.ending is not None
    assert bob.ending.code == CloseCode.PROTOCOL
    assert says in bob.ending.reason
    assert bench.board.take(bob) is None
    bench.board.receive(ann, pack_frame(link, b"still here"))
    assert bench.board.take(agent) == pack_frame(link, b"still here")


def test_an_agent_may_not_open_and_nobody_may_use_anothers_link() -> None:
    """Both are protocol errors, and the link that was named goes on."""
    bench = Bench()
    agent, other, ann, bob = bench.agent("office"), bench.agent("lab"), bench.operator("ann"), bench.operator("bob")
    link = bench.link(ann, agent)
    bench.say(other, Open(1, "office"))
    bench.board.receive(bob, pack_frame(link, b"forged"))
    assert other.ending is not None
    assert bob.ending is not None
    bench.board.receive(ann, pack_frame(link, b"genuine"))
    assert bench.board.take(agent) == pack_frame(link, b"genuine")


def test_a_link_that_is_not_read_ends_and_only_that_link() -> None:
    """Past its megabyte a link is closed as too-slow on both sides; the same two peers' other link goes on."""
    bench = Bench()
    agent, bob = bench.agent("office"), bench.operator("bob")
    slow, fine = bench.link(bob, agent), bench.link(bob, agent)
    bench.board.receive(agent, pack_frame(fine, b"before"))
    for _ in range(17):
        bench.board.receive(agent, pack_frame(slow, bytes(64 * 1024)))
    assert bench.next(agent, Closed).code == "too-slow"
    assert bench.board.take(bob) == pack_frame(fine, b"before")
    closed = bench.next(bob, Closed)
    assert (closed.link, closed.code) == (slow, "too-slow")
    bench.board.receive(agent, pack_frame(fine, b"after"))
    assert bench.board.take(bob) == pack_frame(fine, b"after")


def test_when_one_peer_is_owed_too_much_its_largest_link_ends() -> None:
    """The bound on one peer costs the link that holds most, not the one whose byte came last."""
    bench = Bench(Limits(link_bytes=1000, peer_bytes=2000))
    agent, bob = bench.agent("office"), bench.operator("bob")
    large, medium, small = (bench.link(bob, agent) for _ in range(3))
    for link, size in ((large, 800), (medium, 600), (small, 300)):
        bench.board.receive(agent, pack_frame(link, bytes(size)))
    assert bench.next(agent, Closed).link == large
    assert set(bob.links) == {medium, small}


def test_the_last_bytes_of_an_ended_link_are_kept() -> None:
    """Room for one link is never made with what another was sent before it ended in good order."""
    bench = Bench(Limits(link_bytes=1000, peer_bytes=1500))
    agent, bob = bench.agent("office"), bench.operator("bob")
    ended, busy = bench.link(bob, agent), bench.link(bob, agent)
    bench.board.receive(agent, pack_frame(ended, bytes(800)))
    bench.say(agent, Close(ended, "done"))
    bench.board.receive(agent, pack_frame(busy, bytes(700)))
    assert bench.next(agent, Closed).link == busy
    assert bench.board.take(bob) == pack_frame(ended, bytes(800))


def test_links_take_turns() -> None:
    """A byte on one link does not wait behind all of what another link holds."""
    bench = Bench()
    agent, bob = bench.agent("office"), bench.operator("bob")
    file, keys = bench.link(bob, agent), bench.link(bob, agent)
    for _ in range(10):
        bench.board.receive(bob, pack_frame(file, bytes(60_000)))
    bench.board.receive(bob, pack_frame(keys, b"a"))
    assert pack_frame(keys, b"a") in [bench.board.take(agent) for _ in range(2)]


def test_a_peer_that_asks_and_never_reads_is_ended() -> None:
    """Answers nobody reads are bounded too."""
    bench = Bench()
    bob = bench.operator("bob")
    for _ in range(10_000):
        bench.say(bob, Open(1, "nowhere"))
    assert bob.ending is not None
    assert bob.ending.code == CloseCode.TOO_SLOW


def test_the_welcome_of_a_full_relay_fits_into_one_message() -> None:
    """The longest names, and as many desks as there may be."""
    bench = Bench()
    for n in range(Limits().desks):
        bench.agent(f"{n:x<64}")
    assert len(bench.operator("bob").claims.desks) == 1


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.AGENT])
@pytest.mark.parametrize(
    ("desks", "wanted", "opens"),
    [
        (("office",), "office", True),
        (("office",), "lab", False),
        (("attic", "lab"), "lab", True),
        (("*",), "lab", True),
        (("offic",), "office", False),
    ],
)
def test_a_link_is_opened_to_the_desks_of_a_token_and_no_others(
    role: Role, desks: tuple[str, ...], wanted: str, opens: bool
) -> None:
    """In every role but the agent's (above); the agent hears whom the token speaks for, and in which role."""
    bench = Bench()
    agents = {desk: bench.agent(desk) for desk in ("office", "lab")}
    peer = bench.operator("bob", *desks, role=role)
    if not opens:
        assert bench.refused(peer, wanted).code == "forbidden"
        assert bench.message(agents[wanted]) is None
        return
    bench.say(peer, Open(1, wanted))
    number = bench.next(peer, Opened).link
    assert bench.next(agents[wanted], Incoming) == Incoming(number, "bob", role)
