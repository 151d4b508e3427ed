"""nexus-relay as its users start it: a process, its output and its exit status."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import stat
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

from nexus_protocol.errors import Unauthorized
from nexus_protocol.invitation import Invitation, Secret, digest
from nexus_protocol.joining import redeem
from nexus_protocol.relay_messages import CloseCode, Renewed, Welcome
from nexus_protocol.vocabulary import Role
from relay.cli import main
from relay.issuer import Issuer

from .conftest import DEADLINE, Dial

COMMAND = [sys.executable, "-W", "error", "-m", "relay"]


@dataclass
class Done:
    status: int
    out: str
    error: str


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Runs a command line in this process, with its state in ``tmp_path / "state"``."""
    monkeypatch.setenv("NEXUS_STATE_DIR", str(tmp_path / "state"))

    def run(*arguments: str) -> Done:
        with pytest.raises(SystemExit) as exit:
            main(list(arguments))
        assert isinstance(exit.value.code, int)
        return Done(exit.value.code, *capsys.readouterr())

    return run


class Running:
    """`nexus-relay serve` in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process, address: str) -> None:
        self.process = process
        self.addresses = [address]


@contextlib.asynccontextmanager
async def serving(folder: Path, *options: str) -> AsyncIterator[Running]:
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "--state-dir", str(folder), "serve", "--listen", "127.0.0.1:0", *options,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        line = (await asyncio.wait_for(process.stdout.readline(), DEADLINE)).decode()
        assert line.startswith("listening on ws://127.0.0.1:")
        yield Running(process, line.split()[-1])
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.fixture
async def served(tmp_path: Path, issuer: Issuer) -> AsyncIterator[Running]:
    async with serving(tmp_path) as running:
        yield running


def test_init_makes_a_private_key_once(run: Callable[..., Done], tmp_path: Path) -> None:
    """A second init is refused, unless it is asked to leave what is there alone."""
    assert run("init").status == 0
    key = tmp_path / "state" / "relay.key"
    before = key.read_bytes()
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    again = run("init")
    assert (again.status, "already there" in again.error) == (1, True)
    assert run("init", "--if-missing") == Done(0, "", "")
    assert key.read_bytes() == before


def test_token_prints_the_token_alone(run: Callable[..., Done], tmp_path: Path) -> None:
    """Standard output is the token and nothing else; an operator's reaches all desks unless it names some."""
    run("init")
    issuer = Issuer.load(tmp_path / "state")
    plain = run("token", "--role", "operator", "--subject", "bob")
    assert (plain.status, plain.error) == (0, "")
    claims = issuer.verify(plain.out.removesuffix("\n"))
    assert (claims.desks, round((claims.expires - time.time()) / 3600)) == (("*",), 24)
    named = run("token", "--role=agent", "--subject=a", "--desk=office", "--ttl=30m")
    claims = issuer.verify(named.out.removesuffix("\n"))
    assert (claims.role, claims.desks, round((claims.expires - time.time()) / 60)) == (Role.AGENT, ("office",), 30)


def test_the_state_folder_option_comes_first(run: Callable[..., Done], tmp_path: Path) -> None:
    """--state-dir on the program wins over the environment."""
    assert run("--state-dir", str(tmp_path / "here"), "init").status == 0
    assert (tmp_path / "here" / "relay.key").exists()
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    "command",
    [
        ["serve"], ["token", "--role=viewer", "--subject=eve"], ["tokens"], ["revoke", "0123"], ["rotate"],
        ["invite", "--desk=office", "--url=wss://relay.example"],
    ],
)  # fmt: skip
def test_without_a_key_the_command_that_makes_one_is_named(run: Callable[..., Done], command: list[str]) -> None:
    """There is no default secret to fall back on."""
    done = run(*command)
    assert (done.status, done.out) == (2, "")
    assert "nexus-relay init" in done.error


