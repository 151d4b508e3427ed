"""The words both sides share: roles, permissions, effects, the states of an action, and what a name looks like."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from msgspec import Meta

VERSION = 2
"""Version of the relay and of the link protocol; a mismatch is refused and says which side to upgrade."""

_NAME = r"[A-Za-z0-9][A-Za-z0-9._@-]*"
Name = Annotated[str, Meta(min_length=1, max_length=64, pattern=rf"^{_NAME}\Z")]
"""Names of desks and subjects: nothing in one can steer a terminal or pass for two."""
NameOrNone = Annotated[str, Meta(max_length=64, pattern=rf"^({_NAME})?\Z")]
"""A name, or empty."""


class Role(StrEnum):
    """Who a token speaks for. AGENT serves a desk; the others reach one."""

    AGENT = "agent"
    OPERATOR = "operator"
    VIEWER = "viewer"
    AUTOMATION = "automation"


class Permission(StrEnum):
    """The right an action needs."""

    VIEW = "view"
    SCREENSHOT = "screenshot"
    CLICK = "click"
    TYPE = "type"
    FILE_READ = "file_read"
    FILE_WRITE = "file_write"
    EXECUTE = "execute"
    CLIPBOARD_READ = "clipboard_read"
    CLIPBOARD_WRITE = "clipboard_write"


class Effect(StrEnum):
    """What the policy says of an action."""

    ALLOW = "allow"
    ASK = "ask"
    DENY = "deny"


class ActionState(StrEnum):
    """Where an action is: WAITING for a decision, RUNNING, or in one of its five ends."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    DENIED = "denied"
    EXPIRED = "expired"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        return self not in (ActionState.WAITING, ActionState.RUNNING)


class RequestState(StrEnum):
    """A request is PENDING, then exactly one of the others."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"


class Button(StrEnum):
    """A pointer button, named as people name them."""

    LEFT = "left"
    MIDDLE = "middle"
    RIGHT = "right"
