"""Relay tokens: JWTs by RFC 8725, signed with a key that never leaves the relay's state folder.

One algorithm is allowed, every claim is required, and there is no default secret. This is the one module that
knows PyJWT. What a role may do with its claims is left to the switchboard.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import jwt
import msgspec
from msgspec import Meta

from nexus_protocol.errors import NexusError, Unauthorized, UsageError
from nexus_protocol.settings import read_secret, write_secret
from nexus_protocol.vocabulary import Name, Role

from .claims import ALL_DESKS, Claims

ALGORITHM = "HS256"
ISSUER = AUDIENCE = "nexus-relay"
LEEWAY = 10
"""Seconds that the clocks of two machines may differ."""
DEFAULT_TTL = 24 * 3600
MAX_TTL = 3650 * 24 * 3600
MAX_TOKEN = 7_000
"""Characters: an HTTP header line longer than 8 KiB is refused before anybody reads it."""
_KEY_FILE = "relay.key"
_KEY_BYTES = 32
_REQUIRED = ["iss", "aud", "sub", "role", "desks", "exp", "iat", "nbf", "jti"]
_ASK_AGAIN = "ask for a new one: nexus-relay token"


class _Payload(msgspec.Struct, frozen=True):
    """The claims that PyJWT does not check, or not strictly."""

    sub: Name
    role: Role
    desks: Annotated[tuple[str, ...], Meta(min_length=1, max_length=64)]
    exp: Annotated[int, Meta(ge=0, le=2**40)]
    jti: str


def key_path(folder: Path) -> Path:
    return folder / _KEY_FILE


def make_key(folder: Path) -> Path:
    """Make the key that signs all tokens. Raises NexusError when there is one: replacing it would void them all."""
    path = key_path(folder)
    if path.exists():
        raise NexusError(f"{path} is already there; every token is signed with it. To void them all, delete it first")
    try:
        write_secret(path, secrets.token_hex(_KEY_BYTES).encode() + b"\n")
    except OSError as error:
        raise NexusError(f"cannot write {path}: {error.strerror}; choose a folder with --state-dir") from None
    return path


def load_key(folder: Path) -> bytes:
    """Raises UsageError when there is no usable key."""
    path = key_path(folder)
    if not path.exists():
        raise UsageError(f"no relay key in {folder}; make one: nexus-relay init")
    try:
        key = bytes.fromhex(read_secret(path).decode("ascii"))
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise UsageError(f"{path} does not hold a relay key; restore it, or delete it and run: nexus-relay init")
    return key


def mint(
    key: bytes, role: Role, subject: str, desks: Iterable[str], *, ttl: int = DEFAULT_TTL, now: float | None = None
) -> str:
    """A token for ``subject``. Raises UsageError for claims that `verify` would refuse."""
    desks = list(desks)
    if not 0 < ttl <= MAX_TTL:
        raise UsageError(f"a token cannot be valid for {ttl} s; choose between 1 second and {MAX_TTL // 86400} days")
    for name in (subject, *(desk for desk in desks if desk != ALL_DESKS)):
        if not _is_name(name):
            raise UsageError(f"{name!r} cannot be a name: letters, digits and . _ @ - only, at most 64 of them")
    issued = int(time.time() if now is None else now)
    payload: dict[str, Any] = {
        "iss": ISSUER, "aud": AUDIENCE, "sub": subject, "role": role.value, "desks": desks,
        "iat": issued, "nbf": issued, "exp": issued + ttl, "jti": secrets.token_urlsafe(12),
    }  # fmt: skip
    try:
        _claims(payload)
    except ValueError as error:
        raise UsageError(str(error)) from None
    token = jwt.encode(payload, key, algorithm=ALGORITHM)
    if len(token) > MAX_TOKEN:
        raise UsageError(f"a token of {len(token):,} characters is too long for a header; name fewer desks, or *")
    return token


def verify(key: bytes, token: str) -> Claims:
    """Raises Unauthorized, which says what is wrong and what to do, and never quotes the token."""
    try:
        claims = _claims(_decode(key, token))
    except jwt.ImmatureSignatureError:
        raise Unauthorized("token not valid yet; is the clock right on both machines?") from None
    except jwt.MissingRequiredClaimError as error:
        raise Unauthorized(f"the token lacks its claim {error.claim!r}; {_ASK_AGAIN}") from None
    except (jwt.InvalidIssuerError, jwt.InvalidAudienceError):
        raise Unauthorized(f"the token was made for something else, not for a relay; {_ASK_AGAIN}") from None
    except (jwt.InvalidSignatureError, jwt.InvalidAlgorithmError):
        raise Unauthorized(f"the token was not signed by this relay; {_ASK_AGAIN} (on this relay's host)") from None
    except jwt.PyJWTError:
        raise Unauthorized(f"this is not a relay token, or not a whole one; {_ASK_AGAIN}") from None
    except ValueError as error:
        raise Unauthorized(f"the token's claims are wrong ({error}); {_ASK_AGAIN}") from None
    if (late := time.time() - claims.expires) >= LEEWAY:
        raise Unauthorized(f"token expired {_duration(late)} ago; {_ASK_AGAIN}")
    return claims


def _decode(key: bytes, token: str) -> dict[str, Any]:
    """Everything checked but whether it has expired: `verify` does that last, to say for how long it has."""
    return jwt.decode(
        token, key, algorithms=[ALGORITHM], audience=AUDIENCE, issuer=ISSUER, leeway=LEEWAY,
        options={"require": _REQUIRED, "verify_exp": False, "strict_aud": True},
    )  # fmt: skip


def _claims(payload: dict[str, Any]) -> Claims:
    """Raises ValueError (msgspec's ValidationError is one) that names what is wrong."""
    checked = msgspec.convert(payload, _Payload)
    if checked.sub in frozenset(Role):
        raise ValueError(f"{checked.sub!r} is a role, and nobody's name: policies could not tell them apart")
    if not all(desk == ALL_DESKS or _is_name(desk) for desk in checked.desks):
        raise ValueError("a desk has a name that is none")
    if checked.role is Role.AGENT and (len(checked.desks) != 1 or ALL_DESKS in checked.desks):
        raise ValueError("an agent serves exactly one desk: give one --desk")
    return Claims(checked.sub, checked.role, checked.desks, checked.exp, checked.jti)


def _is_name(text: str) -> bool:
    try:
        msgspec.convert(text, Name)
    except msgspec.ValidationError:
        return False
    return True


def _duration(seconds: float) -> str:
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{int(seconds // unit)} {name}"
    return f"{max(int(seconds), 0)} s"
