"""Relay tokens: what is accepted, what is refused, and what the refused are told."""

from __future__ import annotations

import hmac
import json
import string
import time
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jwt.utils import base64url_encode

from nexus_protocol.errors import Unauthorized, UsageError
from nexus_protocol.vocabulary import Role
from relay import tokens
from relay.keyring import Keyring, key_id

KEY = bytes(range(32))
KEYS = Keyring(KEY)


def payload(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    claims = {
        "iss": "nexus-relay", "aud": "nexus-relay", "sub": "bob", "role": "operator", "desks": ["office"],
        "iat": now, "nbf": now, "exp": now + 60, "jti": "one",
    } | changes  # fmt: skip
    return {name: value for name, value in claims.items() if value is not None}


def signed(*, key: bytes | str = KEY, algorithm: str = "HS256", kid: str = key_id(KEY), **changes: Any) -> str:
    """A token like the relay's own, but for what is said."""
    headers = {"typ": "nexus-relay+jwt", "kid": kid}
    return jwt.encode(payload(**changes), key, algorithm=algorithm, headers=headers)


def test_a_minted_token_is_verified_to_the_same_claims() -> None:
    """mint and verify agree on subject, role, desks and end."""
    claims = tokens.verify(KEYS, tokens.mint(KEY, Role.VIEWER, "eve", ["office", "lab"], ttl=60))
    assert (claims.subject, claims.role, claims.desks) == ("eve", Role.VIEWER, ("office", "lab"))
    assert 55 <= claims.expires - time.time() <= 60
    assert claims.reaches("lab")
    assert not claims.reaches("attic")


def test_every_token_has_an_identifier_of_its_own() -> None:
    """Two tokens for the same subject can be told apart, so that one can be revoked."""
    first, second = (tokens.verify(KEYS, tokens.mint(KEY, Role.VIEWER, "eve", ["*"])) for _ in range(2))
    assert first.token_id != second.token_id


@pytest.mark.parametrize("claim", ["iss", "aud", "sub", "role", "desks", "exp", "iat", "nbf", "jti"])
def test_a_token_without_one_of_the_claims_is_refused(claim: str) -> None:
    """All claims are required; the message names the one that is missing."""
    with pytest.raises(Unauthorized, match=claim):
        tokens.verify(KEYS, signed(**{claim: None}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"exp": int(time.time()) - 3 * 3600 - 60, "iat": int(time.time()) - 4 * 3600}, "expired 3 h ago"),
        ({"nbf": int(time.time()) + 3600}, "not valid yet"),
        ({"iat": int(time.time()) + 3600, "exp": int(time.time()) + 7200}, "not valid yet"),
        ({"aud": "another"}, "made for something else"),
        ({"aud": ["nexus-relay"]}, "made for something else"),
        ({"iss": "another"}, "made for something else"),
        ({"exp": int(time.time()) - 100, "iat": int(time.time()) - 50}, "iat and exp"),
        ({"exp": 2**40 + 1}, "exp"),
        ({"iat": -1}, "iat"),
        ({"iat": True}, "iat"),
        ({"jti": ""}, "jti"),
        ({"jti": 7}, "not a relay token|jti"),
        ({"jti": "a.b.c"}, "jti"),
        ({"role": "root"}, "role"),
        ({"role": "agent", "desks": ["a", "b"]}, "exactly one desk"),
        ({"role": "agent", "desks": ["*"]}, "exactly one desk"),
        ({"desks": "*"}, "desks"),
        ({"desks": []}, "desks"),
        ({"desks": ["of fice"]}, "desk"),
        ({"sub": "bob\n"}, "sub"),
        ({"sub": 7}, "not a relay token"),
        ({"exp": 1e300}, "exp"),
        ({"exp": "soon"}, "exp"),
    ],
)
def test_a_signed_token_with_wrong_claims_is_refused_and_told_why(changes: dict[str, Any], says: str) -> None:
    """The message names what is wrong and what to do, and never quotes the token."""
    token = signed(**changes)
    with pytest.raises(Unauthorized, match=says) as caught:
        tokens.verify(KEYS, token)
    assert token not in str(caught.value)


