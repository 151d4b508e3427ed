"""Who comes in: from a link on which nothing was said to a known operator, or a refusal.

The link's key decides, not the name that the relay gives. A key that nobody let in may say one thing, a Hello, which
may show an invitation; or it knocks, where the desk's person has allowed that, and an approver opens or not.

    sealed ─> hello ─┬─ key is known ──────────────────────> in
                     ├─ invitation is good ─> key is known ─> in
                     ├─ knocking is allowed ─> request ─┬───> in
                     └──────────────────────────────────┴───> refused
"""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol

import structlog

from nexus_agent.actions.ledger import Actor, Origin
from nexus_agent.actions.outcome import in_thread
from nexus_agent.permissions.operators import Operator, Operators, role_here
from nexus_protocol.actions import Admission
from nexus_protocol.errors import LinkClosed, NexusError
from nexus_protocol.fingerprint import Fingerprint
from nexus_protocol.link import Link
from nexus_protocol.messages import FromAgent, Held, Hello, Result, ToAgent, greeting
from nexus_protocol.vocabulary import VERSION, ActionState, Role

HELLO_TIMEOUT = 10.0
KNOCK_AGAIN = 60.0
"""Seconds until the same name, or the same key, may knock again."""

_log = structlog.get_logger()

AgentLink = Link[ToAgent, FromAgent]


class Refusal(Exception):
    """``code`` and ``reason`` are what the other side is told in a Bye."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Guest(NamedTuple):
    """Somebody who was let in. ``role`` and ``approver`` are what counts on this link."""

    operator: Operator
    role: Role
    approver: bool

    @property
    def actor(self) -> Actor:
        return Actor(self.operator.name, self.role)


@dataclass(eq=False)
class Knock:
    """A stranger's wish to come in, as the origin of the request for it. No operator can send an ``id`` like this."""

    id: str
    actor: Actor
    link: AgentLink
    answer: asyncio.Future[Result]
    approver: bool = False

    @property
    def gone(self) -> bool:
        return self.link.closed


class Requests(Protocol):
    """What the door needs of the runner."""

    def ask_to_admit(self, origin: Origin, id: str, admission: Admission) -> float: ...
    def cancel(self, origin: Origin, id: str) -> None: ...


