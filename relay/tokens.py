"""Relay tokens: JWTs by RFC 8725, from claims and a key to text and back. This is the one module that knows PyJWT.

One algorithm is allowed, every claim and every header is required, no other header is read, and there is no default
secret. What is kept about tokens is the issuer's; what a role may do with its claims is left to the switchboard.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import jwt
import msgspec
from msgspec import Meta

from nexus_protocol.errors import Unauthorized, UsageError
from nexus_protocol.vocabulary import Name, Role

from .claims import ALL_DESKS, DEFAULT_TTL, LEEWAY, MAX_TTL, Claims
from .keyring import Keyring, key_id

ALGORITHM = "HS256"
TYPE = "nexus-relay+jwt"
"""Says what kind of token it is, so that none made for something else passes for one (RFC 8725, 3.11)."""
ISSUER = AUDIENCE = "nexus-relay"
MAX_TOKEN = 7_000
"""Characters: an HTTP header line longer than 8 KiB is refused before anybody reads it."""
_REQUIRED = ["iss", "aud", "sub", "role", "desks", "exp", "iat", "nbf", "jti"]
_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_ASK_AGAIN = "ask for a new one: nexus-relay token"

TokenId = Annotated[str, Meta(max_length=64, pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)?\Z")]
_Time = Annotated[int, Meta(ge=0, le=2**40)]


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    alg: str
    typ: Literal["nexus-relay+jwt"]
    kid: Annotated[str, Meta(max_length=64)]


class _Payload(msgspec.Struct, frozen=True):
    """The claims that PyJWT does not check, or not strictly."""

    sub: Name
    role: Role
    desks: Annotated[tuple[str, ...], Meta(min_length=1, max_length=64)]
    iat: _Time
    nbf: _Time
    exp: _Time
    jti: TokenId


def new_id() -> str:
    """Another one each time, easy to copy and to type."""
    return secrets.token_hex(8)


def checked_id(text: str) -> str:
    """A token's identifier as a person gave it. Raises UsageError, which does not quote it: it may be a whole token."""
    try:
        return msgspec.convert(text, TokenId)
    except msgspec.ValidationError:
        raise UsageError("that is not a token's jti; nexus-relay tokens lists them") from None


def checked_name(text: str) -> str:
    """Raises UsageError for what cannot be the name of a subject or a desk."""
    try:
        return msgspec.convert(text, Name)
    except msgspec.ValidationError:
        raise UsageError(f"{text!r} cannot be a name: letters, digits and . _ @ - only, at most 64 of them") from None


def new_claims(role: Role, subject: str, desks: Iterable[str], *, ttl: int, now: float, family: str = "") -> Claims:
    """The claims of a new token, valid from now on. Raises UsageError for what `verify` would refuse."""
    desks = tuple(desks)
    if not 0 < ttl <= MAX_TTL:
        raise UsageError(f"a token cannot be valid for {ttl} s; choose between 1 second and {MAX_TTL // 86400} days")
    for name in (subject, *(desk for desk in desks if desk != ALL_DESKS)):
        checked_name(name)
    token_id = f"{family}.{new_id()}" if family else new_id()
    try:
        return _checked(_payload(Claims(subject, role, desks, int(now), int(now) + ttl, token_id)))
    except ValueError as error:
        raise UsageError(str(error)) from None


def sign(key: bytes, claims: Claims) -> str:
    """Raises UsageError for claims that do not fit into a token."""
    headers = {"typ": TYPE, "kid": key_id(key)}
    token = jwt.encode(_payload(claims), key, algorithm=ALGORITHM, headers=headers)
    if len(token) > MAX_TOKEN:
        raise UsageError(f"a token of {len(token):,} characters is too long for a header; name fewer desks, or *")
    return token


def mint(
    key: bytes, role: Role, subject: str, desks: Iterable[str], *, ttl: int = DEFAULT_TTL, now: float | None = None
) -> str:
    """A token that nobody keeps a record of. Raises UsageError for claims that `verify` would refuse."""
    return sign(key, new_claims(role, subject, desks, ttl=ttl, now=time.time() if now is None else now))