@pytest.mark.parametrize(
    ("command", "status", "says"),
    [
        ("token --role=agent --subject=a", 2, "--desk"),
        ("token --role=agent --subject=a --desk=a --desk=b", 2, "exactly one desk"),
        ("token --role=root --subject=a", 2, "automation"),
        ("token --subject=a", 2, "--role"),
        ("token --role=viewer --subject=a/b", 2, "a/b"),
        ("token --role=viewer --subject=a --ttl=soon", 2, "24h"),
        ("token --role=viewer --subject=a --ttl=0s", 2, "24h"),
        ("serve --allow-origin=*", 2, "not an origin"),
        ("serve --allow-origin=console.example", 2, "not an origin"),
        ("invite --url=wss://relay.example", 2, "--desk"),
        ("invite --desk=office", 2, "--url"),
        ("invite --desk=office --url=https://relay.example", 2, "wss://"),
        ("invite --desk=office --url=wss://ada:pass@relay.example", 2, "cannot stand in an invitation"),
        ("invite --desk=of/fice --url=wss://relay.example", 2, "of/fice"),
        ("invite --desk=agent --url=wss://relay.example", 2, "is a role"),
        ("invite --desk=office --url=wss://relay.example --ttl=8d", 2, "7 days"),
        ("revoke", 2, "--subject"),
        ("revoke 0123 --subject=bob", 2, "--subject"),
        ("revoke --subject=a/b", 2, "a/b"),
        ("revoke a.b.c", 2, "not a token's jti"),
        ("rotate --keep=soon", 2, "7d"),
        ("serve --listen=8765", 2, "HOST:PORT"),
        ("serve --listen=127.0.0.1:99999", 2, "HOST:PORT"),
        ("serve --listen=192.0.2.1:1", 1, "cannot listen on 192.0.2.1:1"),
        ("tokn", 2, "token"),
        ("--state-dir=/dev/null/x init", 2, "--state-dir"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(run: Callable[..., Done], command: str, status: int, says: str) -> None:
    """Usage errors exit 2 and say what would be right; other failures exit 1."""
    run("init")
    done = run(*command.split())
    assert (done.status, done.out) == (status, "")
    assert done.error.startswith("nexus-relay: ")
    assert done.error.count("\n") == 1
    assert says in done.error


def test_revoke_never_repeats_a_token_it_was_given_by_mistake(run: Callable[..., Done]) -> None:
    """Somebody pasted the token in place of its jti: the terminal's record does not need it a second time."""
    run("init")
    token = run("token", "--role=viewer", "--subject=eve").out.strip()
    done = run("revoke", token)
    assert (done.status, done.out) == (2, "")
    assert not [part for part in token.split(".") if part in done.error]


def test_tokens_tells_what_became_of_each_and_never_the_token(run: Callable[..., Done]) -> None:
    """A line for each: its jti, whose it is, what it reaches, when, and whether it is worth anything."""
    run("init")
    printed = [
        run("token", "--role=viewer", f"--subject={subject}", "--desk=office", "--desk=lab").out
        for subject in ("ann", "bob", "eve")
    ]
    lines = [json.loads(line) for line in run("tokens", "--json").out.splitlines()]
    assert {line["subject"] for line in lines} == {"ann", "bob", "eve"}
    assert {(line["role"], *line["desks"]) for line in lines} == {("viewer", "office", "lab")}
    ids = {line["subject"]: line["jti"] for line in lines}
    assert ids["bob"] in run("revoke", ids["bob"]).out
    assert "1 known here" in run("revoke", "--subject", "eve").out
    unknown = run("revoke", "never-made")
    assert (unknown.status, "no such token is known" in unknown.out) == (0, True)
    states = {line["subject"]: line["state"] for line in map(json.loads, run("tokens", "--json").out.splitlines())}
    assert states == {"ann": "valid", "bob": "revoked", "eve": "revoked"}
    text = run("tokens").out
    assert [word in text for word in (*ids.values(), "valid", "revoked", "office,lab")] == [True] * 6
    assert not [part for token in printed for part in token.strip().split(".")[1:] if part in text]


def test_tokens_tells_all_names_that_somebody_was_invited_by(run: Callable[..., Done], tmp_path: Path) -> None:
    """So that whoever looks for one of them finds the line; and revoking by any of them ends it."""
    run("init")
    issuer, secret = Issuer.load(tmp_path / "state"), Secret.new()
    issuer.invite(digest(secret.relay_proof), Role.OPERATOR, "guest", "lab", 60)
    issuer.redeem(secret.relay_proof, issuer.verify(issuer.mint(Role.OPERATOR, "ada", ["office"])))
    (line,) = map(json.loads, run("tokens", "--json").out.splitlines())
    assert (line["subject"], line["invited_as"], line["desks"]) == ("ada", ["guest"], ["lab", "office"])
    assert "ada,guest  lab,office" in run("tokens").out
    assert "1 known here" in run("revoke", "--subject", "guest").out
    assert "revoked" in run("tokens").out


def test_rotate_tells_until_when_the_key_before_is_good(run: Callable[..., Done]) -> None:
    """And when there would be three, that the oldest is given up."""
    run("init")
    run("token", "--role=viewer", "--subject=bob")
    first = run("rotate")
    assert (first.status, "accepted until 20" in first.out, "never more than two" in first.out) == (0, True, False)
    assert "never more than two" in run("rotate", "--keep=1h").out
    assert "no token made before" in run("rotate", "--leaked").out
    assert "expired" in run("tokens").out


async def test_an_invitation_is_one_line_that_works_once(
    served: Running, tmp_path: Path, run: Callable[..., Done], dial: Dial
) -> None:
    """Standard output is the command for the agent's machine, alone; what it is good for stands beside it."""
    done = run("--state-dir", str(tmp_path), "invite", "--desk=office", "--url", served.addresses[0] + "/")
    assert done.status == 0
    command, _, link = done.out.removesuffix("\n").rpartition(" ")
    assert (command, "office" in done.error, "once" in done.error) == ("nexus-agent join", True, True)
    invitation = Invitation.parse(link)
    assert (invitation.relay, invitation.desk, invitation.for_agent) == (served.addresses[0], "office", True)
    joined = await redeem(invitation.relay, invitation.secret.relay_proof)
    agent = await dial(served, Role.AGENT, token=joined.token)
    assert (await agent.expect(Welcome)).desks == ("office",)
    with pytest.raises(Unauthorized, match="has been used"):
        await redeem(invitation.relay, invitation.secret.relay_proof)


@pytest.mark.parametrize("by", ["jti", "subject"])
async def test_revoke_closes_the_sockets_of_a_running_relay_within_a_second(
    served: Running, issuer: Issuer, tmp_path: Path, run: Callable[..., Done], dial: Dial, by: str
) -> None:
    """With 4002, and whoever dials with that token again is refused; also by the relay's next start (test_issuer)."""
    token = issuer.mint(Role.OPERATOR, "bob", ["*"])
    bob = await dial(served, Role.OPERATOR, token=token)
    await bob.expect(Welcome)
    named = ["--subject", "bob"] if by == "subject" else [issuer.verify(token).token_id]
    assert run("--state-dir", str(tmp_path), "revoke", *named).status == 0
    before = time.monotonic()
    assert (await bob.closed())[0] == CloseCode.TOKEN
    assert time.monotonic() - before < 1
    with pytest.raises(InvalidStatus) as caught:
        await dial(served, Role.OPERATOR, token=token)
    assert caught.value.response.status_code == 401


async def test_a_running_relay_takes_over_a_new_key(
    served: Running, issuer: Issuer, tmp_path: Path, run: Callable[..., Done], dial: Dial
) -> None:
    """Who is connected is sent a token signed with it; the one before is good for its time."""
    old = issuer.mint(Role.OPERATOR, "bob", ["*"])
    bob = await dial(served, Role.OPERATOR, token=old)
    await bob.expect(Welcome)
    assert run("--state-dir", str(tmp_path), "rotate").status == 0
    fresh = (await bob.expect(Renewed)).token
    for token in (old, fresh, Issuer.load(tmp_path).mint(Role.OPERATOR, "ann", ["*"])):
        await (await dial(served, Role.OPERATOR, token=token)).expect(Welcome)


async def test_nothing_secret_is_printed_at_the_most_talkative(issuer: Issuer, tmp_path: Path, dial: Dial) -> None:
    """A process with -vv: neither tokens, nor proofs, nor keys, when all goes well and when it does not."""
    async with serving(tmp_path, "-vv") as relay:
        secret = Secret.new()
        issuer.invite(digest(secret.relay_proof), Role.OPERATOR, "bob", "office", 60)
        joined = await redeem(relay.addresses[0], secret.relay_proof)
        with pytest.raises(Unauthorized):
            await redeem(relay.addresses[0], secret.relay_proof, joined.token)
        bob = await dial(relay, Role.OPERATOR, token=joined.token)
        await bob.expect(Welcome)
        with pytest.raises(InvalidStatus):
            await dial(relay, Role.OPERATOR, token=joined.token[:-8] + "AAAAAAAA")
        relay.process.send_signal(signal.SIGTERM)
        out, error = await asyncio.wait_for(relay.process.communicate(), DEADLINE)
    said = (out + error).decode()
    assert "redeemed" in said
    keys = (tmp_path / "relay.key").read_text().split()
    for text in (*keys, secret.relay_proof.hex(), digest(secret.relay_proof), *joined.token.split(".")):
        assert text not in said


async def test_an_address_in_use_exits_1(served: Running, tmp_path: Path) -> None:
    """Whoever starts a second relay on the same port reads one line."""
    listen = served.addresses[0].removeprefix("ws://")
    second = await asyncio.create_subprocess_exec(
        *COMMAND, "--state-dir", str(tmp_path), "serve", "--listen", listen,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, error = await asyncio.wait_for(second.communicate(), DEADLINE)
    assert (second.returncode, out) == (1, b"")
    assert error.decode() == f"nexus-relay: cannot listen on {listen}: Address already in use\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_sends_every_peer_away_and_exits_0(
    served: Running, issuer: Issuer, dial: Dial, number: signal.Signals
) -> None:
    """Peers see 1001 going away; nothing but the address has been printed."""
    clients = []
    for role, desk in ((Role.AGENT, "office"), (Role.OPERATOR, "*")):
        clients.append(await dial(served, role, token=issuer.mint(role, "peer", [desk])))
        await clients[-1].expect(Welcome)
    served.process.send_signal(number)
    for client in clients:
        assert await client.closed() == (CloseCode.GOING_AWAY, "going away")
    out, error = await asyncio.wait_for(served.process.communicate(), DEADLINE)
    assert (served.process.returncode, out, error) == (0, b"", b"")
