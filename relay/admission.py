"""What the headers of a handshake must say before anybody is let in. No I/O; strangers reach all of this."""

from __future__ import annotations

import http
import re
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

from nexus_protocol.errors import NexusError
from nexus_protocol.relay_messages import INVITATION_HEADER, INVITE_PATH, JOIN_PATH, PATH, VERSION_HEADER
from nexus_protocol.vocabulary import VERSION

PATHS = frozenset({PATH, JOIN_PATH, INVITE_PATH})
_PROOF = re.compile(r"[0-9a-f]{64}")
_ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9a-f:.]+\](:[0-9]{1,5})?")


class Headers(Protocol):
    """The headers of a request; a name may stand there several times."""

    def get_all(self, key: str, /) -> list[str]: ...


class NotAdmitted(NexusError):
    """The answer to a handshake that is refused: an HTTP status, and one line for people."""

    def __init__(self, status: http.HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Shown(NamedTuple):
    """What a visitor shows: a token; on JOIN_PATH the proof of an invitation, and a token only if one is held."""

    token: str | None
    proof: bytes = b""


def read(path: str, headers: Headers, origins: frozenset[str]) -> Shown:
    """Raises NotAdmitted. Nothing that a visitor sent is quoted, except a version's number."""
    if path not in PATHS:
        raise NotAdmitted(http.HTTPStatus.NOT_FOUND, f"nothing is here; programs connect to {PATH}")
    _check_origin(headers.get_all("Origin"), origins)
    _check_version(headers.get_all(VERSION_HEADER))
    tokens = headers.get_all("Authorization")
    if path == JOIN_PATH:
        return Shown(_bearer(tokens) if tokens else None, _proof(headers.get_all(INVITATION_HEADER)))
    return Shown(_bearer(tokens))


def checked_origin(text: str) -> str:
    """An origin as a browser names it. Raises ValueError."""
    port = urlsplit(text).port
    if not _ORIGIN.fullmatch(text) or port == 0:
        raise ValueError(f"{text!r} is not an origin, such as https://console.example or http://localhost:8080")
    return text


def _check_origin(values: list[str], allowed: frozenset[str]) -> None:
    if values and (len(values) > 1 or values[0] not in allowed):
        raise NotAdmitted(
            http.HTTPStatus.FORBIDDEN,
            "this relay is not for web pages; one can be let in by its origin: nexus-relay serve --allow-origin URL",
        )


def _check_version(values: list[str]) -> None:
    if (problem := _version_problem(values)) is not None:
        raise NotAdmitted(http.HTTPStatus.UPGRADE_REQUIRED, problem)


def _version_problem(values: list[str]) -> str | None:
    if not values:
        return f"no {VERSION_HEADER} header: this is no Nexus program, or one too old for this relay; upgrade it"
    theirs = values[0].strip()
    if theirs == str(VERSION) and len(values) == 1:
        return None
    if theirs.isdecimal() and int(theirs[:9]) > VERSION:
        return f"your program speaks protocol {int(theirs[:9])}, this relay only {VERSION}: upgrade the relay"
    return f"this relay speaks protocol {VERSION}, your program an older one: upgrade your program"


def _bearer(values: list[str]) -> str:
    if not values:
        raise NotAdmitted(
            http.HTTPStatus.UNAUTHORIZED,
            "no token in an Authorization: Bearer header; make one on the relay's host: nexus-relay token",
        )
    scheme, _, token = values[0].partition(" ")
    if len(values) > 1 or scheme.lower() != "bearer" or not token.strip():
        raise NotAdmitted(
            http.HTTPStatus.UNAUTHORIZED,
            "the Authorization header is not one Bearer token; make one: nexus-relay token",
        )
    return token.strip()


def _proof(values: list[str]) -> bytes:
    if len(values) != 1 or not _PROOF.fullmatch(values[0]):
        raise NotAdmitted(
            http.HTTPStatus.BAD_REQUEST,
            f"{JOIN_PATH} wants one {INVITATION_HEADER} header: 64 hexadecimal digits; paste the whole invitation",
        )
    return bytes.fromhex(values[0])
