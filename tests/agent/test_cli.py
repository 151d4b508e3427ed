"""nexus-agent as its users start it: what it prints, how it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from nexus_protocol.vocabulary import Role
from relay import tokens
from relay.server import RelayServer

DEADLINE = 15.0
KEY = b"k" * 32
Start = Callable[..., Awaitable[Process]]


@pytest.fixture
async def relay() -> AsyncIterator[str]:
    """The address of a relay in this process."""
    async with RelayServer(KEY, "127.0.0.1", 0) as server:
        yield server.addresses[0]


@pytest.fixture
def token(tmp_path: Path) -> Path:
    """A token for desk `office`, in a file."""
    return write_token(tmp_path / "token-file", KEY)


def write_token(path: Path, key: bytes) -> Path:
    path.touch(mode=0o600)
    path.write_text(tokens.mint(key, Role.AGENT, "office", ("office",), ttl=60))
    return path


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts nexus-agent with a state folder of its own; what still runs at the end is killed."""
    started: list[Process] = []
    environment = {k: v for k, v in os.environ.items() if not k.startswith("NEXUS_") and k != "DISPLAY"}

    async def start_one(*arguments: str | Path) -> Process:
        command = (sys.executable, "-m", "nexus_agent", *map(str, arguments), "--state-dir", str(tmp_path / "state"))
        started.append(await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE, env=environment))
        return started[-1]

    yield start_one
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def line(stream: asyncio.StreamReader | None) -> str:
    assert stream is not None
    return (await asyncio.wait_for(stream.readline(), DEADLINE)).decode()


async def end(process: Process) -> tuple[int | None, str]:
    _, errors = await asyncio.wait_for(process.communicate(), DEADLINE)
    return process.returncode, errors.decode()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_serves_until_it_is_told_to_stop(
    start: Start, relay: str, token: Path, number: signal.Signals
) -> None:
    """One line when it serves; status 0 and not a word on a signal."""
    process = await start("run", "--synthetic", "--relay", relay, "--token-file", token)
    assert await line(process.stdout) == f"serving desk office (synthetic, 1280×800) through {relay}\n"
    process.send_signal(number)
    assert await end(process) == (0, "")


async def test_no_relay_is_said_once_and_dialled_again(start: Start, token: Path) -> None:
    """It waits for the relay to come, and can be stopped meanwhile."""
    process = await start("run", "--synthetic", "--relay", "ws://127.0.0.1:9", "--token-file", token)
    said = await line(process.stderr)
    assert "cannot reach the relay at ws://127.0.0.1:9" in said
    assert "dialling again" in said
    process.terminate()
    assert await end(process) == (0, "")


async def test_a_token_the_relay_refuses_ends_it(start: Start, relay: str, tmp_path: Path) -> None:
    """Status 4: dialling again would be useless."""
    wrong = write_token(tmp_path / "wrong", b"x" * 32)
    status, errors = await end(await start("run", "--synthetic", "--relay", relay, "--token-file", wrong))
    assert status == 4
    assert errors.startswith("nexus-agent: the relay refuses this program")
    assert errors.count("\n") == 1


async def test_a_token_for_another_desk_than_named_ends_it(start: Start, relay: str, token: Path) -> None:
    """`--name` guards against mixed up tokens."""
    process = await start("run", "--synthetic", "--relay", relay, "--token-file", token, "--name", "lab")
    assert await end(process) == (2, "nexus-agent: the token is for desk 'office', not 'lab'\n")


async def test_a_broken_policy_is_said_at_the_start(start: Start, relay: str, token: Path, tmp_path: Path) -> None:
    """It serves, for viewing, and says why no more."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "policy.toml").write_text("[defualts]\n")
    process = await start("run", "--synthetic", "--relay", relay, "--token-file", token)
    assert "did you mean 'defaults'?" in await line(process.stderr)
    assert "serving desk office" in await line(process.stdout)


@pytest.mark.parametrize(
    ("config", "arguments", "status", "said"),
    [
        ("", ("--synthetic",), 2, "no relay named"),
        ('rely = "ws://x"', ("--synthetic",), 2, "unknown key 'rely'; did you mean 'relay'?"),
        ("relay = 3", ("--synthetic",), 2, "relay is text in quotes, not 3"),
        ('display = ":1"\nvirtual = "64x64"', (), 2, "exclude each other"),
        ('virtual = "wide"', ("--relay", "ws://127.0.0.1:9"), 2, "'wide' is not a size"),
        ("", ("--synthetic", "--display", ":9", "--relay", "ws://127.0.0.1:9"), 2, "exclude each other"),
        ("", ("--relay", "ws://127.0.0.1:9"), 4, "no X display"),
        ("", ("--synthetc",), 2, "--synthetic"),
    ],
)
async def test_wrong_options_and_settings_are_one_line(
    start: Start, token: Path, tmp_path: Path, config: str, arguments: tuple[str, ...], status: int, said: str
) -> None:
    """And never a traceback."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "agent.toml").write_text(config)
    ended, errors = await end(await start("run", "--token-file", token, *arguments))
    assert said in errors
    assert (ended, errors.count("\n")) == (status, 1)


async def test_policy_check_prints_the_table_or_the_mistake(start: Start, tmp_path: Path) -> None:
    """Status 0 with what the file comes to, or 2 with where it is wrong."""
    (tmp_path / "state").mkdir()
    policy = tmp_path / "state" / "policy.toml"
    policy.write_text('timeout = "5m"\n[automation]\nclick = "allow"\n')
    process = await start("policy", "check")
    printed = (await asyncio.wait_for(process.communicate(), DEADLINE))[0].decode().splitlines()
    assert printed[0] == f"ok: {policy}"
    assert "click            allow       allow       deny" in printed
    assert printed[-1] == "a request waits 300 s"
    policy.write_text('[automation]\nclick = "alow"\n')
    said = f"nexus-agent: {policy}, line 2: unknown effect 'alow'; did you mean 'allow'?\n"
    assert await end(await start("policy", "check")) == (2, said)
