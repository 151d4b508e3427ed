"""nexus-relay as its users start it: a process, its output and its exit status."""

from __future__ import annotations

import asyncio
import signal
import stat
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from nexus_protocol.relay_messages import CloseCode, Welcome
from nexus_protocol.vocabulary import Role
from relay import tokens
from relay.cli import main

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


@pytest.fixture
async def served(tmp_path: Path, key: bytes) -> AsyncIterator[Running]:
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "--state-dir", str(tmp_path), "serve", "--listen", "127.0.0.1:0",
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
    key = tokens.load_key(tmp_path / "state")
    plain = run("token", "--role", "operator", "--subject", "bob")
    assert (plain.status, plain.error) == (0, "")
    claims = tokens.verify(key, plain.out.removesuffix("\n"))
    assert (claims.desks, round((claims.expires - time.time()) / 3600)) == (("*",), 24)
    named = run("token", "--role=agent", "--subject=a", "--desk=office", "--ttl=30m")
    claims = tokens.verify(key, named.out.removesuffix("\n"))
    assert (claims.role, claims.desks, round((claims.expires - time.time()) / 60)) == (Role.AGENT, ("office",), 30)


def test_the_state_folder_option_comes_first(run: Callable[..., Done], tmp_path: Path) -> None:
    """--state-dir on the program wins over the environment."""
    assert run("--state-dir", str(tmp_path / "here"), "init").status == 0
    assert (tmp_path / "here" / "relay.key").exists()
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("command", [["serve"], ["token", "--role=viewer", "--subject=eve"]])
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
        ("token --role=viewer --subject=a --ttl=0s", 2, "1 second"),
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
    served: Running, key: bytes, dial: Dial, number: signal.Signals
) -> None:
    """Peers see 1001 going away; nothing but the address has been printed."""
    clients = []
    for role, desk in ((Role.AGENT, "office"), (Role.OPERATOR, "*")):
        clients.append(await dial(served, role, token=tokens.mint(key, role, "peer", [desk])))
        await clients[-1].expect(Welcome)
    served.process.send_signal(number)
    for client in clients:
        assert await client.closed() == (CloseCode.GOING_AWAY, "going away")
    out, error = await asyncio.wait_for(served.process.communicate(), DEADLINE)
    assert (served.process.returncode, out, error) == (0, b"", b"")
