"""Invitations at the relay, over real sockets: a proof becomes a token once, and an agent invites to its own desk."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import time
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from nexus_protocol.errors import NexusError, Unauthorized, Unreachable, UsageError
from nexus_protocol.invitation import digest
from nexus_protocol.joining import TokenRefused, redeem, register
from nexus_protocol.relay_messages import (
    INVITE_PATH,
    MAX_INVITATION,
    VERSION_HEADER,
    CloseCode,
    Invite,
    Open,
    Opened,
    Welcome,
)
from nexus_protocol.vocabulary import VERSION, Role
from relay.invitations import MAX_PENDING, TooMany
from relay.issuer import INVITATIONS, Issuer
from relay.server import RelayServer

from .conftest import DEADLINE, Clock, Dial

NOT_KNOWN = "this invitation is not known here: it has been used, has expired, or was never made; ask for a new one"


def invited(
    issuer: Issuer, desk: str = "office", role: Role = Role.AGENT, subject: str = "", seconds: int = 900
) -> bytes:
    """A proof that the relay takes."""
    proof = secrets.token_bytes(32)
    issuer.invite(digest(proof), role, subject or desk, desk, seconds)
    return proof


def pending(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / INVITATIONS).read_bytes())["pending"]
    return found


def everything_in(folder: Path) -> str:
    return "".join(path.read_text() for path in folder.iterdir())


async def test_an_invitation_is_good_for_one_token(relay: RelayServer, issuer: Issuer, dial: Dial) -> None:
    """The agent's token serves the desk of that name; the second who shows the proof gets nothing."""
    proof, url = invited(issuer), relay.addresses[0]
    joined = await redeem(url, proof)
    assert (joined.subject, joined.role, joined.desks) == ("office", Role.AGENT, ("office",))
    assert joined.expires == issuer.verify(joined.token).expires
    agent = await dial(relay, Role.AGENT, token=joined.token)
    assert (await agent.expect(Welcome)).desks == ("office",)
    with pytest.raises(Unauthorized, match=NOT_KNOWN):
        await redeem(url, proof)


async def test_of_many_who_show_the_same_proof_at_once_one_is_served(relay: RelayServer, issuer: Issuer) -> None:
    """Each of the others reads what every stranger reads."""
    proof, url = invited(issuer), relay.addresses[0]
    results = await asyncio.gather(*(redeem(url, proof) for _ in range(8)), return_exceptions=True)
    refused = [str(result) for result in results if isinstance(result, Unauthorized)]
    assert len(refused) == 7
    assert all(NOT_KNOWN in text for text in refused)


async def test_a_stranger_cannot_tell_used_from_expired_from_never_made(relay: RelayServer, issuer: Issuer) -> None:
    """One answer for all three."""
    url, used, expired = relay.addresses[0], invited(issuer), invited(issuer, seconds=0)
    await redeem(url, used)
    answers = set()
    for proof in (used, expired, secrets.token_bytes(32)):
        with pytest.raises(Unauthorized) as caught:
            await redeem(url, proof)
        answers.add(str(caught.value))
    assert answers == {f"the relay refuses this program: {NOT_KNOWN}"}


def test_an_invitation_ends_when_it_was_said_to(tmp_path: Path) -> None:
    """Until then it is good, also after a restart; afterwards it is neither good nor kept."""
    clock = Clock()
    issuer = Issuer.create(tmp_path, clock=clock)
    early, late = invited(issuer, seconds=60), invited(issuer, seconds=60)
    clock.now += 59
    Issuer.load(tmp_path, clock=clock).redeem(early)
    clock.now += 1
    with pytest.raises(Unauthorized, match=NOT_KNOWN):
        issuer.redeem(late)
    invited(issuer)
    assert len(pending(tmp_path)) == 1


async def test_the_relay_keeps_nothing_that_lets_anybody_in(relay: RelayServer, issuer: Issuer, tmp_path: Path) -> None:
    """The files hold a digest of the proof, and afterwards not even that; never a token."""
    proof = invited(issuer)
    assert list(pending(tmp_path)) == [digest(proof)]
    assert proof.hex() not in everything_in(tmp_path)
    joined = await redeem(relay.addresses[0], proof)
    assert pending(tmp_path) == {}
    assert joined.token not in everything_in(tmp_path)


async def test_a_second_invitation_adds_to_what_is_held(relay: RelayServer, issuer: Issuer) -> None:
    """Same role: the subject stays who it was, and reaches the desks of both; both are taken back as one."""
    url = relay.addresses[0]
    first = await redeem(url, invited(issuer, "office", Role.OPERATOR, "ada"))
    both = await redeem(url, invited(issuer, "lab", Role.OPERATOR, "guest"), first.token)
    assert (both.subject, both.desks) == ("ada", ("lab", "office"))
    issuer.revoke(issuer.verify(first.token).token_id)
    with pytest.raises(Unauthorized, match="revoked"):
        issuer.verify(both.token)
    everything = issuer.mint(Role.OPERATOR, "grace", ["*"])
    assert (await redeem(url, invited(issuer, "lab", Role.OPERATOR, "x"), everything)).desks == ("*",)


