"""The command line of nexus-relay: ``init``, ``serve``, ``invite``, ``token``, ``tokens``, ``revoke``, ``rotate``."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NoReturn

import click

from nexus_protocol.commandline import Program, begin, duration, folder
from nexus_protocol.errors import NexusError, UsageError
from nexus_protocol.invitation import Invitation, Secret, digest
from nexus_protocol.relay_messages import MAX_INVITATION
from nexus_protocol.settings import checked_url
from nexus_protocol.vocabulary import Role

from .admission import checked_origin
from .claims import ALL_DESKS
from .issuer import KEYS, Issuer
from .tokens import checked_id, checked_name

PROGRAM = "nexus-relay"
DEFAULT_LISTEN = "127.0.0.1:8765"


def _address(_context: click.Context, _option: click.Parameter, value: str) -> tuple[str, int]:
    """``HOST:PORT``; an IPv6 host stands in brackets."""
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%]+)\]|([^:\[\]]+)):([0-9]{1,5})", value)
    if match is None or int(match[3]) > 65_535:
        raise click.BadParameter(f"{value!r} is not HOST:PORT, such as {DEFAULT_LISTEN}")
    return match[1] or match[2], int(match[3])


def _origins(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> frozenset[str]:
    try:
        return frozenset(map(checked_origin, values))
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.group(PROGRAM, cls=Program)
def cli() -> None:
    """The switchboard that agents and operators dial. It sees who is there, and never what they say."""


@cli.command()
@click.option("--if-missing", is_flag=True, help="Do nothing when there is a key already.")
def init(if_missing: bool) -> None:
    """Make the key that signs tokens."""
    state = folder(PROGRAM)
    key = state / KEYS
    if not key.exists():
        Issuer.create(state)
        click.echo(f"made {key}; next: nexus-relay serve, and nexus-relay invite for each desk")
    elif not if_missing:
        raise NexusError(f"{key} is already there; for a new key beside it: nexus-relay rotate")


@cli.command()
@click.option(
    "--listen", metavar="HOST:PORT", callback=_address, default=DEFAULT_LISTEN, show_default=True,
    help="Where; port 0 takes a free one.",
)  # fmt: skip
@click.option(
    "--allow-origin", "origins", metavar="URL", multiple=True, callback=_origins,
    help="Web pages from here may connect (repeatable); no others may.",
)  # fmt: skip
def serve(listen: tuple[str, int], origins: frozenset[str]) -> None:
    """Serve until SIGTERM or Ctrl+C."""
    issuer = Issuer.load(begin(PROGRAM))
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(issuer, *listen, origins))


@cli.command()
@click.option("--desk", metavar="NAME", required=True, help="The desk that the agent will serve.")
@click.option("--url", metavar="URL", envvar="NEXUS_RELAY", required=True, help="This relay as its agent reaches it.")
@click.option("--ttl", metavar="TIME", callback=duration, default="15m", show_default=True, help="How long it is good.")
@click.option(
    "--token-ttl", metavar="TIME", callback=duration, default="24h", show_default=True,
    help="How long the agent can be away before it has to be invited again.",
)  # fmt: skip
def invite(desk: str, url: str, ttl: int, token_ttl: int) -> None:
    """Print the line by which a desk's agent joins, once."""
    if ttl > MAX_INVITATION:
        raise UsageError(f"an invitation can wait {MAX_INVITATION // 86400} days at most")
    invitation = Invitation(checked_url(url), checked_name(desk), Secret.new())
    try:
        Invitation.parse(invitation.link())
    except UsageError:
        raise UsageError("that address cannot stand in an invitation; name it as wss://HOST[:PORT][/PATH]") from None
    issuer = Issuer.load(folder(PROGRAM))
    expires = issuer.invite(digest(invitation.secret.relay_proof), Role.AGENT, desk, desk, ttl, ttl=token_ttl)
    click.echo(f"nexus-agent join {invitation.link()}")
    click.echo(f"run that on the machine of {desk}: it works once, until {_when(expires)}", err=True)


