"""``nexus-tui join`` and ``trust``: how an operator comes to know a desk, and a desk the operator."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import click

from nexus_protocol.commandline import begin, read_invitation
from nexus_protocol.errors import NexusError, ProtocolError, Unauthorized, Unreachable, UsageError
from nexus_protocol.fingerprint import Fingerprint
from nexus_protocol.identity import FILE, Identity
from nexus_protocol.invitation import Invitation
from nexus_protocol.joining import TokenRefused, redeem
from nexus_protocol.relay_messages import Joined
from nexus_protocol.settings import TOKEN, RelayToken, joined_relay, keep_joined, relay_token

from .commandline import PROGRAM, relay_of
from .core.known_desks import KnownDesks, UnknownDesk
from .core.membership import Invitations, Membership
from .core.session import Session


@click.command()
@click.argument("link", required=False)
def join(link: str | None) -> None:
    """Take the invitation LINK of `nexus-agent invite` (left out or -: it is read from standard input)."""
    folder = begin(PROGRAM)
    asyncio.run(_join(read_invitation(PROGRAM, link), folder))


async def _join(invitation: Invitation, folder: Path) -> None:
    desk = invitation.desk
    membership = await accept(invitation, folder)
    try:
        role = await _first_contact(membership, desk)
    except Unauthorized:
        raise
    except (Unreachable, ProtocolError) as error:
        click.echo(f"joined {invitation.relay}, but {desk} is not reached now: {error}", err=True)
        click.echo("run `nexus-tui connect` while the invitation is good, and the desk lets you in", err=True)
        return
    click.echo(f"joined {desk} as {role}; next: nexus-tui connect")


async def accept(invitation: Invitation, folder: Path) -> Membership:
    """Have the relay's token for the invitation, and keep all that it gives; the desk takes the rest of it when met.

    The relay takes its half once, so everything that can go wrong here does so before. Raises UsageError or ChangedKey,
    Unauthorized when the relay refuses the invitation, of which nothing is kept then, and Unreachable.
    """
    relay, desk = invitation.relay, invitation.desk
    if invitation.agent_key is None:
        raise UsageError("that invitation is for an agent: nexus-agent join")
    if (before := joined_relay(folder)) and before != relay:
        raise UsageError(f"this state folder belongs to the relay {before}; for another one use another --state-dir")
    held = relay_token(folder, str(folder / TOKEN)).text if before and (folder / TOKEN).exists() else None
    identity, known, invitations = Identity.of(folder), KnownDesks(folder, relay), Invitations(folder, relay)
    earlier, new_here = invitations.proof_for(desk), False
    try:
        known.check(desk, invitation.agent_key)
    except UnknownDesk:
        known.pin(desk, invitation.agent_key, by="invitation")
        new_here = True
    invitations.keep(desk, invitation.secret.agent_proof)

    try:
        joined = await _redeem(invitation, held)
    except Unauthorized:
        with contextlib.suppress(NexusError):  # what stays of it is worth nothing
            invitations.keep(desk, earlier)
            if new_here:
                known.forget(desk)
        raise
    keep_joined(folder, relay, joined.token)
    return Membership(relay, RelayToken(joined.token, folder / TOKEN), identity, known, invitations)


async def _redeem(invitation: Invitation, held: str | None) -> Joined:
    try:
        return await redeem(invitation.relay, invitation.secret.relay_proof, held)
    except TokenRefused:  # expired, say: nothing of it is worth keeping
        return await redeem(invitation.relay, invitation.secret.relay_proof)


async def _first_contact(membership: Membership, desk: str) -> str:
    """Show the desk the invitation; returns name and role there. Raises Unreachable and its kin, ProtocolError."""
    session = Session(membership, watch=False)
    async with session.dialled():
        await session.open(desk)
        assert session.welcome is not None
        return f"{session.welcome.subject} ({session.welcome.role})"


@click.command()
@click.argument("desk")
@click.argument("fingerprint")
@click.option("--relay", metavar="URL", help="The relay's address (else NEXUS_RELAY, the settings, the one joined).")
def trust(desk: str, fingerprint: str, relay: str | None) -> None:
    """Pin DESK's key: trust this FINGERPRINT of it from now on, in place of any other."""
    folder = begin(PROGRAM)
    KnownDesks(folder, relay_of(folder, relay)).pin(desk, Fingerprint.parse(fingerprint), by="trust")
    click.echo(f"{desk} is trusted with the key {fingerprint}")


@click.command("fingerprint")
def show_fingerprint() -> None:
    """Print the fingerprint of your own key, and the words to read aloud."""
    folder = begin(PROGRAM)
    if not (folder / FILE).exists():
        click.echo(f"made a new key in {folder}", err=True)  # else somebody compares what nobody uses
    mine = Identity.of(folder).fingerprint
    click.echo(f"{mine} {mine.words}")