async def test_an_agent_never_serves_two_desks(relay: RelayServer, issuer: Issuer) -> None:
    """A new invitation gives its token another desk, in place of the one before."""
    url = relay.addresses[0]
    first = await redeem(url, invited(issuer, "office"))
    second = await redeem(url, invited(issuer, "lab"), first.token)
    assert (second.subject, second.desks) == ("lab", ("lab",))


async def test_another_role_than_the_one_held_is_refused_and_not_used_up(relay: RelayServer, issuer: Issuer) -> None:
    """The answer says what to do, and doing it works."""
    url, proof = relay.addresses[0], invited(issuer, "lab", Role.VIEWER, "ada")
    held = issuer.mint(Role.OPERATOR, "ada", ["office"])
    with pytest.raises(Unauthorized, match=r"for role viewer, and you hold a token for role operator .*--state-dir"):
        await redeem(url, proof, held)
    assert (await redeem(url, proof)).role is Role.VIEWER


async def test_a_held_token_that_is_worth_nothing_uses_nothing_up(relay: RelayServer, issuer: Issuer) -> None:
    """TokenRefused; the program can join without it."""
    url, proof = relay.addresses[0], invited(issuer, "lab", Role.OPERATOR, "ada")
    expired = issuer.mint(Role.OPERATOR, "ada", ["office"], ttl=60, now=time.time() - 3600)
    revoked = issuer.mint(Role.OPERATOR, "ada", ["office"])
    issuer.revoke(issuer.verify(revoked).token_id)
    for held in (expired, revoked, "not-a-token"):
        with pytest.raises(TokenRefused):
            await redeem(url, proof, held)
    assert (await redeem(url, proof)).desks == ("lab",)


