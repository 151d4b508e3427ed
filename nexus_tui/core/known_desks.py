"""Which key belongs to which desk: what this operator has pinned, and what an unknown or another key means.

``known_desks`` holds one fingerprint for each desk of each relay, since when, and how it came there.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from time import time
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from nexus_protocol.errors import Unauthorized, UsageError
from nexus_protocol.fingerprint import Fingerprint
from nexus_protocol.records import Records
from nexus_protocol.vocabulary import Name

_ABOUT = """The keys of the desks you know. A desk that shows another key is refused.
`nexus-tui trust DESK FINGERPRINT` pins a key, `nexus-tui fingerprint` prints your own."""
R = TypeVar("R", bound=msgspec.Struct)
_Line = Annotated[str, Meta(max_length=512, pattern=r"^[^\x00-\x1f\x7f]*\Z")]


class KnownDesk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    relay: _Line
    desk: Name
    fingerprint: Annotated[str, Meta(pattern=r"^SHA256:[A-Za-z0-9+/]{43}\Z")]
    since: _Line
    by: _Line


def readable(record: R) -> R:
    """The record, if a file with it in it can be read again. Raises UsageError."""
    try:
        return msgspec.convert(msgspec.to_builtins(record), type(record))
    except msgspec.ValidationError as error:
        raise UsageError(f"that cannot be kept here: {error}") from None


class UnknownDesk(Unauthorized):
    """First contact: nobody has said yet whether this is the desk's key."""

    def __init__(self, desk: str, fingerprint: Fingerprint) -> None:
        super().__init__(
            f"the desk {desk} is not known here yet; its key is {fingerprint} ({fingerprint.words}). Compare that with "
            f"`nexus-agent fingerprint` at the desk, then: --accept-new, or nexus-tui trust {desk} {fingerprint}"
        )
        self.desk = desk
        self.fingerprint = fingerprint


class ChangedKey(Unauthorized):
    """The desk shows another key than the one pinned: it was set up anew, or somebody sits in between."""

    def __init__(self, desk: str, known: str, shown: Fingerprint) -> None:
        super().__init__(
            f"THE KEY OF {desk} HAS CHANGED, and nothing was sent: somebody may be posing as it, or it was set up "
            f"anew. Known: {known}, shown: {shown}.\n"
            f"Ask its person for `nexus-agent fingerprint`; if that is what is shown: nexus-tui trust {desk} {shown}"
        )


class KnownDesks:
    """The file in a state folder, for the desks of one relay. Raises UsageError when it cannot be used."""

    def __init__(self, folder: Path, relay: str, *, clock: Callable[[], float] = time) -> None:
        self._records = Records(folder / "known_desks", KnownDesk, "desk", _ABOUT)
        self._relay = relay
        self._clock = clock

    def check(self, desk: str, shown: Fingerprint) -> None:
        """Returns when that is the desk's key. Raises UnknownDesk, ChangedKey."""
        known = next((k for k in self._records.read() if (k.relay, k.desk) == (self._relay, desk)), None)
        if known is None:
            raise UnknownDesk(desk, shown)
        if known.fingerprint != str(shown):
            raise ChangedKey(desk, known.fingerprint, shown)

    def pin(self, desk: str, fingerprint: Fingerprint, by: str) -> None:
        """Trust this key of the desk from now on, in place of any other. Raises NexusError when it cannot be kept."""
        since = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="seconds")
        self._change(desk, [readable(KnownDesk(self._relay, desk, str(fingerprint), since, by))])

    def forget(self, desk: str) -> None:
        """Know no key of this desk any more. Raises NexusError when that cannot be kept."""
        self._change(desk, [])

    def _change(self, desk: str, new: list[KnownDesk]) -> None:
        with self._records.changing() as records:
            records[:] = [known for known in records if (known.relay, known.desk) != (self._relay, desk)] + new
