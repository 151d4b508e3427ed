"""The relay's state folder: files that only their owner reads, replaced whole, one writer at a time.

The command line and a running relay both write here. A command that root runs for a relay that is somebody else's
leaves its files to the owner of the folder, or the relay could not read them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from nexus_protocol.errors import NexusError
from nexus_protocol.records import locked
from nexus_protocol.settings import read_secret, write_secret

Stamp = tuple[int, ...]
_LOCK = "relay"


class Store:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else writes in the folder meanwhile. Raises NexusError when that cannot be had."""
        with locked(self.folder / _LOCK):
            with contextlib.suppress(OSError):
                self._hand_over(self.folder / f".{_LOCK}.lock")
            yield

    def has(self, name: str) -> bool:
        return os.path.lexists(self.folder / name)

    def read(self, name: str) -> bytes:
        """Nothing when there is no such file. Raises UsageError when it is unreadable, or readable by others."""
        return read_secret(self.folder / name) if self.has(name) else b""

    def write(self, name: str, content: bytes) -> None:
        """The old, or the whole of the new; only while `alone`. Raises NexusError, and nothing has changed then."""
        path, new = self.folder / name, self.folder / f".{name}.new"
        try:
            write_secret(new, content)
            self._hand_over(new)
            new.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                new.unlink(missing_ok=True)
            raise NexusError(f"cannot write {path}: {error.strerror}; nothing was changed") from None

    def stamp(self, name: str) -> Stamp:
        """Another one whenever the file is another one."""
        try:
            now = (self.folder / name).stat()
        except OSError as error:
            return (error.errno or 0,)
        return now.st_mtime_ns, now.st_ctime_ns, now.st_size, now.st_ino, now.st_mode

    def _hand_over(self, path: Path) -> None:
        owner = self.folder.stat()
        if os.geteuid() == 0 and owner.st_uid != 0:
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