async def test_an_invitation_is_still_good_after_a_full_disk(
    relay: RelayServer, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever shows it is told to come again; the relay serves on, and nobody learns where its files are."""
    proof, url = invited(issuer), relay.addresses[0]

    def full(_descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(Unreachable, match="still good: try again later") as caught:
            await redeem(url, proof)
    assert "tokens.json" not in str(caught.value)
    await redeem(url, proof)


# ---- An agent invites


async def test_an_agent_invites_an_operator_to_its_own_desk(relay: RelayServer, issuer: Issuer, dial: Dial) -> None:
    """What the operator gets reaches that desk; and the agent that serves it is not disturbed."""
    url, proof = relay.addresses[0], secrets.token_bytes(32)
    serving = await dial(relay, Role.AGENT, "office", subject="office")
    await serving.expect(Welcome)
    token = issuer.mint(Role.AGENT, "office", ["office"])
    before = int(time.time())
    answer = await register(url, token, Invite(digest(proof), "alice", Role.OPERATOR, 900))
    assert answer.desk == "office"
    assert before + 900 <= answer.expires <= time.time() + 900
    joined = await redeem(url, proof)
    assert (joined.subject, joined.role, joined.desks) == ("alice", Role.OPERATOR, ("office",))
    alice = await dial(relay, Role.OPERATOR, token=joined.token)
    assert (await alice.expect(Welcome)).desks == ("office",)
    await alice.say(Open(1, "office"))
    await alice.expect(Opened)


@pytest.mark.parametrize("seconds", [3_600, 30 * 86_400])
async def test_an_invitation_says_how_long_its_token_is_valid(relay: RelayServer, issuer: Issuer, seconds: int) -> None:
    """Somebody who is seldom there need not be invited each time; renewals are for as long again."""
    url, proof = relay.addresses[0], secrets.token_bytes(32)
    wanted = Invite(digest(proof), "alice", Role.VIEWER, 900, token_seconds=seconds)
    await register(url, issuer.mint(Role.AGENT, "office", ["office"]), wanted)
    claims = issuer.verify((await redeem(url, proof)).token)
    assert claims.expires - claims.issued == seconds


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.AGENT])
async def test_only_an_agent_invites(relay: RelayServer, issuer: Issuer, role: Role) -> None:
    """No operator makes itself a token for another desk, or for somebody else."""
    token = issuer.mint(role, "eve", ["office"])
    with pytest.raises(Unauthorized, match="only a desk's agent invites"):
        await register(relay.addresses[0], token, Invite("0" * 64, "eve", Role.OPERATOR, 60))


@pytest.mark.parametrize(
    ("wanted", "kind", "says"),
    [
        (Invite("0" * 64, "mole", Role.AGENT, 60), Unreachable, "cannot invite another agent"),
        (Invite("0" * 64, "operator", Role.VIEWER, 60), Unreachable, "is a role"),
        (Invite("0" * 64, "two words", Role.VIEWER, 60), UsageError, "no such invitation"),
        (Invite("0" * 63, "bob", Role.VIEWER, 60), UsageError, "no such invitation"),
        (Invite("0" * 64, "bob", Role.VIEWER, 0), UsageError, "no such invitation"),
        (Invite("0" * 64, "bob", Role.VIEWER, MAX_INVITATION + 1), UsageError, "no such invitation"),
    ],
    ids=["an agent", "a role's word", "no name", "no digest", "no time", "too long"],
)
async def test_an_invitation_that_cannot_be_is_refused(
    relay: RelayServer, issuer: Issuer, tmp_path: Path, wanted: Invite, kind: type[NexusError], says: str
) -> None:
    """In a sentence; nothing is kept."""
    token = issuer.mint(Role.AGENT, "office", ["office"])
    with pytest.raises(kind, match=says):
        await register(relay.addresses[0], token, wanted)
    assert not (tmp_path / INVITATIONS).exists()


async def test_a_revoked_agent_invites_nobody_and_leaves_no_invitation(relay: RelayServer, issuer: Issuer) -> None:
    """What it had announced is withdrawn: a compromised desk leaves nothing behind that could still be used."""
    url, proof = relay.addresses[0], secrets.token_bytes(32)
    token = issuer.mint(Role.AGENT, "office", ["office"])
    await register(url, token, Invite(digest(proof), "mole", Role.OPERATOR, 900))
    assert issuer.revoke(issuer.verify(token).token_id).invitations == 1
    with pytest.raises(TokenRefused, match="revoked"):
        await register(url, token, Invite("0" * 64, "mole", Role.OPERATOR, 900))
    with pytest.raises(Unauthorized, match=NOT_KNOWN):
        await redeem(url, proof)


def test_so_many_invitations_wait_for_one_desk_and_no_more(tmp_path: Path) -> None:
    """Another desk's do not count, and an expired one makes room."""
    clock = Clock()
    issuer = Issuer.create(tmp_path, clock=clock)
    invited(issuer, seconds=60)
    for _ in range(MAX_PENDING - 1):
        invited(issuer)
    with pytest.raises(TooMany, match="wait to be used"):
        invited(issuer)
    invited(issuer, "lab")
    clock.now += 60
    invited(issuer)


def test_a_digest_that_waits_cannot_be_taken_over(tmp_path: Path) -> None:
    """Not even by somebody who knows it."""
    issuer = Issuer.create(tmp_path)
    proof = invited(issuer, "office", Role.OPERATOR, "ada")
    with pytest.raises(NexusError, match="waits already"):
        issuer.invite(digest(proof), Role.OPERATOR, "eve", "lab", 60)
    assert issuer.verify(issuer.redeem(proof)).subject == "ada"


# ---- What agents gone wrong send


async def agents_socket(relay: RelayServer, issuer: Issuer) -> ClientConnection:
    token = issuer.mint(Role.AGENT, "office", ["office"])
    headers = {"Authorization": f"Bearer {token}", VERSION_HEADER: str(VERSION)}
    return await connect(relay.addresses[0] + INVITE_PATH, additional_headers=headers, proxy=None, compression=None)


@pytest.mark.parametrize(
    "said",
    [
        b"", "", "not json", "[" * 4000, "x" * 5000, b"\xff\xfe", '{"type":"open","ref":1,"desk":"lab"}',
        '{"type":"invite","digest":"","subject":"bob","role":"viewer","seconds":60}',
        '{"type":"invite","digest":"' + "0" * 64 + '","subject":"bob","role":"viewer","seconds":60,"desk":"lab"}',
    ],
)  # fmt: skip
async def test_what_is_no_invitation_closes_that_connection_with_a_reason(
    relay: RelayServer, issuer: Issuer, tmp_path: Path, said: str | bytes
) -> None:
    """4004; a desk cannot even be named."""
    async with await agents_socket(relay, issuer) as socket:
        await socket.send(said)
        async with asyncio.timeout(DEADLINE):
            await socket.wait_closed()
        assert socket.close_code == CloseCode.PROTOCOL
        assert socket.close_reason
    assert not (tmp_path / INVITATIONS).exists()


async def test_an_agent_that_says_nothing_holds_up_nobody(issuer: Issuer) -> None:
    """The relay ends at once while it waits for an invitation to be said."""
    async with RelayServer(issuer, "127.0.0.1", 0) as relay:
        socket = await agents_socket(relay, issuer)
        before = time.monotonic()
    assert time.monotonic() - before < 3
    async with asyncio.timeout(DEADLINE):
        await socket.wait_closed()
