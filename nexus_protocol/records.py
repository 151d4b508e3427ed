"""A small file of records that several programs read and change: who is trusted, who is invited.

The file is TOML, so that a person can read and mend it. It is written whole, in one step, under a lock, and refused
when others than its owner could have written it, as ssh refuses such an ``authorized_keys``.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from .errors import NexusError, UsageError
from .settings import write_secret

R = TypeVar("R", bound=msgspec.Struct)
MAX_FILE = 1024 * 1024
PATIENCE = 5.0
"""Seconds to wait for whoever else is changing the file."""


class Records(Generic[R]):
    """The records of one file: a ``[[table]]`` each, of texts, whole numbers and truths. A missing file is empty."""

    def __init__(self, path: Path, kind: type[R], table: str, about: str) -> None:
        self.path = path
        self._kind = kind
        self._table = table
        self._about = about
        self._kept: tuple[tuple[int, ...] | None, tuple[R, ...]] = None, ()

    def read(self) -> tuple[R, ...]:
        """As the file is now; parsed again only when it has changed. Raises UsageError: which file, what is wrong."""
        stamp, (seen, records) = self.stamp(), self._kept
        if stamp != seen:
            records = self._load()
            self._kept = stamp, records  # in one step: threads read, too
        return records

    def stamp(self) -> tuple[int, ...]:
        """Another one whenever the file is another one."""
        try:
            now = self.path.stat()
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise UsageError(f"cannot read {self.path}: {error.strerror}") from None
        return now.st_mtime_ns, now.st_size, now.st_ino, now.st_mode

    @contextlib.contextmanager
    def changing(self) -> Iterator[list[R]]:
        """The records, to be changed in place; what they are at the end of the block is written, if that is different.

        Nobody else changes the file meanwhile. Raises UsageError when it cannot be read, NexusError when not written.
        """
        with locked(self.path):
            before = self._load()
            records = list(before)
            yield records
            if tuple(records) != before:
                self._write(records)

    def _load(self) -> tuple[R, ...]:
        try:
            with self.path.open("rb") as file:
                _check_owner(self.path, os.fstat(file.fileno()))
                _check_owner(self.path.parent, self.path.parent.stat())
                text = file.read(MAX_FILE + 1)
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise UsageError(f"cannot read {self.path}: {error.strerror}") from None
        try:
            data = tomllib.loads(text.decode("utf-8"))
            if len(text) > MAX_FILE or data.keys() - {self._table}:
                raise ValueError(f"only [[{self._table}]] tables belong here, {MAX_FILE:,} bytes of them at most")
            return tuple(msgspec.convert(data.get(self._table, []), list[self._kind]))  # type: ignore[name-defined]
        except (ValueError, RecursionError) as error:  # TOML's, UTF-8's and msgspec's errors are all ValueErrors
            raise UsageError(f"{self.path}: {error}") from None

    def _write(self, records: list[R]) -> None:
        lines = [f"# {line}" for line in self._about.splitlines()]
        for record in records:  # JSON writes texts, numbers and truths as TOML does, but for DEL
            lines += ["", f"[[{self._table}]]"]
            for name, value in msgspec.to_builtins(record).items():
                lines.append(f"{name} = {json.dumps(value, ensure_ascii=False)}".replace("\x7f", "\\u007f"))
        content = ("\n".join(lines) + "\n").encode()
        if len(content) > MAX_FILE:
            raise NexusError(f"{self.path} would grow past {MAX_FILE:,} bytes; nothing was changed")
        try:
            write_secret(self.path, content)
        except OSError as error:
            raise NexusError(f"cannot write {self.path}: {error.strerror}; nothing was changed") from None


def _check_owner(path: Path, found: os.stat_result) -> None:
    """Raises UsageError when somebody else could have put there what we are about to believe."""
    mode = found.st_mode & 0o7777
    if mode & 0o022:
        wanted = "700" if stat.S_ISDIR(found.st_mode) else "600"
        raise UsageError(f"{path} can be changed by others (mode {mode:04o}); run: chmod {wanted} {path}")
    if os.name == "posix" and (mine := os.geteuid()) and found.st_uid not in (0, mine):
        raise UsageError(f"{path} belongs to somebody else (user {found.st_uid}); nothing in it can be trusted")


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Alone with a file among the programs that ask so. Raises NexusError when that cannot be had within PATIENCE.

    It waits: in a program with an event loop, call it in a thread.
    """
    try:
        import fcntl
    except ImportError:  # Windows: nothing to lock with; a lost race there costs one change
        yield
        return
    try:
        descriptor = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise NexusError(f"cannot change {path}: {error.strerror}; nothing was changed") from None
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # held for the milliseconds of one write
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    why = "another program is changing it" if error.errno == errno.EWOULDBLOCK else error.strerror
                    raise NexusError(f"cannot change {path}: {why}; nothing was changed") from None
                time.sleep(0.01)
        yield
    finally:
        os.close(descriptor)
