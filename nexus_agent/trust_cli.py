"""The commands of nexus-agent that say who is who: ``join``, ``invite``, ``operators``, ``revoke``, ``fingerprint``.

They change files in the state folder. An agent that runs there takes them over by itself.
"""

from __future__ import annotations

import asyncio
import getpass
import json
import secrets
import socket
import time

import click
import msgspec

from nexus_agent.permissions.operators import Operators, check_rights
from nexus_protocol.commandline import begin, duration, read_invitation
from nexus_protocol.errors import UsageError
from nexus_protocol.identity import Identity
from nexus_protocol.invitation import Invitation, Secret, digest
from nexus_protocol.joining import redeem, register
from nexus_protocol.relay_messages import Invite
from nexus_protocol.settings import keep_joined, read_toml, relay_token, relay_url
from nexus_protocol.vocabulary import Role

PROGRAM = "nexus-agent"
ROLES = click.Choice([role.value for role in (Role.OPERATOR, Role.VIEWER, Role.AUTOMATION)])


@click.command()
@click.argument("link", required=False)
def join(link: str | None) -> None:
    """Take the invitation LINK of `nexus-relay invite` (left out or -: it is read from standard input)."""
    folder = begin(PROGRAM)
    invitation = read_invitation(PROGRAM, link)
    if not invitation.for_agent:
        raise UsageError("that invitation is for an operator: nexus-tui join")
    identity = Identity.of(folder)
    joined = asyncio.run(redeem(invitation.relay, invitation.secret.relay_proof))
    keep_joined(folder, invitation.relay, joined.token)
    click.echo(f"joined {invitation.relay} as the agent of {joined.subject}; next: nexus-agent run")
    click.echo(f"its key is {identity.fingerprint} ({identity.fingerprint.words})", err=True)


@click.command()
@click.option("--name", metavar="NAME", help="What the operator is called here (else a guest with a number).")
@click.option("--role", type=ROLES, default="operator", show_default=True)
@click.option("--approver/--no-approver", default=None, help="May decide requests (else: operators may).")
@click.option("--ttl", metavar="TIME", callback=duration, default="15m", show_default=True, help="How long it is good.")
@click.option(
    "--token-ttl", metavar="TIME", callback=duration, default="24h", show_default=True,
    help="How long the operator can be away before they have to be invited again.",
)  # fmt: skip
@click.option("--relay", metavar="URL", help="The relay, as the operator reaches it (else the one joined).")
@click.option("--token-file", metavar="FILE", help="The relay token (else NEXUS_TOKEN, else `token` in the folder).")
def invite(
    name: str | None,
    role: str,
    approver: bool | None,
    ttl: int,
    token_ttl: int,
    relay: str | None,
    token_file: str | None,
) -> None:
    """Print the one line by which an operator joins this desk; it works once."""
    folder = begin(PROGRAM)
    url = relay_url(relay, read_toml(folder / "agent.toml"), folder)
    token = relay_token(folder, token_file)
    name = name or f"guest-{secrets.randbelow(10_000):04}"
    identity, wanted = Identity.of(folder), Role(role)
    may_approve = wanted is Role.OPERATOR if approver is None else approver
    try:
        check_rights(wanted, may_approve)  # before the relay hears of it
    except ValueError as error:
        raise UsageError(f"cannot invite {name!r}: {error}") from None
    operators = Operators(folder)
    secret = Secret.new()
    asked = Invite(digest=digest(secret.relay_proof), subject=name, role=wanted, seconds=ttl, token_seconds=token_ttl)
    invited = asyncio.run(register(url, token.text, asked))
    operators.invite(name, wanted, secret.agent_proof, approver=may_approve, expires=invited.expires, by=_whoami())
    invitation = Invitation(url, invited.desk, secret, identity.fingerprint)
    click.echo(f"nexus-tui join {invitation.link()}")
    rights = "may approve requests" if may_approve else "approves nothing"
    click.echo(f"for {name} ({role}, {rights}): it works once, and until {_clock(invited.expires)}", err=True)
    if operators.named(name):
        click.echo(f"{name} is known here already: the new key comes beside the old one", err=True)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def operators(as_json: bool) -> None:
    """List who may come to this desk."""
    known = Operators(begin(PROGRAM)).all()
    if as_json:
        click.echo(json.dumps({"operators": [msgspec.to_builtins(operator) for operator in known]}))
        return
    if not known:
        click.echo("nobody may come to this desk yet; next: nexus-agent invite --name NAME", err=True)
    for operator in known:
        approver = "approver" if operator.approver else "-"
        click.echo(
            f"{operator.name:20} {operator.role:10} {approver:8} {operator.fingerprint} {operator.since} {operator.by}"
        )


@click.command()
@click.argument("whom", metavar="NAME|FINGERPRINT")
def revoke(whom: str) -> None:
    """Take back what NAME may do here: all of their keys, or one. Whoever is connected is sent away."""
    gone = Operators(begin(PROGRAM)).remove(whom)
    if not any(gone):
        raise UsageError(f"nobody here is called {whom!r}; nexus-agent operators lists who is")
    for operator in gone.operators:
        click.echo(f"removed {operator.name} ({operator.role}), {operator.fingerprint}")
    if gone.invitations:
        click.echo(f"withdrew {gone.invitations} invitation{'s' * (gone.invitations > 1)} for {whom}")


@click.command()
def fingerprint() -> None:
    """Print the fingerprint of this agent's key, and the words to read aloud."""
    mine = Identity.of(begin(PROGRAM)).fingerprint
    click.echo(f"{mine} {mine.words}")


def _whoami() -> str:
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (OSError, KeyError):
        return socket.gethostname()


def _clock(moment: int) -> str:
    return time.strftime("%H:%M:%S", time.localtime(moment))
