"""Where a program keeps what it keeps, and how it reads its settings.

Everything lives in one state folder per program (``--state-dir``, ``NEXUS_STATE_DIR``, else the XDG folder).
Secrets are made with mode 0600 and refused when others can read them, as ssh does.
"""

from __future__ import annotations

import difflib
import os
import tempfile
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import platformdirs

from .errors import UsageError


def state_dir(program: str, override: str | None = None) -> Path:
    """The state folder, made with mode 0700 when missing."""
    chosen = override or os.environ.get("NEXUS_STATE_DIR")
    try:
        path = Path(chosen).expanduser() if chosen else platformdirs.user_state_path(program)
    except RuntimeError:
        raise UsageError(f"cannot use the state folder {chosen}: there is no such home folder") from None
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot use the state folder {path}: {error.strerror}; choose one with --state-dir") from None
    return path


def write_secret(path: Path, content: bytes) -> None:
    """Create or replace a file that only its owner can read, in one step: the old, or the whole of the new. OSError."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_secret(path: Path) -> bytes:
    """Raises UsageError when the file is missing, unreadable, or readable by others."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
            content = file.read()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    if mode & 0o077:
        raise UsageError(f"{path} can be read by others (mode {mode:04o}); run: chmod 600 {path}")
    return content


def read_toml(path: Path) -> dict[str, Any]:
    """Raises UsageError with file, line and what is wrong; a missing file is empty."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{path}: {error}") from None


def unknown_key(where: str, key: str, known: Iterable[str]) -> UsageError:
    """The error for a key nobody reads, naming the nearest one that somebody does."""
    known = sorted(known)
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
    return UsageError(f"{where}: unknown key {key!r}; {hint}")


def relay_url(option: str | None, config: dict[str, Any]) -> str:
    """The relay's address: the option, NEXUS_RELAY, then the config file. Raises UsageError."""
    url = option or os.environ.get("NEXUS_RELAY") or str(config.get("relay", ""))
    if not url:
        raise UsageError("no relay named: give --relay wss://HOST, or set NEXUS_RELAY")
    if not url.startswith(("ws://", "wss://")):
        raise UsageError(f"{url!r} is not a relay's address; it starts with wss:// (or ws:// on one machine)")
    try:
        parts = urlsplit(url)
        complete = bool(parts.hostname) and parts.port != 0 and not parts.query and not parts.fragment
    except ValueError:  # a port that is no number, an unfinished [address
        complete = False
    if not complete or not url.isprintable() or " " in url:
        raise UsageError(f"{url!r} is not a relay's address; it looks like wss://HOST or wss://HOST:PORT/PATH")
    return url.rstrip("/")


def relay_token(folder: Path, option: str | None) -> str:
    """The relay token: the file named, NEXUS_TOKEN, then the file ``token`` in the state folder."""
    if option is None and (from_environment := os.environ.get("NEXUS_TOKEN", "").strip()):
        return _one_word(from_environment, "NEXUS_TOKEN")
    path = Path(option) if option else folder / "token"
    if not os.path.lexists(path):
        raise UsageError(
            f"no relay token: make one on the relay's host with `nexus-relay token`, "
            f"then put it in {path} (mode 0600) or in NEXUS_TOKEN"
        )
    return _one_word(read_secret(path).decode("ascii", "replace").strip(), str(path))


def _one_word(token: str, where: str) -> str:
    """What goes into an HTTP header must not be able to end it."""
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError(f"{where} does not hold a relay token; make one with `nexus-relay token`")
    return token