class Door:
    """``asks``: whether strangers may knock."""

    def __init__(self, operators: Operators, requests: Requests, *, asks: bool) -> None:
        self.operators = operators
        self._requests = requests
        self._asks = asks
        self._knocks = itertools.count(1)
        self._knocked: dict[str, float] = {}
        self._complaint = ""

    async def admit(self, link: AgentLink) -> Guest:
        """Wait for the link's Hello and let its key in. Raises Refusal, or LinkClosed when the link ends before."""
        try:
            async with asyncio.timeout(HELLO_TIMEOUT):
                fingerprint = await link.secured()
                hello = await link.greeting(greeting)
        except TimeoutError:
            raise Refusal("protocol", f"nothing was said within {HELLO_TIMEOUT:.0f} s") from None
        _check_version(hello)
        if link.role is Role.AGENT:
            raise Refusal("forbidden", "an agent serves a desk, and comes to none")
        try:
            operator = await self._operator(fingerprint, hello) or await self._knock(link, fingerprint)
        except LinkClosed:
            raise
        except NexusError as error:
            _log.error("nobody can be let in", reason=str(error))
            raise Refusal("unready", "this desk cannot use its list of operators; its person has to mend it") from None
        role = role_here(operator.role, link.role)
        # Who comes as automation approves nothing, also with the key of a viewer who may.
        lowered = role is not operator.role or link.role is Role.AUTOMATION
        return Guest(operator, role, operator.approver and not lowered)

    def stamp(self) -> tuple[int, ...]:
        """Another one whenever everybody who is in has to be looked at again."""
        try:
            return self.operators.stamp()
        except NexusError:
            return (-1,)

    def recheck(self, guest: Guest) -> Refusal | None:
        """Why somebody who came in may not stay as they are; asked before each action. None: they may."""
        try:
            now = self.operators.find(Fingerprint.parse(guest.operator.fingerprint))
        except NexusError as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                _log.error("nobody can stay", reason=str(error))
            return Refusal("unready", "this desk cannot use its list of operators; its person has to mend it")
        self._complaint = ""
        if now is None:
            return Refusal("forbidden", "your right to come to this desk was taken back")
        if now.rights != guest.operator.rights:
            return Refusal("forbidden", "what you may do at this desk was changed; connect again")
        return None

    async def _operator(self, fingerprint: Fingerprint, hello: Hello) -> Operator | None:
        if not hello.invitation:
            return self.operators.find(fingerprint)
        # In a thread: a command that holds the file's lock must not hold up the desk.
        operator = await in_thread(self.operators.redeem, fingerprint, hello.invitation)
        if operator is not None:
            _log.info("invitation used", who=operator.name, role=operator.role.value, key=str(fingerprint))
            return operator
        known = self.operators.find(fingerprint)
        if known is None:
            raise Refusal(
                "invitation",
                "this invitation is not known here: it was used, has expired, or was never made; ask for a new one",
            )
        return known

    async def _knock(self, link: AgentLink, fingerprint: Fingerprint) -> Operator:
        name = link.peer
        other = self.operators.named(name) or name in frozenset(Role)
        if other:
            _log.warning("another key than the one known", who=name, key=str(fingerprint))
        if other or not self._asks:
            known = f" ({name} is known here by another key)" if other else ""
            raise Refusal(
                "unknown",
                f"this desk does not know your key {fingerprint}{known}. Ask its person for an invitation: "
                f"nexus-agent invite --name {name}",
            )
        if not self._may_knock(name, fingerprint):
            raise Refusal("unready", "somebody with this name or key has just knocked; try again in a minute")
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        knock = Knock(f"admission_{next(self._knocks)}", Actor(name, link.role), link, answer)
        admission = Admission(name=name, role=link.role, fingerprint=str(fingerprint))
        seconds = self._requests.ask_to_admit(knock, knock.id, admission)
        try:
            link.send(Held(seconds=seconds, reason="somebody at the desk has to let you in"))
            result = await self._answered(knock)
        finally:
            self._requests.cancel(knock, knock.id)  # nothing, when it has ended
        if result.state is not ActionState.DONE:
            raise Refusal("unknown", f"you were not let in: {result.message or result.state}")
        self._knocked.pop(name, None)
        by = f"approval of {result.message}"
        return await in_thread(partial(self.operators.add, name, link.role, fingerprint, approver=False, by=by))

    def _may_knock(self, name: str, fingerprint: Fingerprint) -> bool:
        """One knock a minute for a name and for a key: an approver is not to be worn down."""
        now = asyncio.get_running_loop().time()
        for who in [who for who, when in self._knocked.items() if when <= now - KNOCK_AGAIN]:
            del self._knocked[who]
        if name in self._knocked or str(fingerprint) in self._knocked:
            return False
        self._knocked |= dict.fromkeys((name, str(fingerprint)), now)
        return True

    async def _answered(self, knock: Knock) -> Result:
        """The request's end. Raises LinkClosed when the stranger leaves before."""
        leaving = asyncio.create_task(knock.link.wait_closed(), name="stranger")
        try:
            await asyncio.wait((leaving, knock.answer), return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
        if not knock.answer.done():
            raise LinkClosed("gone", "left before the door was opened")
        return knock.answer.result()


def _check_version(hello: Hello) -> None:
    if hello.version != VERSION:
        old = "nexus-tui" if hello.version < VERSION else "nexus-agent, at the desk"
        said = f"this agent speaks protocol version {VERSION}, the console version {hello.version}"
        raise Refusal("version", f"{said}; upgrade {old}")
