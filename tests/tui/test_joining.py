"""Accepting an invitation: what is kept when, and what a passing trouble must not cost."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from nexus_protocol import settings
from nexus_protocol.dialer import RelayClient, Status, dial
from nexus_protocol.errors import Unauthorized, Unreachable, UsageError
from nexus_protocol.fingerprint import Fingerprint
from nexus_protocol.identity import Identity
from nexus_protocol.invitation import Invitation, Secret, digest
from nexus_protocol.link import Link
from nexus_protocol.messages import from_agent, to_agent
from nexus_protocol.settings import RELAY, TOKEN, RelayToken, joined_relay, keep_joined, relay_token, write_secret
from nexus_protocol.vocabulary import Role
from nexus_tui.core.known_desks import KnownDesks, UnknownDesk
from nexus_tui.core.membership import Invitations, Membership
from nexus_tui.core.session import Session
from nexus_tui.joining import _join, accept

from .conftest import World


def invited(world: World, name: str = "nora", *, desk: str = "office", agent_knows: bool = True) -> Invitation:
    secret = Secret.new()
    world.issuer.invite(digest(secret.relay_proof), Role.OPERATOR, name, desk, 900)
    if agent_knows:
        world.operators(desk).invite(
            name, Role.OPERATOR, secret.agent_proof, approver=True, expires=2**31, by="the test"
        )  # fmt: skip
    return Invitation(world.url, desk, secret, world.fingerprint(desk))


async def meet(member: Membership, desk: str = "office") -> str:
    """Whom the desk takes this member for."""
    session = Session(member, watch=False)
    async with session.dialled():
        await session.open(desk)
        assert session.welcome is not None
        return session.welcome.subject


async def test_a_desk_that_is_not_ready_leaves_the_invitation_good(world: World) -> None:
    """It cannot read its list for a moment; once that is mended the same invitation lets in."""
    await world.start_agent()
    member = await accept(invited(world), world.place("nora"))
    listed = world.place("agent-office") / "authorized_operators"
    listed.chmod(0o666)
    with pytest.raises(Unreachable, match="its person has to mend it") as trouble:
        await meet(member)
    assert not isinstance(trouble.value, Unauthorized)
    listed.chmod(0o600)
    assert await meet(member) == "nora"


async def test_an_invitation_that_the_desk_does_not_know_is_shown_once(world: World) -> None:
    """It is worth nothing, and nothing of it is kept; without it the desk may know this operator, or let them knock."""
    await world.start_agent()
    member = await accept(invited(world, agent_knows=False), world.place("nora"))
    with pytest.raises(Unauthorized, match="this invitation is not known here"):
        await meet(member)
    assert member.invitations.proof_for("office") == b""


@pytest.mark.parametrize("broken", ["known_desks", "invitations"])
async def test_what_cannot_be_kept_is_noticed_before_the_relay_hears_of_it(world: World, broken: str) -> None:
    """The file is mended, and the same invitation is taken."""
    await world.start_agent()
    invitation, folder = invited(world), world.place("nora")
    (folder / broken).write_text("garbage =")
    (folder / broken).chmod(0o600)
    with pytest.raises(UsageError, match=broken):
        await accept(invitation, folder)
    (folder / broken).unlink()
    assert await meet(await accept(invitation, folder)) == "nora"


async def test_of_an_invitation_that_the_relay_refuses_nothing_is_kept(world: World) -> None:
    """Neither its key nor its proof; what was known and waited before is still there."""
    await world.start_agent()
    invitation, folder = invited(world), world.place("late")
    await accept(invitation, world.place("nora"))
    with pytest.raises(Unauthorized, match="not known here"):
        await accept(invitation, folder)
    with pytest.raises(UnknownDesk):
        KnownDesks(folder, world.url).check("office", world.fingerprint())
    assert Invitations(folder, world.url).proof_for("office") == b""
    assert not (folder / TOKEN).exists()


async def test_joining_twice_before_the_desk_was_met_takes_nothing_away(world: World) -> None:
    """The relay refuses the second time; the proof of the first is still there for the desk."""
    await world.start_agent()
    invitation, folder = invited(world), world.place("nora")
    member = await accept(invitation, folder)
    with pytest.raises(Unauthorized, match="not known here"):
        await accept(invitation, folder)
    assert await meet(member) == "nora"


class FullDesk:
    """An agent that sends everybody away with one word."""

    def on_status(self, status: Status) -> None: ...
    def on_presence(self, desks: tuple[str, ...]) -> None: ...

    def on_link(self, link: Link[Any, Any]) -> None:
        link.close("full")


async def test_a_full_desk_is_one_that_is_not_reached_now(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever joins has joined, is told what to do, and can come when there is room."""
    folder = world.place("nora")
    agent = RelayClient(
        world.url, RelayToken(world.issuer.mint(Role.AGENT, "office", ["office"])), Identity.new(), FullDesk(),
        incoming=to_agent, outgoing=from_agent,
    )  # fmt: skip
    async with dial(agent, redial=False):
        await _join(invited(world), folder)
    assert "office is not reached now" in capsys.readouterr().err
    await world.start_agent()
    assert await meet(Membership.of(folder, world.url, relay_token(folder, str(folder / TOKEN)))) == "nora"


