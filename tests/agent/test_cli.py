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

from nexus_protocol.invitation import Invitation, Secret
from nexus_protocol.vocabulary import Role
from relay.issuer import Issuer
from relay.server import RelayServer

from .conftest import Run, assert_failed

DEADLINE = 15.0
Start = Callable[..., Awaitable[Process]]


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    return new_issuer(tmp_path / "relay")


@pytest.fixture
async def relay(issuer: Issuer) -> AsyncIterator[str]:
    """The address of a relay in this process."""
    async with RelayServer(issuer, "127.0.0.1", 0) as server:
        yield server.addresses[0]


@pytest.fixture
def token(tmp_path: Path, issuer: Issuer) -> Path:
    """A token for desk `office`, in a file."""
    return write_token(tmp_path / "token-file", issuer)


def new_issuer(folder: Path) -> Issuer:
    folder.mkdir()
    return Issuer.create(folder)


def write_token(path: Path, issuer: Issuer, role: Role = Role.AGENT) -> Path:
    path.touch(mode=0o600)
    path.write_text(issuer.mint(role, "office", ("office",), ttl=60))
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
    wrong = write_token(tmp_path / "wrong", new_issuer(tmp_path / "other relay"))
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
    ("name", "said"),
    [
        ("identity.pem", "identity.pem can be read by others (mode 0666); run: chmod 600"),
        ("authorized_operators", "authorized_operators can be changed by others (mode 0666); run: chmod 600"),
    ],
)
async def test_a_key_or_a_list_that_is_not_the_owners_alone_is_said_at_the_start(
    start: Start, token: Path, tmp_path: Path, name: str, said: str
) -> None:
    """It does not serve: who it is, or who may come, is in somebody else's hands."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / name).touch()
    (tmp_path / "state" / name).chmod(0o666)
    process = await start("run", "--synthetic", "--relay", "ws://127.0.0.1:9", "--token-file", token)
    status, errors = await end(process)
    assert said in errors
    assert (status, errors.count("\n")) == (2, 1)


async def test_what_the_relay_does_not_take_is_one_line(
    start: Start, issuer: Issuer, relay: str, tmp_path: Path
) -> None:
    """An invitation it never made, a token that may not invite; nothing is left behind."""
    unknown = Invitation(relay, "office", Secret.new())
    operators = write_token(tmp_path / "operators", issuer, Role.OPERATOR)
    refused = {
        "this invitation is not known here": await start("join", unknown.link()),
        "the relay refuses": await start("invite", "--relay", relay, "--token-file", operators),
    }
    for said, process in refused.items():
        status, errors = await end(process)
        assert said in errors
        assert (status, errors.count("\n")) == (4, 1)
    assert {path.name for path in (tmp_path / "state").iterdir()} <= {"identity.pem"}


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [(("--synthetic", "--display", ":9"), 2, "exclude each other"), ((), 4, "no X display")],
)
async def test_a_desk_that_cannot_be_opened_is_one_line(
    start: Start, token: Path, arguments: tuple[str, ...], status: int, said: str
) -> None:
    """And never a traceback."""
    process = await start("run", "--relay", "ws://127.0.0.1:9", "--token-file", token, *arguments)
    ended, errors = await end(process)
    assert said in errors
    assert (ended, errors.count("\n")) == (status, 1)


@pytest.mark.parametrize(
    ("config", "arguments", "said"),
    [
        ("", ("--synthetic",), "no relay named"),
        ('rely = "ws://x"', ("--synthetic",), "unknown key 'rely'; did you mean 'relay'?"),
        ("relay = 3", ("--synthetic",), "relay is text in quotes, not 3"),
        ('display = ":1"\nvirtual = "64x64"', (), "exclude each other"),
        ('unknown_operators = "maybe"', ("--synthetic",), 'unknown_operators is "ask" or "refuse", not \'maybe\''),
        ('virtual = "wide"', ("--relay", "ws://127.0.0.1:9"), "'wide' is not a size"),
        ("", ("--synthetc",), "--synthetic"),
    ],
)
def test_wrong_options_and_settings_are_one_line(
    run: Run, folder: Path, config: str, arguments: tuple[str, ...], said: str
) -> None:
    """With what is meant, where that can be told."""
    (folder / "agent.toml").write_text(config)
    assert_failed(run("run", *arguments), 2, said)


def test_policy_check_prints_the_table_or_the_mistake(run: Run, folder: Path) -> None:
    """Status 0 with what the file comes to, or 2 with where it is wrong."""
    policy = folder / "policy.toml"
    policy.write_text('timeout = "5m"\n[automation]\nclick = "allow"\n')
    printed = run("policy", "check").out.splitlines()
    assert printed[0] == f"ok: {policy}"
    assert "click            allow       allow       deny" in printed
    assert printed[-1] == "a request waits 300 s"
    policy.write_text('[automation]\nclick = "alow"\n')
    said = f"nexus-agent: {policy}, line 2: unknown effect 'alow'; did you mean 'allow'?\n"
    assert run("policy", "check") == (2, "", said)
