"""Who may do what at a desk without a policy file: one table, and what becomes of it when the relay says less."""

from __future__ import annotations

import typing

import pytest

from nexus_protocol import actions
from nexus_protocol.actions import (
    Action,
    Click,
    Drag,
    Execute,
    FileRead,
    FileWrite,
    Key,
    Move,
    Press,
    Release,
    Screenshot,
    Scroll,
    Type,
    kind_of,
)
from nexus_protocol.identity import Identity
from nexus_protocol.messages import ActionReport, Answer, Hello, Offer, Result, Welcome
from nexus_protocol.vocabulary import ActionState, Role

from .conftest import Console, Office

RIGHTS = """
                operator    automation  viewer      agent
    view        allowed     allowed     allowed     denied
    screenshot  allowed     allowed     allowed     denied
    click       allowed     asked       denied      denied
    drag        allowed     asked       denied      denied
    scroll      allowed     asked       denied      denied
    press       allowed     denied      denied      denied
    move        allowed     denied      denied      denied
    release     allowed     denied      denied      denied
    type        allowed     asked       denied      denied
    key         allowed     asked       denied      denied
    execute     asked       asked       denied      denied
    file_read   asked       asked       denied      denied
    file_write  asked       asked       denied      denied
    decide      allowed     denied      denied      denied
"""
"""Nobody comes as an agent, but for who has a key here and an agent's token at the relay. Steps of a gesture cannot be
asked for one by one, so where a click is asked for they are denied."""

ACTIONS: dict[str, Action] = {
    kind_of(action): action
    for action in (
        Screenshot(), Click(x=1, y=1), Drag(x=1, y=1, to_x=2, to_y=2), Scroll(x=1, y=1, dy=1), Press(x=1, y=1),
        Move(x=2, y=2), Release(x=2, y=2), Type(text="t"), Key(chord="k"), Execute(argv=("true",)),
        FileRead(path="/x"), FileWrite(path="/x", data=b""),
    )
}  # fmt: skip
STRENGTH = [Role.AGENT, Role.VIEWER, Role.AUTOMATION, Role.OPERATOR]
HERE = [Role.OPERATOR, Role.AUTOMATION, Role.VIEWER]


def column(role: Role) -> dict[str, str]:
    roles, *rows = (line.split() for line in RIGHTS.strip().splitlines())
    return {what: words[roles.index(role)] for what, *words in rows}


async def come(office: Office, role: Role, relays: Role, *, approver: bool) -> Console:
    """Somebody who has ``role`` at the desk, and comes with a token of the relay for another, or the same."""
    key = Identity.new()
    office.operators.add("somebody", role, key.fingerprint, approver=approver, by="the test")
    console = office.arrive("somebody", relays, key)
    console.link.send(Hello())
    await console.next(Welcome)
    return console


async def act(console: Console, kind: str) -> str:
    id = f"action-{kind}".replace("_", "-")
    console.act(id, ACTIONS[kind])

    def tells(message: object) -> bool:
        match message:
            case Result(id=of):
                return of == id
            case ActionReport(state=ActionState.WAITING, kind=of):
                return of == kind
        return False

    told = await console.next(object, tells)
    assert isinstance(told, Result | ActionReport)
    return {ActionState.DONE: "allowed", ActionState.WAITING: "asked", ActionState.DENIED: "denied"}[told.state]


async def view(console: Console) -> str:
    console.link.send(Offer(sdp="x"))
    return "denied" if (await console.next(Answer)).problem else "allowed"


async def decide(console: Console, office: Office) -> str:
    """Try to deny what somebody else asks for."""
    asker = await office.welcome("asker", Role.AUTOMATION)
    asker.act("action-asked", Type(text="please"))
    await asker.next(ActionReport)
    (request,) = (request for request in office.agent.runner.pending() if request.who == "asker")
    console.decide(request, approve=False)
    await console.settle()
    return "denied" if request.request in [r.request for r in office.agent.runner.pending()] else "allowed"


def test_the_table_knows_every_action() -> None:
    """Whoever adds one has to say whose it is."""
    kinds = {str(action.__struct_config__.tag) for action in typing.get_args(actions.Action)}
    assert kinds == set(ACTIONS) == set(column(Role.OPERATOR)) - {"view", "decide"}


@pytest.mark.parametrize("relays", HERE)
@pytest.mark.parametrize("ours", HERE)
async def test_what_each_role_may_do_with_each_token(office: Office, ours: Role, relays: Role) -> None:
    """The weaker of the desk's word and the relay's: a weaker token lowers a role, a stronger one does not raise it."""
    weaker = min(ours, relays, key=STRENGTH.index)
    console = await come(office, ours, relays, approver=ours is Role.OPERATOR)
    (welcome,) = console.of(Welcome)
    found = {"view": await view(console), **{kind: await act(console, kind) for kind in ACTIONS}}
    found["decide"] = await decide(console, office)
    assert found == column(weaker)
    assert (welcome.role, welcome.may_decide) == (weaker, found["decide"] == "allowed")
    if weaker is not Role.OPERATOR:
        assert (office.desk.clicks, office.desk.text) == ([], "")


@pytest.mark.parametrize(
    ("ours", "relays", "approver", "decides"),
    [
        (Role.OPERATOR, Role.OPERATOR, False, "denied"),
        (Role.VIEWER, Role.VIEWER, True, "allowed"),
        (Role.VIEWER, Role.OPERATOR, True, "allowed"),
        (Role.VIEWER, Role.AUTOMATION, True, "denied"),
        (Role.OPERATOR, Role.VIEWER, True, "denied"),
        (Role.OPERATOR, Role.AUTOMATION, True, "denied"),
    ],
)
async def test_deciding_is_a_right_of_its_own(
    office: Office, ours: Role, relays: Role, approver: bool, decides: str
) -> None:
    """A viewer can have it and an operator can lack it; who is lowered, or comes as automation, leaves it behind."""
    console = await come(office, ours, relays, approver=approver)
    assert console.of(Welcome)[0].may_decide == (decides == "allowed")
    assert await decide(console, office) == decides