def verify(keys: Keyring, token: str, *, now: float | None = None) -> Claims:
    """Raises Unauthorized, which says what is wrong and what to do, and never quotes the token."""
    now = time.time() if now is None else now
    try:
        claims = _decode(keys, token, now)
    except jwt.ImmatureSignatureError:
        raise Unauthorized("token not valid yet; is the clock right on both machines?") from None
    except jwt.MissingRequiredClaimError as error:
        raise Unauthorized(f"the token lacks its claim {error.claim!r}; {_ASK_AGAIN}") from None
    except (jwt.InvalidIssuerError, jwt.InvalidAudienceError):
        raise Unauthorized(f"the token was made for something else, not for a relay; {_ASK_AGAIN}") from None
    except (jwt.InvalidSignatureError, jwt.InvalidAlgorithmError):
        raise Unauthorized(
            f"the token was not signed by this relay, or with a key it no longer takes; {_ASK_AGAIN} on its host"
        ) from None
    except (jwt.PyJWTError, RecursionError):
        raise Unauthorized(f"this is not a relay token, or not a whole one; {_ASK_AGAIN}") from None
    except ValueError as error:
        raise Unauthorized(f"the token's claims are wrong ({error}); {_ASK_AGAIN}") from None
    if (late := now - claims.expires) >= LEEWAY:
        raise Unauthorized(f"token expired {_duration(late)} ago; {_ASK_AGAIN}")
    return claims


def _decode(keys: Keyring, token: str, now: float) -> Claims:
    """Everything checked but whether it has expired: `verify` does that last, to say for how long it has.

    Raises PyJWT's errors, and ValueError.
    """
    if not _TOKEN.fullmatch(token):
        raise jwt.DecodeError
    header = jwt.get_unverified_header(token)
    if header.get("alg") != ALGORITHM:
        raise jwt.InvalidAlgorithmError
    try:
        kid = msgspec.convert(header, _Header).kid
    except msgspec.ValidationError:
        raise jwt.DecodeError from None
    key = keys.find(kid, now)
    if key is None:
        raise jwt.InvalidSignatureError
    payload = jwt.decode(
        token, key, algorithms=[ALGORITHM], audience=AUDIENCE, issuer=ISSUER,
        options={
            "require": _REQUIRED, "strict_aud": True,
            "verify_exp": False, "verify_nbf": False, "verify_iat": False,  # `verify` does, by one clock
        },
    )  # fmt: skip
    claims = _checked(payload, kid)
    if max(payload["iat"], payload["nbf"]) > now + LEEWAY:
        raise jwt.ImmatureSignatureError
    return claims


def _payload(claims: Claims) -> dict[str, Any]:
    return {
        "iss": ISSUER, "aud": AUDIENCE, "sub": claims.subject, "role": claims.role.value, "desks": list(claims.desks),
        "iat": claims.issued, "nbf": claims.issued, "exp": claims.expires, "jti": claims.token_id,
    }  # fmt: skip


def _checked(payload: dict[str, Any], kid: str = "") -> Claims:
    """Raises ValueError (msgspec's ValidationError is one) that names what is wrong."""
    checked = msgspec.convert(payload, _Payload)
    if checked.sub in frozenset(Role):
        raise ValueError(f"{checked.sub!r} is a role, and nobody's name: policies could not tell them apart")
    if not all(desk == ALL_DESKS or _is_name(desk) for desk in checked.desks):
        raise ValueError("a desk has a name that is none")
    if checked.role is Role.AGENT and (len(checked.desks) != 1 or ALL_DESKS in checked.desks):
        raise ValueError("an agent serves exactly one desk: give one --desk")
    if not 0 < checked.exp - checked.iat <= MAX_TTL:
        raise ValueError("iat and exp contradict each other")
    return Claims(checked.sub, checked.role, checked.desks, checked.iat, checked.exp, checked.jti, kid)


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
