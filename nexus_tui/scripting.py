"""One action, or one question, without a screen: what scripts and the command line use."""

from __future__ import annotations

import base64
import json
from typing import Any

import click

from nexus_protocol.actions import Action, kind_of
from nexus_protocol.errors import printable
from nexus_protocol.messages import ActionReport, Result
from nexus_protocol.vocabulary import ActionState

from .commandline import Settings
from .core.known_desks import UnknownDesk
from .core.observer import Silence
from .core.session import Session

EXIT_STATUS = {
    ActionState.DONE: 0,
    ActionState.FAILED: 1,
    ActionState.CANCELLED: 1,
    ActionState.DENIED: 3,
    ActionState.EXPIRED: 3,
}


class Doorstep(Silence):
    """Tells whoever waits on a plain terminal that somebody has to let them in."""

    def on_held(self, reason: str) -> None:
        click.echo(f"nexus-tui: {printable(reason)}…", err=True)


class _Waiting(Doorstep):
    """Tells the person at the terminal once that somebody has to approve."""

    def __init__(self, session: Session, kind: str) -> None:
        self._session, self._kind, self._told = session, kind, False

    def on_report(self, report: ActionReport) -> None:
        welcome = self._session.welcome
        mine = welcome is not None and report.who == welcome.subject and report.kind == self._kind
        if mine and report.state is ActionState.WAITING and not self._told:
            self._told = True
            click.echo("nexus-tui: waiting for somebody to approve this…", err=True)


async def perform(settings: Settings, desk: str, action: Action) -> Result:
    """Connect, do one action, and return its end. Raises Unreachable and its kin."""
    session = Session(settings.membership, watch=False)
    session.observer = _Waiting(session, kind_of(action))
    async with session.dialled():
        try:
            await session.open(desk)
        except UnknownDesk as unknown:
            if not settings.accept_new:
                raise
            session.trust(unknown, by="--accept-new")
            await session.open(desk)
        session.start()
        return await session.perform(action)


async def list_desks(settings: Settings, *, as_json: bool) -> None:
    session = Session(settings.membership, watch=False)
    async with session.dialled():
        if as_json:
            click.echo(json.dumps({"desks": session.desks}))
        else:
            click.echo("\n".join(session.desks) or "no desk is there", err=not session.desks)


def as_json(action: Action, result: Result) -> str:
    """A result as one line of JSON; bytes as text where they are UTF-8, else in base64."""
    record: dict[str, Any] = {"action": kind_of(action), "id": result.id, "state": result.state.value}
    if result.message:
        record["message"] = result.message
    if result.exit_code is not None:
        record["exit_code"] = result.exit_code
    for name, data in (("output", result.data), ("stderr", result.stderr)):
        if data:
            try:
                record[name] = data.decode("utf-8")
            except UnicodeDecodeError:
                record[f"{name}_base64"] = base64.b64encode(data).decode("ascii")
    return json.dumps(record, ensure_ascii=False)
