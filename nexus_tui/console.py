"""`nexus-tui connect`: dial first, so that what is wrong is said on the plain terminal; then the screen."""

from __future__ import annotations

import sys

from nexus_protocol.errors import UsageError

from .commandline import Settings
from .core.commands import keymap
from .core.session import Session


async def run_console(settings: Settings, desk: str | None, *, view_only: bool) -> None:
    """Returns when the person quits. Raises UsageError without a terminal, Unreachable and its kin."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError("connect needs a terminal; for scripts there is `nexus-tui action`")
    from .app import NexusApp  # Textual takes its time to load: only once there is something to show

    keys, problems = keymap(settings.keys)
    session = Session(settings.url, settings.token)
    async with session.dialled():
        if desk is None and len(session.desks) == 1:
            desk = session.desks[0]
        if desk is not None:
            await session.open(desk)
        app = NexusApp(session, keys, view_only=view_only, notes=[*settings.notes, *map(str, problems)])
        session.observer = app.main
        await app.run_async()
