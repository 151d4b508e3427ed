"""nexus-relay as its users start it: a process, its output and its exit status."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nexus_protocol.relay_messages import CloseCode, Welcome
from nexus_protocol.vocabulary import Role
from relay import tokens

from .conftest import DEADLINE, Dial

COMMAND = [sys.executable, "-W", "error", "-m", "relay"]


def run(*arguments: str, state: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], env=os.environ | {"NEXUS_STATE_DIR": str(state)}, capture_output=True, text=True,
        timeout=DEADLINE, check=False,
    )  # fmt: skip


def complaint(*arguments: str, state: Path, status: int) -> str:
    """Standard error of a command that must fail with this status, in one or two lines and without a traceback."""
    done = run(*arguments, state=state)
    assert (done.returncode, done.stdout) == (status, ""), done
    assert 1 <= done.stderr.count("\n") <= 2
    assert "Traceback" not in done.stderr
    return done.stderr


class Running:
    """`nexus-relay serve` in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process, address: str) -> None:
        self.process = process
        self.addresses = [address]


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Running]:
    tokens.make_key(tmp_path)
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


def test_init_makes_a_private_key_once(tmp_path: Path) -> None:
    """A second init is refused, unless it is asked to leave what is there alone."""
    assert run("init", state=tmp_path).returncode == 0
    key = tmp_path / "relay.key"
    before = key.read_bytes()
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert "already there" in complaint("init", state=tmp_path, status=1)
    assert run("init", "--if-missing", state=tmp_path).returncode == 0
    assert key.read_bytes() == before


def test_token_prints_the_token_alone(tmp_path: Path) -> None:
    """Standard output is the token and nothing else; an operator's reaches all desks unless it names some."""
    run("init", state=tmp_path)
    key = tokens.load_key(tmp_path)
    plain = run("token", "--role", "operator", "--subject", "bob", state=tmp_path)
    assert plain.stderr == ""
    assert tokens.verify(key, plain.stdout.strip()).desks == ("*",)
    named = run("token", "--role=agent", "--subject=a", "--desk=office", "--ttl=30m", state=tmp_path).stdout
    claims = tokens.verify(key, named.strip())
    assert (claims.role, claims.desks) == (Role.AGENT, ("office",))


def test_the_state_folder_option_comes_first(tmp_path: Path) -> None:
    """--state-dir on the program wins over the environment, for every command."""
    assert run("--state-dir", str(tmp_path / "here"), "init", state=tmp_path / "there").returncode == 0
    assert (tmp_path / "here" / "relay.key").exists()
    assert not (tmp_path / "there").exists()


def test_what_is_wrong_on_the_command_line_is_said_in_a_line(tmp_path: Path) -> None:
    """Usage errors exit 2 and say what would be right; other failures exit 1."""
    for command in (["serve"], ["token", "--role=viewer", "--subject=eve"]):
        assert "nexus-relay init" in complaint(*command, state=tmp_path, status=2)
    run("init", state=tmp_path)
    for arguments, says in (
        (["token", "--role=agent", "--subject=a"], "--desk"),
        (["token", "--role=root", "--subject=a"], "automation"),
        (["token", "--subject=a"], "--role"),
        (["token", "--role=viewer", "--subject=two words"], "two words"),
        (["token", "--role=viewer", "--subject=a", "--ttl=soon"], "24h"),
        (["serve", "--listen=8765"], "HOST:PORT"),
        (["serve", "--listen=127.0.0.1:99999"], "HOST:PORT"),
        (["tokn"], "token"),
    ):
        assert says in complaint(*arguments, state=tmp_path, status=2)
    assert "cannot listen on 192.0.2.1:1" in complaint("serve", "--listen=192.0.2.1:1", state=tmp_path, status=1)
    assert "chmod 600" in _with_open_key(tmp_path)


def _with_open_key(state: Path) -> str:
    (state / "relay.key").chmod(0o644)
    return complaint("serve", state=state, status=2)


async def test_an_address_in_use_exits_1(served: Running, tmp_path: Path) -> None:
    """Whoever starts a second relay on the same port reads one line."""
    listen = served.addresses[0].removeprefix("ws://")
    said = await asyncio.to_thread(complaint, "serve", "--listen", listen, state=tmp_path, status=1)
    assert said == f"nexus-relay: cannot listen on {listen}: Address already in use\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_sends_every_peer_away_and_exits_0(
    served: Running, tmp_path: Path, dial: Dial, number: signal.Signals
) -> None:
    """Peers see 1001 going away; nothing but the address has been printed."""
    key = tokens.load_key(tmp_path)
    clients = []
    for role, desk in ((Role.AGENT, "office"), (Role.OPERATOR, "*")):
        clients.append(await dial(served, role, token=tokens.mint(key, role, "peer", [desk])))
        await clients[-1].expect(Welcome)
    served.process.send_signal(number)
    for client in clients:
        assert await client.closed() == (CloseCode.GOING_AWAY, "going away")
    out, error = await asyncio.wait_for(served.process.communicate(), DEADLINE)
    assert (served.process.returncode, out, error) == (0, b"", b"")
