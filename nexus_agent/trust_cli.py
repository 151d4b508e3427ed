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
from nexus_protocol.commandline import begin, duration, read_invitation, warn_of_plain
from nexus_protocol.errors import UsageError
from nexus_protocol.identity import FILE, Identity
from nexus_protocol.invitation import Invitation, Secret, digest
from nexus_protocol.joining import redeem, register
from nexus_protocol.relay_messages import MAX_INVITATION, MAX_TOKEN_SECONDS, Invite
from nexus_protocol.settings import check_writable, joined_relay, keep_joined, read_toml, relay_token, relay_url
from nexus_protocol.vocabulary import Name, Role

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
    if (before := joined_relay(folder)) and before != invitation.relay:
        raise UsageError(f"this state folder belongs to the relay {before}; for another one use another --state-dir")
    identity = Identity.of(folder)
    check_writable(folder)  # an invitation must not be used up for nothing
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
    if ttl > MAX_INVITATION or not 60 <= token_ttl <= MAX_TOKEN_SECONDS:
        raise UsageError("an invitation waits 7 days at most, and its token is good for 1 minute to 90 days")
    url = relay_url(relay, read_toml(folder / "agent.toml"), folder)
    warn_of_plain(PROGRAM, url)
    token = relay_token(folder, token_file)
    name = name or f"guest-{secrets.randbelow(10_000):04}"
    identity, wanted = Identity.of(folder), Role(role)
    may_approve = wanted is Role.OPERATOR if approver is None else approver
    try:
        check_rights(wanted, may_approve)  # before the relay hears of it
        if msgspec.convert(name, Name) in frozenset(Role):
            raise ValueError("that is a role, and nobody's name")
    except msgspec.ValidationError:
        raise UsageError(f"{name!r} cannot be a name: letters, digits and . _ @ - only, at most 64 of them") from None
    except ValueError as error:
        raise UsageError(f"cannot invite {name!r}: {error}") from None
    operators = Operators(folder)
    secret = Secret.new()
    asked = Invite(digest=digest(secret.relay_proof), subject=name, role=wanted, seconds=ttl, token_seconds=token_ttl)
    invited = asyncio.run(register(url, token.text, asked))
    expires = min(invited.expires, int(time.time()) + ttl)  # the relay may shorten it, and no more
    operators.invite(name, wanted, secret.agent_proof, approver=may_approve, expires=expires, by=_whoami())
    invitation = Invitation(url, invited.desk, secret, identity.fingerprint)
    click.echo(f"nexus-tui join {invitation.link()}")
    rights = "may approve requests" if may_approve else "approves nothing"
    click.echo(f"for {name} ({role}, {rights}): it works once, and until {_clock(expires)}", err=True)
    if operators.named(name):
        click.echo(f"{name} is known here already: the new key comes beside the old one", err=True)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def operators(as_json: bool) -> None:
    """List who may come to this desk."""
    kept = Operators(begin(PROGRAM))
    known, waiting = kept.all(), kept.waiting()
    if as_json:
        click.echo(json.dumps({"operators": [msgspec.to_builtins(operator) for operator in known]}))
        return
    for invited in waiting:
        click.echo(f"{invited.name} ({invited.role}) is invited until {_clock(invited.expires)}", err=True)
    if not known and not waiting:
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
    folder = begin(PROGRAM)
    if not (folder / FILE).exists():
        click.echo(f"made a new key in {folder}", err=True)  # else somebody compares what nobody uses
    mine = Identity.of(folder).fingerprint
    click.echo(f"{mine} {mine.words}")


def _whoami() -> str:
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (OSError, KeyError):
        return socket.gethostname()


def _clock(moment: int) -> str:
    today = time.localtime()[:3] == time.localtime(moment)[:3]
    return time.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S", time.localtime(moment))
