"""The command line of nexus-agent: ``run`` and ``policy check``; who may come to the desk is trust_cli's."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import click

from nexus_agent.desks import Desk, open_desk, parse_size
from nexus_agent.permissions.operators import Operators
from nexus_agent.permissions.policy import Policy
from nexus_protocol.commandline import Program, begin, complain, warn_of_plain
from nexus_protocol.dialer import ConnectionState, Status
from nexus_protocol.errors import UsageError
from nexus_protocol.identity import Identity
from nexus_protocol.settings import RelayToken, read_toml, relay_token, relay_url, token_says, unknown_key
from nexus_protocol.vocabulary import Permission, Role

from .agent import Agent
from .terminal import leave_terminal
from .trust_cli import PROGRAM, fingerprint, invite, join, operators, revoke

CONFIG, POLICY = "agent.toml", "policy.toml"
SWITCH_INTERVAL = 0.0005
"""Seconds until a busy thread lets another run: with Python's own 5 ms, capture and network wait too long for turns."""
CONFIG_KEYS = ("relay", "display", "virtual", "unknown_operators")


@dataclass(frozen=True)
class Wanted:
    """Which desk to open, as open_desk takes it."""

    display: str | None = None
    virtual: tuple[int, int] | None = None
    command: tuple[str, ...] = ()
    synthetic: bool = False


@click.group(PROGRAM, cls=Program)
def cli() -> None:
    """Serves one desktop, and decides what may be done on it."""


@cli.command()
@click.option("--display", metavar=":N", help="Serve this X display (else DISPLAY).")
@click.option("--virtual", metavar="WxH", help="Serve an Xvfb of its own, which ends with it; CMD is started there.")
@click.option("--synthetic", is_flag=True, help="Serve a drawn desktop that reacts to keys and clicks: for trying.")
@click.option("--relay", metavar="URL", help="The relay (else NEXUS_RELAY, else agent.toml).")
@click.option("--name", metavar="DESK", help="Refuse to start with a token for another desk than this.")
@click.option("--token-file", metavar="FILE", help="The relay token (else NEXUS_TOKEN, else `token` in the folder).")
@click.option("--ask-unknown", is_flag=True, help="Operators whose key is not known may knock: approvers decide.")
@click.argument("cmd", nargs=-1, type=click.UNPROCESSED)
def run(
    *,
    display: str | None,
    virtual: str | None,
    synthetic: bool,
    relay: str | None,
    name: str | None,
    token_file: str | None,
    ask_unknown: bool,
    cmd: tuple[str, ...],
) -> None:
    """Serve a desk until SIGTERM or Ctrl+C."""
    folder = begin(PROGRAM)
    config = _read_config(folder / CONFIG)
    if not (display or virtual or synthetic):
        display, virtual = config.get("display"), config.get("virtual")
    wanted = Wanted(display, parse_size(virtual) if virtual else None, cmd, synthetic)
    url = relay_url(relay, config, folder)
    warn_of_plain(PROGRAM, url)
    token = relay_token(folder, token_file)
    os.environ.pop("NEXUS_TOKEN", None)  # it is the agent's secret, not that of the programs it starts
    _check_token(token.text, name)
    policy = Policy.load_or_broken(folder / POLICY)
    if policy.problem:
        _say(f"the policy cannot be used, so everything but viewing is denied: {policy.problem}")
    # asyncio's own loop: uvloop cannot put a child into a process group.
    sys.setswitchinterval(SWITCH_INTERVAL)
    leave_terminal()
    asks = ask_unknown or config.get("unknown_operators") == "ask"
    identity, operators = Identity.of(folder), Operators(folder)
    operators.all()  # a list that cannot be used is better heard of now

    def agent(desk: Desk, on_status: Callable[[Status], None]) -> Agent:
        return Agent(desk, policy, operators=operators, name=name, asks=asks, on_status=on_status)

    with _only_one(folder):
        asyncio.run(_serve(wanted, agent, url, token, identity))


def _check_token(token: str, name: str | None) -> None:
    """Raises UsageError for a token of somebody else, before the relay puts us in their place."""
    role, desk = token_says(token, "role"), token_says(token, "sub")
    if role and role != Role.AGENT:
        raise UsageError(f"this is the token of an {role}, not of an agent; take an invitation: nexus-agent join")
    if desk and name not in (None, desk):
        raise UsageError(f"the token is for desk {desk!r}, not {name!r}")


