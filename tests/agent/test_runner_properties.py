"""Whatever is asked, decided, cancelled, repeated or late: what runs was allowed or approved, and ran once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from nexus_agent.actions.ledger import Actor, Origin
from nexus_agent.actions.runner import Runner
from nexus_agent.capture.grabber import Grabber
from nexus_agent.permissions.policy import Policy, Rule
from nexus_protocol.actions import Type, payload_hash
from nexus_protocol.errors import Refused
from nexus_protocol.messages import ActionReport, Decide, RequestClosed, RequestOpened, Result
from nexus_protocol.vocabulary import ActionState, Effect, Permission, Role

TIMEOUT = 60.0
POLICY = Policy(
    rules=tuple(Rule(number, Permission.TYPE, effect, who=effect.value) for number, effect in enumerate(Effect, 1)),
    timeout=TIMEOUT,
)


class Paper:
    """Capture and Input of a desk that only remembers each text typed on it."""

    size = (100, 100)

    def __init__(self) -> None:
        self.texts: list[str] = []

    def text(self, text: str) -> None:
        self.texts.append(text)

    def release_all(self) -> None:
        pass


class Desk:
    def __init__(self, paper: Paper) -> None:
        self.capture = self.input = cast(Any, paper)
        self.environment: dict[str, str] = {}


@dataclass(eq=False)
class Session:
    """Where actions come from. The subject names the effect the policy has for it."""

    actor: Actor
    approver: bool = False
    gone: bool = False


@dataclass
class Asked:
    """The model of one action."""

    session: Session
    state: ActionState
    deadline: float = 0.0


class Decisions(RuleBasedStateMachine):
    """Each action types a text of its own, so the desk shows what ran and how often."""

    actions = Bundle("actions")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.now = 1_000.0
        self.closing = False
        self.paper = Paper()
        self.grabber = Grabber()
        self.runner = Runner(Desk(self.paper), self.grabber, POLICY, self, clock=lambda: self.now)
        self.model: dict[str, Asked] = {}
        self.open: dict[int, RequestOpened] = {}
        self.results: Counter[str] = Counter()
        self.expected_results: Counter[str] = Counter()

    def teardown(self) -> None:
        self.closing = True
        try:
            self.loop.run_until_complete(self.runner.close())
        finally:
            self.grabber.close()
            self.loop.close()

    def step(self, what: Callable[[], None]) -> None:
        async def inside() -> None:
            what()

        self.loop.run_until_complete(inside())

    # The audience

    def tell(self, news: ActionReport | RequestOpened | RequestClosed, actor: Actor) -> None:
        if isinstance(news, RequestOpened):
            self.open[news.request] = news

    def deliver(self, result: Result, origin: Origin) -> None:
        asked = self.model[result.id]
        if asked.state is ActionState.WAITING and (self.closing or asked.deadline <= self.now):
            asked.state = ActionState.CANCELLED if self.closing else ActionState.EXPIRED
            self.expected_results[result.id] += 1
        self.results[result.id] += 1
        assert result.state is asked.state

    def present(self, actor: Actor) -> bool:
        return True

    def admitted(self, origin: Origin) -> bool:
        return True

    # What can happen

    @rule(target=actions, effect=st.sampled_from(Effect), role=st.sampled_from([Role.OPERATOR, Role.AUTOMATION]))
    def ask(self, effect: Effect, role: Role) -> str:
        id = f"action-{len(self.model):04}"
        session = Session(Actor(effect.value, role))
        first = {Effect.ALLOW: ActionState.DONE, Effect.ASK: ActionState.WAITING, Effect.DENY: ActionState.DENIED}
        state = first[effect]
        waiting = [asked for asked in self.model.values() if asked.state is ActionState.WAITING]
        if state is ActionState.WAITING and len(waiting) >= 16:
            state = ActionState.FAILED
        self.model[id] = Asked(session, state, self.now + TIMEOUT)
        self.expected_results[id] = int(state.ended)
        self.step(lambda: self.runner.submit(session, id, Type(text=f"<{id}>")))
        return id

    @rule(id=actions)
    def ask_again(self, id: str) -> None:
        """The same action once more, from a new session of the same operator."""
        asked = self.model[id]
        asked.session = Session(asked.session.actor)
        self.expected_results[id] += int(asked.state.ended)
        self.step(lambda: self.runner.submit(asked.session, id, Type(text=f"<{id}>")))

    @rule(data=st.data(), approve=st.booleans(), approver=st.booleans(), shown=st.booleans())
    def decide(self, data: st.DataObject, approve: bool, approver: bool, shown: bool) -> None:
        if not self.open:
            return
        opened = self.open[data.draw(st.sampled_from(sorted(self.open)))]
        assert isinstance(opened.action, Type)
        id = opened.action.text.strip("<>")
        asked = self.model[id]
        stands = approver and shown and asked.state is ActionState.WAITING and asked.deadline > self.now
        if stands:
            asked.state = ActionState.DONE if approve else ActionState.DENIED
            self.expected_results[id] += 1
        digest = opened.payload_hash if shown else payload_hash(Type(text="something else"))
        by = Session(Actor("boss", Role.OPERATOR), approver)

        def say() -> None:
            try:
                self.runner.decide(by, Decide(request=opened.request, payload_hash=digest, approve=approve))
            except Refused:
                assert not stands
            else:
                assert stands

        self.step(say)

    @rule(id=actions)
    def cancel(self, id: str) -> None:
        asked = self.model[id]
        if asked.state is ActionState.WAITING:
            asked.state = ActionState.CANCELLED
            self.expected_results[id] += 1
        self.step(lambda: self.runner.cancel(asked.session, id))

    @rule(id=actions)
    def somebody_else_cancels(self, id: str) -> None:
        self.step(lambda: self.runner.cancel(Session(Actor("boss", Role.OPERATOR)), id))

    @rule(seconds=st.sampled_from([1.0, 20.0, TIMEOUT]))
    def time_passes(self, seconds: float) -> None:
        """Without the alarm having gone off yet."""
        self.now += seconds

    @rule()
    def alarm(self) -> None:
        self.step(self.runner.expire_due)
        late = [asked for asked in self.model.values() if asked.deadline <= self.now]
        assert not [asked for asked in late if asked.state is ActionState.WAITING]

    @invariant()
    def what_ran_is_what_may_have_run_once(self) -> None:
        done = [f"<{id}>" for id, asked in self.model.items() if asked.state is ActionState.DONE]
        assert sorted(self.paper.texts) == sorted(done)

    @invariant()
    def everybody_was_told_the_end(self) -> None:
        assert +self.results == +self.expected_results


Decisions.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestDecisions = Decisions.TestCase
