"""Relay tokens: what is accepted, what is refused, and what the refused are told."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_protocol.errors import NexusError, Unauthorized, UsageError
from nexus_protocol.vocabulary import Role
from relay import tokens

KEY = bytes(range(32))


def payload(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    claims = {
        "iss": "nexus-relay", "aud": "nexus-relay", "sub": "bob", "role": "operator", "desks": ["office"],
        "iat": now, "nbf": now, "exp": now + 60, "jti": "one",
    } | changes  # fmt: skip
    return {name: value for name, value in claims.items() if value is not None}


def signed(**changes: Any) -> str:
    return jwt.encode(payload(**changes), KEY, algorithm="HS256")


def test_a_minted_token_is_verified_to_the_same_claims() -> None:
    """mint and verify agree on subject, role, desks and end."""
    claims = tokens.verify(KEY, tokens.mint(KEY, Role.VIEWER, "eve", ["office", "lab"], ttl=60))
    assert (claims.subject, claims.role, claims.desks) == ("eve", Role.VIEWER, ("office", "lab"))
    assert 55 <= claims.expires - time.time() <= 60
    assert claims.reaches("lab")
    assert not claims.reaches("attic")


def test_every_token_has_an_identifier_of_its_own() -> None:
    """Two tokens for the same subject can be told apart, so that one can be revoked."""
    first, second = (tokens.verify(KEY, tokens.mint(KEY, Role.VIEWER, "eve", ["*"])) for _ in range(2))
    assert first.token_id != second.token_id


@pytest.mark.parametrize("claim", ["iss", "aud", "sub", "role", "desks", "exp", "iat", "nbf", "jti"])
def test_a_token_without_one_of_the_claims_is_refused(claim: str) -> None:
    """All claims are required; the message names the one that is missing."""
    with pytest.raises(Unauthorized, match=claim):
        tokens.verify(KEY, signed(**{claim: None}))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"exp": int(time.time()) - 3 * 3600 - 60}, "expired 3 h ago"),
        ({"nbf": int(time.time()) + 3600}, "not valid yet"),
        ({"iat": int(time.time()) + 3600}, "not valid yet"),
        ({"aud": "another"}, "made for something else"),
        ({"aud": ["nexus-relay"]}, "made for something else"),
        ({"iss": "another"}, "made for something else"),
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
        tokens.verify(KEY, token)
    assert token not in str(caught.value)


def test_clocks_may_differ_by_the_leeway() -> None:
    """A token that expired five seconds ago, or begins in five, is still accepted."""
    now = int(time.time())
    tokens.verify(KEY, signed(exp=now - 5))
    tokens.verify(KEY, signed(nbf=now + 5, iat=now + 5))
    for late_or_early in ({"exp": now - 15}, {"nbf": now + 15}):
        with pytest.raises(Unauthorized):
            tokens.verify(KEY, signed(**late_or_early))


def test_another_key_and_another_algorithm_are_refused() -> None:
    """HS256 with this relay's key, and nothing else: not `none`, not HS512."""
    for token in (
        jwt.encode(payload(), bytes(32), algorithm="HS256"),
        jwt.encode(payload(), KEY * 2, algorithm="HS512"),
        jwt.encode(payload(), "", algorithm="none"),
    ):
        with pytest.raises(Unauthorized, match="not signed by this relay"):
            tokens.verify(KEY, token)


@given(st.one_of(st.text(max_size=200), st.integers(0, 3000).map(lambda n: "W1tb" * n + ".e30.AAAA")))
def test_no_text_makes_verify_fail_in_another_way(text: str) -> None:
    """Whatever stands in the header, deep nesting included, is refused as Unauthorized."""
    with pytest.raises(Unauthorized):
        tokens.verify(KEY, text)


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


def test_the_key_is_private_and_never_replaced(tmp_path: Path) -> None:
    """The key file has mode 0600; making it a second time is an error, and the key stays."""
    path = tokens.make_key(tmp_path)
    key = tokens.load_key(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(key) == 32
    with pytest.raises(NexusError, match="already there"):
        tokens.make_key(tmp_path)
    assert tokens.load_key(tmp_path) == key


def test_a_missing_open_or_broken_key_is_a_clear_error(tmp_path: Path) -> None:
    """It names the command that makes a key, the mode to set, or the file that is broken."""
    with pytest.raises(UsageError, match="nexus-relay init"):
        tokens.load_key(tmp_path)
    path = tokens.make_key(tmp_path)
    path.chmod(0o644)
    with pytest.raises(UsageError, match="chmod 600"):
        tokens.load_key(tmp_path)
    path.chmod(0o600)
    for broken in (b"", b"\xff\xfe", b"abcd", b"zz" * 32):
        path.write_bytes(broken)
        with pytest.raises(UsageError, match="does not hold a relay key"):
            tokens.load_key(tmp_path)
