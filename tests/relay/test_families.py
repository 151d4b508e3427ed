"""What belongs together is taken back together, and one desk's tokens never crowd out another's. Time is the test's."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest

from nexus_protocol.errors import NexusError, Unauthorized
from nexus_protocol.invitation import digest
from nexus_protocol.relay_messages import Invite, NotInvited, from_invite
from nexus_protocol.vocabulary import Role
from relay import joining, ledger
from relay.claims import Claims
from relay.issuer import INVITATIONS, LEDGER, Issuer
from relay.ledger import FamilyState
from relay.store import Store

from .conftest import Clock

DAY = 24 * 3600


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def issuer(tmp_path: Path, clock: Clock) -> Issuer:
    return Issuer.create(tmp_path, clock=clock)


def minted(issuer: Issuer, subject: str, *desks: str, role: Role = Role.OPERATOR, ttl: int = DAY) -> Claims:
    return issuer.verify(issuer.mint(role, subject, desks, ttl=ttl))


def joined(issuer: Issuer, subject: str, desk: str, held: Claims | None = None, ttl: int = DAY) -> Claims:
    """The claims of a token for an invitation."""
    proof = secrets.token_bytes(32)
    issuer.invite(digest(proof), Role.OPERATOR, subject, desk, 60, ttl=ttl)
    return issuer.verify(issuer.redeem(proof, held))


# ---- Several invitations


def test_an_invitation_makes_nothing_last_longer_that_was_held(issuer: Issuer) -> None:
    """The desks of both for the shorter time; one revocation ends both."""
    held = minted(issuer, "eve", "office", "lab", ttl=3600)
    both = joined(issuer, "whoever", "attic", held, ttl=90 * DAY)
    assert (both.desks, both.lifetime, both.family) == (("attic", "lab", "office"), 3600, held.family)
    shorter = joined(issuer, "whoever", "cellar", both, ttl=60)
    assert shorter.lifetime == 60
    issuer.revoke(held.token_id)
    for claims in (held, both, shorter):
        with pytest.raises(Unauthorized, match="revoked"):
            issuer.check(claims)


def test_what_is_meant_to_end_is_not_added_to(issuer: Issuer) -> None:
    """A token for less than a minute is never renewed; an invitation gives what it would give without it."""
    held = minted(issuer, "eve", "*", ttl=50)
    alone = joined(issuer, "guest", "lab", held, ttl=90 * DAY)
    assert (alone.subject, alone.desks, alone.lifetime) == ("guest", ("lab",), 90 * DAY)


def test_an_agent_that_is_invited_again_gets_what_it_is_invited_for(issuer: Issuer) -> None:
    """Nothing of the token that it holds is in the new one, so it may be valid for longer."""
    proof, held = secrets.token_bytes(32), minted(issuer, "office", "office", role=Role.AGENT)
    issuer.invite(digest(proof), Role.AGENT, "office", "office", 60, ttl=30 * DAY)
    again = issuer.verify(issuer.redeem(proof, held))
    assert (again.lifetime, again.family == held.family) == (30 * DAY, False)


@pytest.mark.parametrize("name", ["ada", "guest", "visitor"])
def test_whoever_was_invited_by_several_names_is_found_by_each(issuer: Issuer, clock: Clock, name: str) -> None:
    """In the list, which tells all desks also after the first token was renewed; and by `revoke --subject`."""
    first = joined(issuer, "ada", "office")
    both = joined(issuer, "guest", "lab", first)
    all_three = joined(issuer, "visitor", "attic", both)
    issuer.verify(issuer.renew(first))
    other = minted(issuer, "grace", "lab")
    line = next(line for line in issuer.listed() if line.token_id == first.family)
    assert (line.family.subject, line.family.invited_as) == ("ada", ("guest", "visitor"))
    assert line.family.desks == ("attic", "lab", "office")
    assert issuer.revoke_subject(name).families == 1
    for claims in (first, both, all_three):
        with pytest.raises(Unauthorized, match="revoked"):
            issuer.check(claims)
    issuer.check(other)
    issuer.check(joined(issuer, name, "lab"))


def test_so_many_names_and_no_more(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record of one family stays small, however often somebody is invited."""
    monkeypatch.setattr(ledger, "MAX_NAMES", 2)
    held = joined(issuer, "ada", "office")
    for name in ("a", "b", "a", "ada"):
        held = joined(issuer, name, "lab", held)
    with pytest.raises(NexusError, match="the most there can be"):
        joined(issuer, "c", "lab", held)


def test_an_agent_taken_back_a_moment_ago_leaves_no_invitation(issuer: Issuer, tmp_path: Path, clock: Clock) -> None:
    """The relay that it asks has not seen that yet; it looks before it promises anything."""
    agent = minted(issuer, "office", "office", role=Role.AGENT)
    Issuer.load(tmp_path, clock=clock).revoke(agent.token_id)
    answer = from_invite.decode(joining.invite(issuer, agent, Invite("0" * 64, "mole", Role.OPERATOR, 60)).encode())
    assert isinstance(answer, NotInvited)
    assert (answer.code, "revoked" in answer.reason) == ("forbidden", True)
    assert not (tmp_path / INVITATIONS).exists()


# ---- Room for everybody


def test_one_desk_never_fills_the_ledger(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past its share nobody new comes to it, by any name; to others they do, its agent does, and renewals go on."""
    monkeypatch.setattr(ledger, "MAX_OF_DESK", 3)
    held = [joined(issuer, f"x-{number}", "office") for number in range(3)]
    with pytest.raises(NexusError, match="3 tokens for office are valid, the most there can be"):
        joined(issuer, "more", "office")
    joined(issuer, "ada", "lab")
    minted(issuer, "office", "office", role=Role.AGENT)
    issuer.renew(held[0])
    issuer.revoke(held[1].token_id)
    joined(issuer, "more", "office")


@pytest.mark.parametrize("by", ["jti", "subject"])
def test_what_was_taken_back_gives_way_in_a_full_ledger(
    issuer: Issuer, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    """And is refused as before, also after a restart."""
    monkeypatch.setattr(ledger, "MAX_FAMILIES", 3)
    gone, *_ = [joined(issuer, "x", f"desk-{number}", ttl=90 * DAY) for number in range(3)]
    with pytest.raises(NexusError, match="the most it can; revoke"):
        minted(issuer, "honest", "*")
    issuer.revoke(gone.token_id) if by == "jti" else issuer.revoke_subject("x")
    minted(issuer, "honest", "*")
    assert FamilyState.REVOKED not in {line.state for line in issuer.listed()}
    clock.now += 89 * DAY
    minted(issuer, "late", "*")
    for each in (issuer, Issuer.load(tmp_path, clock=clock)):
        with pytest.raises(Unauthorized, match="revoked"):
            each.check(gone)


# ---- Two threads


def test_a_look_at_the_files_never_undoes_a_newer_one(
    issuer: Issuer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the relay's watcher reads, a renewal takes over a new key: its token must be good at once."""
    claims, read = minted(issuer, "alice", "office"), Store.read
    tokens: list[str] = []

    def slowly(store: Store, name: str) -> bytes:
        found = read(store, name)
        if name == LEDGER and not tokens:
            tokens.append("")
            issuer.rotate(3600)
            tokens.append(issuer.renew(claims))
        return found

    os.utime(tmp_path / LEDGER)
    monkeypatch.setattr(Store, "read", slowly)
    issuer.refresh()
    issuer.verify(tokens[-1])
    issuer.refresh()
    issuer.verify(tokens[-1])
