"""A relay, the agents on it, and the people who use them: what every test here begins with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from nexus_agent.permissions.operators import Operators
from nexus_protocol.identity import Identity
from nexus_protocol.vocabulary import Role
from nexus_tui.core.known_desks import KnownDesks
from relay.issuer import Issuer

from .processes import Done, Program, environment, python, run
from .terminal import Terminal

SIZE = (120, 36)
"""Columns and rows of a console, unless a test wants others."""


@dataclass(frozen=True)
class Person:
    """Somebody with a token: what a program run by them needs on its command line."""

    name: str
    url: str
    token: Path
    folder: Path
    role: Role = Role.OPERATOR

    @property
    def options(self) -> tuple[str, ...]:
        return ("--relay", self.url, "--token-file", str(self.token), "--state-dir", str(self.folder))

    def act(self, desk: str, *action: str) -> Done:
        """``nexus-tui action``, to its end."""
        with self.acting(desk, *action) as program:
            return program.ended()

    def acting(self, desk: str, *action: str) -> Program:
        """``nexus-tui action``, under way. The options stand before the arguments, which may follow a ``--``."""
        return Program("nexus_tui", "action", desk, action[0], *self.options, *action[1:])

    def console(self, *arguments: str, size: tuple[int, int] = SIZE) -> Terminal:
        """``nexus-tui connect`` in a terminal."""
        return Terminal(self.command("connect", *arguments), environment(), size)

    def command(self, name: str, *arguments: str) -> list[str]:
        """``nexus-tui`` with their options."""
        return python("nexus_tui", name, *arguments, *self.options)


class Relay:
    """A relay with a key of its own. It can be stopped and started again at the same address."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self._listen = "127.0.0.1:0"
        self._made = 0
        self._people: list[Person] = []
        self._desks: dict[str, Person] = {}
        done = run("relay", *self._state, "init")
        assert done.status == 0, done.error
        self.start()

    @property
    def _state(self) -> tuple[str, str]:
        return ("--state-dir", str(self.folder / "state"))

    def start(self) -> None:
        self.program = Program("relay", *self._state, "serve", "--listen", self._listen)
        self.url = self.program.line("listening on ").removeprefix("listening on ")
        self._listen = self.url.removeprefix("ws://")

    def stop(self) -> None:
        done = self.program.stop()
        assert (done.status, done.error) == (0, "")

    def issuer(self) -> Issuer:
        return Issuer.load(self.folder / "state")

    def token(self, *options: str) -> str:
        """``nexus-relay token``."""
        done = run("relay", *self._state, "token", *options)
        assert (done.status, done.error) == (0, "")
        return done.out

    def person(self, name: str, role: Role, *desks: str) -> Person:
        """Somebody new with a token for these desks, or all, and a state folder of their own."""
        return self.holder(name, self.issuer().mint(role, name, desks or ("*",)), role)

    def holder(self, name: str, token: str, role: Role = Role.OPERATOR) -> Person:
        """Somebody who holds this token, whatever it is worth; the relay's desks know them, and they the desks."""
        person = self._newcomer(name, token, role)
        self._people.append(person)
        for desk, agent in self._desks.items():
            self._introduce(person, desk, agent)
        return person

    def stranger(self, name: str, role: Role) -> Person:
        """Somebody with a token for all desks, whom no desk knows."""
        return self._newcomer(name, self.issuer().mint(role, name, ("*",)), role)

    def _newcomer(self, name: str, token: str, role: Role) -> Person:
        self._made += 1
        folder = self.folder / f"{self._made}-{name}"
        folder.mkdir(mode=0o700)
        file = folder / "its.token"
        file.touch(mode=0o600)
        file.write_text(token, encoding="utf-8")
        return Person(name, self.url, file, folder, role)

    def _introduce(self, person: Person, desk: str, agent: Person) -> None:
        """Each has the other's key, as after an invitation."""
        if person.role is not Role.AGENT:
            may_approve = person.role is Role.OPERATOR
            key, desks_key = Identity.of(person.folder).fingerprint, Identity.of(agent.folder).fingerprint
            Operators(agent.folder).add(person.name, person.role, key, approver=may_approve, by="the test")
            KnownDesks(person.folder, self.url).pin(desk, desks_key, by="the test")

    def desk(self, name: str) -> Person:
        """Who serves that desk: the same one whenever it is asked for."""
        if (agent := self._desks.get(name)) is None:
            agent = self._desks[name] = self.person(name, Role.AGENT, name)
            for person in self._people:
                self._introduce(person, name, agent)
        return agent

    def agent(self, desk: str, *options: str, policy: str = "") -> Program:
        """``nexus-agent run``, once it serves its desk."""
        holder = self.desk(desk)
        (holder.folder / "policy.toml").write_text(policy, encoding="utf-8")
        agent = Program("nexus_agent", "run", *holder.options, *options)
        try:
            agent.line("serving desk ")
        except BaseException:
            agent.stop()
            raise
        return agent

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        with self.program:
            pass