def test_clocks_may_differ_by_the_leeway() -> None:
    """A token that expired five seconds ago, or begins in five, is still accepted."""
    now = int(time.time())
    tokens.verify(KEYS, signed(iat=now - 60, exp=now - 5))
    tokens.verify(KEYS, signed(nbf=now + 5, iat=now + 5))
    for late_or_early in ({"iat": now - 60, "exp": now - 15}, {"nbf": now + 15}):
        with pytest.raises(Unauthorized):
            tokens.verify(KEYS, signed(**late_or_early))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "token",
    [
        signed(key=bytes(32)),
        signed(key=KEY * 2, algorithm="HS512"),
        signed(key="", algorithm="none"),
        signed(key="", algorithm="none").rstrip(".") + "." + signed().rpartition(".")[2],
        signed(key=bytes(32), kid=key_id(bytes(32))),
        signed(kid="another"),
    ],
    ids=["swapped key", "HS512", "none", "none with a signature", "key and kid of another relay", "unknown kid"],
)
def test_another_key_and_another_algorithm_are_refused(token: str) -> None:
    """HS256 with this relay's key, and nothing else."""
    with pytest.raises(Unauthorized, match="not signed by this relay"):
        tokens.verify(KEYS, token)


@pytest.mark.parametrize(
    "headers",
    [
        {"typ": "JWT"},
        {"typ": None},
        {"typ": "at+jwt"},
        {"kid": None},
        {"kid": "k" * 65},
        {"jku": "https://relay.example/keys"},
        {"jwk": {"kty": "oct", "k": "AAAA"}},
        {"x5u": "https://relay.example/chain"},
        {"crit": ["exp"], "exp": 1},
        {"zip": "DEF"},
    ],
    ids=str,
)
def test_a_token_with_other_headers_than_the_relays_is_refused(headers: dict[str, Any]) -> None:
    """Its type and its key's name are required; no header that names a key, or asks for anything else, is obeyed."""
    head = {"alg": "HS256", "typ": "nexus-relay+jwt", "kid": key_id(KEY)} | headers
    head = {name: value for name, value in head.items() if value is not None}
    parts = [base64url_encode(json.dumps(part).encode()) for part in (head, payload())]
    body = b".".join(parts)
    token = b".".join([body, base64url_encode(hmac.digest(KEY, body, "sha256"))]).decode()
    with pytest.raises(Unauthorized, match="not a relay token"):
        tokens.verify(KEYS, token)


def test_no_character_of_a_token_can_be_changed() -> None:
    """Cut short, longer, or with any one of its characters another one, it is refused."""
    token = signed()
    letters = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
    changed = [
        token[:place] + letters[(letters.find(letter) + 32) % 64] + token[place + 1 :]
        for place, letter in enumerate(token)
    ]
    for other in (*changed, token[:-1], token + "A", token + "=", token + "\n", "." + token):
        with pytest.raises(Unauthorized):
            tokens.verify(KEYS, other)


def test_the_key_before_verifies_until_its_time_is_over() -> None:
    """And never signs: a token names the key that signed it."""
    keys = Keyring(bytes(32), KEY, before_until=1_000_100)
    token = tokens.mint(KEY, Role.VIEWER, "eve", ["*"], now=1_000_000)
    assert tokens.verify(keys, token, now=1_000_099).key_id == key_id(KEY)
    with pytest.raises(Unauthorized, match="with a key it no longer takes"):
        tokens.verify(keys, token, now=1_000_100)


@given(st.one_of(st.text(max_size=200), st.integers(0, 3000).map(lambda n: "W1tb" * n + ".e30.AAAA")))
def test_no_text_makes_verify_fail_in_another_way(text: str) -> None:
    """Whatever stands in the header, deep nesting included, is refused as Unauthorized."""
    with pytest.raises(Unauthorized):
        tokens.verify(KEYS, text)


def test_mint_refuses_what_verify_would() -> None:
    """Bad names, a role's word for a name, a desk for an agent left open, and absurd lifetimes are usage errors."""
    for role, subject, desks, ttl in (
        (Role.OPERATOR, "two words", ["*"], 60),
        (Role.AUTOMATION, "operator", ["*"], 60),
        (Role.OPERATOR, "bob", ["../etc"], 60),
        (Role.OPERATOR, "bob", [], 60),
        (Role.AGENT, "bob", ["*"], 60),
        (Role.AGENT, "bob", ["a", "b"], 60),
        (Role.OPERATOR, "bob", ["*"], 0),
        (Role.OPERATOR, "bob", ["*"], 10**12),
    ):
        with pytest.raises(UsageError):
            tokens.mint(KEY, role, subject, desks, ttl=ttl)
