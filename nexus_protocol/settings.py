"""Where a program keeps what it keeps, and how it reads its settings.

Everything lives in one state folder per program (``--state-dir``, ``NEXUS_STATE_DIR``, else the XDG folder).
Secrets are made with mode 0600 and refused when others can read them, as ssh does.
"""

from __future__ import annotations

import base64
import contextlib
import difflib
import ipaddress
import json
import logging
import os
import tempfile
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import platformdirs

from .errors import UsageError

TOKEN, RELAY = "token", "relay"
"""Files in a state folder: the relay's token (a secret), and the relay's address."""
_log = logging.getLogger(__name__)


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


def write_secret(path: Path, content: bytes, *, replace: bool = True) -> None:
    """Create or replace a file that only its owner can read, in one step: the old, or the whole of the new. OSError.

    Without ``replace`` an existing file stays, and FileExistsError says so.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            Path(name).replace(path)
        else:
            os.link(name, path)
            Path(name).unlink()
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


def relay_url(option: str | None, config: dict[str, Any], folder: Path) -> str:
    """The relay's address: the option, NEXUS_RELAY, the config file, then the one joined. Raises UsageError."""
    url = option or os.environ.get("NEXUS_RELAY") or str(config.get("relay", "")) or joined_relay(folder)
    if not url:
        raise UsageError("no relay named: `join` with an invitation, give --relay wss://HOST, or set NEXUS_RELAY")
    return checked_url(url)


def joined_relay(folder: Path) -> str:
    """The address of the relay that this state folder has joined; empty when it has joined none. Raises UsageError."""
    path = folder / RELAY
    try:
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}") from None


def keep_joined(folder: Path, url: str, token: str) -> None:
    """Remember the relay and the token that an invitation gave. Raises UsageError when they cannot be kept.

    Wherever it is interrupted, no token stands beside the address of another relay than its own.
    """
    before = ""
    with contextlib.suppress(UsageError):
        before = joined_relay(folder)
    try:
        if before != url:
            (folder / TOKEN).unlink(missing_ok=True)
            write_secret(folder / RELAY, url.encode())
        write_secret(folder / TOKEN, token.encode())
    except OSError as error:
        raise UsageError(f"cannot write in {folder}: {error.strerror}; choose a folder with --state-dir") from None


def checked_url(url: str) -> str:
    """The address of a relay, in the one way it is written. Raises UsageError."""
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


def is_local(url: str) -> bool:
    """Whether the relay is on this machine: no proxy finds it, and nobody listens on the way there."""
    host = urlsplit(url).hostname or ""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


class RelayToken:
    """The token that a program shows the relay. The relay renews it in time; one from a file is renewed there too."""

    def __init__(self, text: str, path: Path | None = None) -> None:
        self.text = text
        self._path = path

    def __repr__(self) -> str:
        return f"<relay token of {self._path or 'memory'}>"

    def renew(self, text: str) -> None:
        """Use this one from now on, and keep it in the file if that still holds the one before.

        Another one there is of a later invitation, and reaches more. A file that cannot be written keeps the old one,
        and a warning says so.
        """
        before, self.text = self.text, text
        if self._path is not None:
            try:
                if self._path.read_text(encoding="ascii", errors="replace").strip() == before:
                    write_secret(self._path, text.encode())
            except OSError as error:
                _log.warning("cannot keep the renewed relay token in %s: %s", self._path, error.strerror)


def relay_token(folder: Path, option: str | None) -> RelayToken:
    """The relay token: the file named, NEXUS_TOKEN, then the file ``token`` in the state folder. Raises UsageError."""
    if option is None and (from_environment := os.environ.get("NEXUS_TOKEN", "").strip()):
        return RelayToken(_one_word(from_environment, "NEXUS_TOKEN"))
    path = Path(option) if option else folder / TOKEN
    if not os.path.lexists(path):
        raise UsageError(
            f"no relay token in {path}: ask for an invitation and run `join`, "
            "or make a token on the relay's host with `nexus-relay token`"
        )
    return RelayToken(_one_word(read_secret(path).decode("ascii", "replace").strip(), str(path)), path)


def check_writable(folder: Path) -> None:
    """Raises UsageError when nothing can be kept in a state folder."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(f"cannot write in {folder}: {error.strerror}; choose a folder with --state-dir") from None


def token_says(token: str, claim: str) -> str:
    """What a relay token says of itself, unchecked: to tell a person early that it is the wrong one. Empty: nothing."""
    try:
        payload = token.split(".")[1]
        found = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))[claim]
    except (IndexError, KeyError, TypeError, ValueError):
        return ""
    return found if isinstance(found, str) else ""


def _one_word(token: str, where: str) -> str:
    """What goes into an HTTP header must not be able to end it."""
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError(f"{where} does not hold a relay token; make one with `nexus-relay token`")
    return token