@cli.command()
@click.option("--role", type=click.Choice([role.value for role in Role]), required=True)
@click.option("--subject", metavar="NAME", required=True, help="Whom the token speaks for.")
@click.option("--desk", "desks", metavar="NAME", multiple=True, help="A desk it reaches (an agent: serves); else all.")
@click.option(
    "--ttl", metavar="TIME", callback=duration, default="24h", show_default=True, help="How long it is valid."
)
def token(role: str, subject: str, desks: tuple[str, ...], ttl: int) -> None:
    """Print a token, alone on standard output."""
    if not desks and role == Role.AGENT:
        raise UsageError("an agent's token names its desk: --desk NAME")
    click.echo(Issuer.load(folder(PROGRAM)).mint(Role(role), subject, desks or (ALL_DESKS,), ttl=ttl))


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object on each line.")
def tokens(as_json: bool) -> None:
    """List the tokens made here.

    A token, what it was renewed to and what invitations added to it are one line; where those were for another name, it
    stands behind the subject, and --subject finds it too. No line can be used as a token.
    """
    for token_id, family, state in Issuer.load(folder(PROGRAM)).listed():
        made, expires = _when(family.made), _when(family.expires)
        if as_json:
            line = {
                "jti": token_id, "subject": family.subject, "role": family.role.value, "desks": family.desks,
                "made": made, "expires": expires, "state": state.value, "invited_as": family.invited_as,
            }  # fmt: skip
            click.echo(json.dumps(line))
        else:
            names, desks = ",".join((family.subject, *family.invited_as)), ",".join(family.desks)
            click.echo(f"{token_id}  {state:7}  {made}  {expires}  {family.role:10}  {names}  {desks}")


@cli.command()
@click.argument("token_id", metavar="[JTI]", required=False)
@click.option("--subject", metavar="NAME", help="All tokens of that name, or invited by it, made until now.")
def revoke(token_id: str | None, subject: str | None) -> None:
    """Take back a token, or all of a subject.

    A token is named by its JTI (see: tokens); what it was renewed to, or from, goes with it. A running relay closes the
    connections made with them within a second.
    """
    if (token_id is None) == (subject is None):
        raise UsageError("name a token by its JTI (nexus-relay tokens lists them), or --subject NAME")
    issuer = Issuer.load(folder(PROGRAM))
    if token_id is not None:
        done = issuer.revoke(checked_id(token_id))
        if done.family is None:
            click.echo(f"revoked {token_id}, though no such token is known to have been made here; is it whole?")
        else:
            click.echo(f"revoked {token_id}, {done.family.role.value} {done.family.subject}")
    else:
        done = issuer.revoke_subject(checked_name(subject or ""))
        click.echo(f"revoked all tokens of {subject} until now; {done.families} known here were valid")
    if done.invitations:
        click.echo(f"withdrew {done.invitations} invitations that waited")


@cli.command()
@click.option(
    "--keep", metavar="TIME", callback=duration, default="7d", show_default=True,
    help="How long tokens signed with the key before are accepted.",
)  # fmt: skip
@click.option("--leaked", is_flag=True, help="Accept nothing signed before, and close connections made with it.")
def rotate(keep: int, leaked: bool) -> None:
    """Sign with a new key. A running relay takes it over by itself, and renews the tokens of who is connected."""
    done = Issuer.load(folder(PROGRAM)).rotate(0 if leaked else keep)
    if leaked:
        click.echo("a new key signs from now on; no token made before is accepted: invite everybody anew")
        return
    click.echo(f"a new key signs from now on; the one before is accepted until {_when(done.until)}")
    if done.gave_up:
        click.echo("there are never more than two: tokens signed with the key before that one are refused from now on")


async def _serve(issuer: Issuer, host: str, port: int, origins: frozenset[str]) -> None:
    from .server import RelayServer, log

    loop = asyncio.get_running_loop()
    # What asyncio cannot hand to anybody (no file descriptors left, say) is a line in the log, not a traceback.
    loop.set_exception_handler(lambda _, problem: log.error(problem["message"], error=repr(problem.get("exception"))))
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with RelayServer(issuer, host, port, origins=origins) as relay:
        for address in relay.addresses:
            click.echo(f"listening on {address}")
        await stop.wait()


def _when(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's where it is installed."""
    with contextlib.suppress(ImportError):
        import uvloop

        return uvloop.new_event_loop
    return None


def main(arguments: list[str] | None = None) -> NoReturn:
    """The console script."""
    cli.run(arguments)