async def test_a_token_of_who_knows_which_relay_is_not_shown(world: World) -> None:
    """A folder that has joined no relay holds a token all the same: it is not even looked at."""
    await world.start_agent()
    folder = world.place("nora")
    write_secret(folder / TOKEN, b"not a token\n")
    assert await meet(await accept(invited(world), folder)) == "nora"


def test_a_renewed_token_does_not_replace_another_one(tmp_path: Path) -> None:
    """While a console was open, `join` kept a token that reaches more; the console goes on with its own."""
    keep_joined(tmp_path, "wss://here", "first")
    held = relay_token(tmp_path, str(tmp_path / TOKEN))
    keep_joined(tmp_path, "wss://here", "wider")
    for renewed in ("second", "third"):
        held.renew(renewed)
        assert held.text == renewed
        assert relay_token(tmp_path, str(tmp_path / TOKEN)).text == "wider"


@pytest.mark.parametrize("written", [0, 1])
def test_no_token_ever_stands_beside_another_relay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    """However far the change of relays came: what is there belongs together, or there is no token."""
    keep_joined(tmp_path, "wss://old", "of-old")
    left = [None] * written

    def crash(path: Path, content: bytes, *, replace: bool = True) -> None:
        if not left:
            raise KeyboardInterrupt
        left.pop()
        write_secret(path, content, replace=replace)

    monkeypatch.setattr(settings, "write_secret", crash)
    with suppress(KeyboardInterrupt):
        keep_joined(tmp_path, "wss://new", "of-new")
    assert joined_relay(tmp_path) == ("wss://new" if written else "wss://old")
    assert not (tmp_path / TOKEN).exists()
    monkeypatch.undo()
    keep_joined(tmp_path, "wss://new", "of-new")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {RELAY: "wss://new", TOKEN: "of-new"}


def test_what_could_not_be_read_again_is_not_kept(tmp_path: Path) -> None:
    """An endless address, a desk that cannot be: refused, and everything else is still known."""
    key, there = Fingerprint(bytes(32)), f"wss://{'a' * 600}"
    here = KnownDesks(tmp_path, "wss://here")
    here.pin("office", key, by="the test")
    for known, desk in ((KnownDesks(tmp_path, there), "office"), (here, "no such name")):
        with pytest.raises(UsageError, match="cannot be kept"):
            known.pin(desk, key, by="trust")
    with pytest.raises(UsageError, match="cannot be kept"):
        Invitations(tmp_path, there).keep("office", bytes(32))
    here.check("office", key)
    assert Invitations(tmp_path, "wss://here").proof_for("office") == b""