@contextlib.contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Alone in a state folder for the length of the block: a second agent would push the first off its desk."""
    with (folder / ".running").open("ab") as file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:
            pass  # Windows: the relay still serves only the last
        except OSError:
            raise UsageError(f"another nexus-agent runs with {folder}; end it, or choose --state-dir") from None
        yield


for command in (join, invite, operators, revoke, fingerprint):
    cli.add_command(command)


@cli.group()
def policy() -> None:
    """The policy: what may be done on this desk."""


@policy.command()
def check() -> None:
    """Read the policy file and print what it comes to; exit status 2 if it cannot be used."""
    path = begin(PROGRAM) / POLICY
    policy = Policy.load(path)
    click.echo(f"ok: {path if path.exists() else 'no policy.toml, so the built-in defaults hold'}")
    roles = (Role.OPERATOR, Role.AUTOMATION, Role.VIEWER)
    click.echo(f"{'':17}" + "".join(f"{role:12}" for role in roles).rstrip())
    for permission in Permission:
        effects = "".join(f"{policy.judge(role, '', permission).effect:12}" for role in roles)
        click.echo(f"{permission:17}{effects}".rstrip())
    for rule in policy.rules:
        click.echo(f"{rule}: {rule.effect}")
    click.echo(f"a request waits {policy.timeout:g} s")


async def _serve(
    wanted: Wanted,
    make_agent: Callable[[Desk, Callable[[Status], None]], Agent],
    url: str,
    token: RelayToken,
    identity: Identity,
) -> None:
    """Until a signal, or an error that ends it."""
    task = asyncio.current_task()
    assert task is not None
    stopped = False

    def stop() -> None:
        nonlocal stopped
        if not stopped:  # a second signal must not interrupt the cleaning up
            stopped = True
            task.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):  # Windows, where Ctrl+C interrupts anyway
            loop.add_signal_handler(number, stop)
    try:
        desk = await open_desk(
            display=wanted.display, virtual=wanted.virtual, command=wanted.command, synthetic=wanted.synthetic
        )
        try:
            status = _Announcer(desk, url)
            agent = make_agent(desk, status)
            status.agent = agent
            await agent.run(url, token, identity)
        finally:
            await desk.close()
    except asyncio.CancelledError:
        if not stopped:
            raise


class _Announcer:
    """Says how the connection stands: the first success on standard output, each change after it on standard error."""

    def __init__(self, desk: Desk, url: str) -> None:
        self.agent: Agent | None = None
        self._desk = desk
        self._url = url
        self._served = False
        self._last = ""

    def __call__(self, status: Status) -> None:
        if status.state is ConnectionState.CONNECTED:
            if not self._served:
                width, height = self._desk.capture.size
                kind = " ".join(filter(None, (self._desk.kind, self._desk.environment.get("DISPLAY"))))
                name = self.agent.name if self.agent else ""
                click.echo(f"serving desk {name} ({kind}, {width}×{height}) through {self._url}")
                sys.stdout.flush()
            elif self._last:
                _say("connected again")
            self._served, self._last = True, ""
        elif status.state is ConnectionState.WAITING and status.detail != self._last:
            _say(f"{status.detail} (dialling again until it answers)")
            self._last = status.detail


def _read_config(path: Path) -> dict[str, Any]:
    config = read_toml(path)
    for key, value in config.items():
        if key not in CONFIG_KEYS:
            raise unknown_key(str(path), key, CONFIG_KEYS)
        if not isinstance(value, str):
            raise UsageError(f"{path}: {key} is text in quotes, not {value!r}")
    if config.get("unknown_operators", "refuse") not in ("ask", "refuse"):
        raise UsageError(f'{path}: unknown_operators is "ask" or "refuse", not {config["unknown_operators"]!r}')
    if "display" in config and "virtual" in config:
        raise UsageError(f"{path}: display and virtual exclude each other; keep one of them")
    return config


def main(arguments: list[str] | None = None) -> NoReturn:
    """The console script."""
    cli.run(arguments)


def _say(message: str) -> None:
    complain(PROGRAM, message)
