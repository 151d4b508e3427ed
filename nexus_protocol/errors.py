"""Every error a Nexus program raises on purpose.

    NexusError                  exit status 1
    ├── UsageError              exit status 2   the command line or a settings file is wrong
    ├── Refused                 exit status 3   a permission said no, or nobody said yes in time
    ├── Unreachable             exit status 4   the other side cannot be reached
    │   └── Unauthorized        exit status 4   ... or does not accept who we are; dialling again is useless
    └── ProtocolError           exit status 1   bytes that this protocol does not allow
        └── LinkClosed          exit status 4   the link ended while something was under way

A message says in one or two lines what happened and what to do about it; it is shown to people as it is. It may
quote what a peer said, so characters that would steer a terminal are replaced when it becomes text.
"""

from __future__ import annotations


def printable(text: str) -> str:
    """The text with what would steer a terminal replaced; line ends stay."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


class NexusError(Exception):
    """Base of all errors that are shown to people: ``str(error)`` is the message."""

    exit_status = 1

    def __str__(self) -> str:
        return printable(super().__str__())


class UsageError(NexusError):
    exit_status = 2


class Refused(NexusError):
    exit_status = 3


class Unreachable(NexusError):
    exit_status = 4


class Unauthorized(Unreachable):
    pass


class ProtocolError(NexusError):
    """The peer sent what the protocol does not allow.

    ``code`` is a short stable word for programs and logs (``malformed``, ``too-large``, …).
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class LinkClosed(ProtocolError):
    exit_status = 4
