"""Links asked for without end: so many at once, then so many a second, for a token and not for a connection."""

from __future__ import annotations

from nexus_protocol.relay_messages import Close, NotOpened, Open, Opened, from_relay, to_relay
from nexus_protocol.vocabulary import Role
from relay.claims import Claims
from relay.pace import Pace
from relay.switchboard import Limits, Peer, Switchboard

from .conftest import Clock

LIMITS = Limits()


def test_so_many_at_once_and_then_so_many_a_second() -> None:
    """Asking in vain costs nothing; each name has a pace of its own; after a rest all is as at first."""
    clock = Clock()
    pace = Pace(64, 20, clock)
    assert [pace.allows("eve") for _ in range(70)] == [True] * 64 + [False] * 6
    assert pace.allows("bob")
    clock.now += 0.051
    assert [pace.allows("eve") for _ in range(3)] == [True, False, False]
    clock.now += 1
    assert [pace.allows("eve") for _ in range(30)] == [True] * 20 + [False] * 10
    clock.now += 3600
    assert sum(pace.allows("eve") for _ in range(100)) == 64


def test_nobody_is_remembered_for_longer_than_it_matters() -> None:
    """Many names, a few at a time: each counts while it must."""
    clock = Clock()
    pace = Pace(2, 1, clock)
    for number in range(5_000):
        assert [pace.allows(f"{number}") for _ in range(3)] == [True, True, False]
        clock.now += 0.01
    assert not pace.allows("4999")


class Bench:
    def __init__(self) -> None:
        self.clock = Clock()
        self.board = Switchboard(clock=self.clock)
        self.board.join(Claims("office", Role.AGENT, ("office",), 0, 2**40, "agents"))

    def operator(self, token: str) -> Peer:
        peer = self.board.join(Claims("eve", Role.VIEWER, ("office",), 0, 2**40, token))
        self.board.take(peer)
        return peer

    def opens(self, peer: Peer, times: int, desk: str = "office") -> list[str]:
        """What became of each; what was opened is closed again."""
        ends = []
        for _ in range(times):
            self.board.receive(peer, to_relay.encode(Open(1, desk)).decode())
            frame = self.board.take(peer)
            assert isinstance(frame, str)
            match from_relay.decode(frame.encode()):
                case Opened(link=number):
                    ends.append("opened")
                    self.board.receive(peer, to_relay.encode(Close(number)).decode())
                case NotOpened(code=code, reason=reason):
                    ends.append(f"{code}: {reason}")
        return ends


def test_a_flood_of_opening_and_closing_is_slowed_down() -> None:
    """The rest is told too-many and to wait; whoever waits is served, and somebody else at once."""
    bench = Bench()
    eve, bob = bench.operator("eves"), bench.operator("bobs")
    refused = "too-many: you ask for links too fast; try again in a second"
    most = LIMITS.opens_at_once
    assert bench.opens(eve, 1400) == ["opened"] * most + [refused] * (1400 - most)
    assert bench.opens(bob, 1) == ["opened"]
    bench.clock.now += 1
    assert bench.opens(eve, 100).count("opened") == LIMITS.opens_per_second


def test_another_connection_with_the_same_token_is_no_faster() -> None:
    """Nor one with what it was renewed to, nor asking for what is not there."""
    bench = Bench()
    assert bench.opens(bench.operator("eves"), 32).count("opened") == 32
    assert "too-many" not in " ".join(bench.opens(bench.operator("eves.1"), 32, "kitchen"))
    assert "too-many" in bench.opens(bench.operator("eves.2"), 1)[0]
