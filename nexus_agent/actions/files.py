"""Reading and writing whole files of the desk's user. Blocking: for a worker thread.

A path is resolved once, before the policy sees it (`real_path`). What is shown, decided and opened is then the same
file: no ``~``, no ``..`` and no link is left in it, and one that appears afterwards is refused.
"""

from __future__ import annotations

import os
import secrets
import stat

from nexus_protocol.actions import MAX_FILE
from nexus_protocol.errors import NexusError

# A FIFO must not block the open, and a link must not be followed past the check. Neither flag is known on Windows.
_CAREFUL = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)


def real_path(path: str) -> str:
    """The absolute path with ``~``, ``..`` and links resolved; the file need not exist. Raises NexusError."""
    expanded = os.path.expanduser(path)
    if "\0" in expanded or not os.path.isabs(expanded):
        raise NexusError(f"{path!r} is not a path of the desk: give an absolute one, or one that starts with ~/")
    return os.path.realpath(expanded)


def read(path: str) -> bytes:
    """The content of a regular file of at most MAX_FILE bytes. Raises NexusError."""
    try:
        _check_unmoved(path)
        descriptor = os.open(path, os.O_RDONLY | _CAREFUL)
        with os.fdopen(descriptor, "rb") as file:
            _check_regular(path, os.fstat(descriptor).st_mode)
            content = file.read(MAX_FILE + 1)
    except OSError as error:
        raise NexusError(f"cannot read {path}: {error.strerror}") from None
    if len(content) > MAX_FILE:
        raise NexusError(f"cannot read {path}: it is larger than {MAX_FILE // 2**20} MiB")
    return content


def write(path: str, data: bytes) -> None:
    """Replace or create a file, in one step and with the mode it had. Raises NexusError; then nothing changed."""
    folder, name = os.path.split(path)
    fresh = os.path.join(folder, f".{name[:200]}.{secrets.token_hex(4)}.new")
    try:
        _check_unmoved(path)
        mode = _mode_of_writable(path)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            with os.fdopen(descriptor, "wb") as file:
                if mode is not None:
                    os.chmod(fresh, mode)
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            os.replace(fresh, path)
        except OSError:
            os.unlink(fresh)
            raise
    except OSError as error:
        raise NexusError(f"cannot write {path}: {error.strerror}") from None


def _mode_of_writable(path: str) -> int | None:
    """The permission bits of the file to be replaced; None when there is none."""
    try:
        mode = os.stat(path, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return None
    _check_regular(path, mode)
    # Replacing needs only the folder to be writable; a file that was made read-only is left alone all the same.
    if not os.access(path, os.W_OK):
        raise NexusError(f"cannot write {path}: it is read-only")
    return stat.S_IMODE(mode)


def _check_regular(path: str, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise NexusError(f"{path} is {'a folder' if stat.S_ISDIR(mode) else 'not a regular file'}")


def _check_unmoved(path: str) -> None:
    if os.path.realpath(path) != path:
        raise NexusError(f"{path} leads to another place than when it was asked for; ask again")
