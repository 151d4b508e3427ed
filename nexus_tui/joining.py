"""``nexus-tui join`` and ``trust``: how an operator comes to know a desk, and a desk the operator."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import click

from nexus_protocol.commandline import begin, read_invitation
from nexus_protocol.errors import Unauthorized, Unreachable, UsageError
from nexus_protocol.fingerprint import Fingerprint
from nexus_protocol.identity import Identity
from nexus_protocol.invitation import Invitation
from nexus_protocol.joining import TokenRefused, redeem
from nexus_protocol.relay_messages import Joined
from nexus_protocol.settings import TOKEN, RelayToken, joined_relay, keep_joined, relay_token

from .commandline import PROGRAM, relay_of
from .core.known_desks import KnownDesks, UnknownDesk
from .core.membership import Membership
from .core.session import Session


@click.command()
@click.argument("link", required=False)
def join(link: str | None) -> None:
    """Take the invitation LINK of `nexus-agent invite` (left out or -: it is read from standard input)."""
    folder = begin(PROGRAM)
    invitation = read_invitation(PROGRAM, link)
    if invitation.agent_key is None:
        raise UsageError("that invitation is for an agent: nexus-agent join")
    if (before := joined_relay(folder)) and before != invitation.relay:
        raise UsageError(f"this state folder belongs to the relay {before}; for another one use another --state-dir")
    known = KnownDesks(folder, invitation.relay)
    with contextlib.suppress(UnknownDesk):  # it will be known by the invitation; another key than known stops here
        known.check(invitation.desk, invitation.agent_key)
    Identity.of(folder)  # an invitation must not be used up for somebody without a key

    joined = asyncio.run(_redeem(invitation, folder))
    keep_joined(folder, invitation.relay, joined.token)
    known.pin(invitation.desk, invitation.agent_key, by="invitation")
    membership = Membership.of(folder, invitation.relay, RelayToken(joined.token, folder / TOKEN))
    membership.invitations.keep(invitation.desk, invitation.secret.agent_proof)
    try:
        role = asyncio.run(_first_contact(membership, invitation.desk))
    except Unauthorized:
        membership.invitations.used(invitation.desk)
        raise
    except Unreachable as error:
        click.echo(f"joined {invitation.relay}, but {invitation.desk} is not reached now: {error}", err=True)
        click.echo("run `nexus-tui connect` while the invitation is good, and the desk lets you in", err=True)
        return
    click.echo(f"joined {invitation.desk} as {role}; next: nexus-tui connect")


async def _redeem(invitation: Invitation, folder: Path) -> Joined:
    held = None
    if (folder / TOKEN).exists():
        held = relay_token(folder, str(folder / TOKEN)).text
    try:
        return await redeem(invitation.relay, invitation.secret.relay_proof, held)
    except TokenRefused:  # expired, say: nothing of it is worth keeping
        return await redeem(invitation.relay, invitation.secret.relay_proof)


async def _first_contact(membership: Membership, desk: str) -> str:
    """Show the desk the invitation; returns name and role there. Raises Unreachable, Unauthorized."""
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
    mine = Identity.of(begin(PROGRAM)).fingerprint
    click.echo(f"{mine} {mine.words}")
