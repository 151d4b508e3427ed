"""The handshake: who is let in, what the others read, and that none of it tells a secret to a log."""

from __future__ import annotations

import asyncio
import contextlib
import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_protocol.errors import ProtocolError, Unauthorized
from nexus_protocol.invitation import digest
from nexus_protocol.joining import redeem
from nexus_protocol.relay_messages import (
    INVITATION_HEADER,
    INVITE_PATH,
    JOIN_PATH,
    MAX_PAYLOAD,
    PATH,
    VERSION_HEADER,
    Welcome,
    to_invite,
    to_relay,
    unpack_frame,
)
from nexus_protocol.vocabulary import VERSION, Role
from relay import admission, server
from relay.admission import NotAdmitted, checked_origin
from relay.claims import Claims
from relay.issuer import Issuer
from relay.server import RelayServer
from relay.switchboard import Switchboard

from .conftest import DEADLINE, Dial, Log, exchange, get, port_of

PATHS = [PATH, JOIN_PATH, INVITE_PATH]
PAGE = "https://console.example"


class Headers:
    """Headers as a stranger sends them: names and values, some several times."""

    def __init__(self, *pairs: tuple[str, str]) -> None:
        self._pairs = pairs

    def get_all(self, key: str, /) -> list[str]:
        return [value for name, value in self._pairs if name.lower() == key.lower()]


def bearer(issuer: Issuer, role: Role = Role.OPERATOR) -> str:
    return f"Bearer {issuer.mint(role, 'peer', ['office'])}"


@pytest.fixture
def proof(issuer: Issuer) -> str:
    """Of an invitation that is good."""
    proof = secrets.token_bytes(32)
    issuer.invite(digest(proof), Role.OPERATOR, "bob", "office", 900)
    return proof.hex()


# ---- Web pages


@pytest.mark.parametrize("path", PATHS)
async def test_web_pages_are_refused_unless_listed(issuer: Issuer, proof: str, path: str) -> None:
    """403 on every path, whatever else they show, and the answer says how a page is listed."""
    shown = {"Authorization": bearer(issuer, Role.AGENT)} if path != JOIN_PATH else {INVITATION_HEADER: proof}
    async with RelayServer(issuer, "127.0.0.1", 0, origins=frozenset({PAGE})) as relay:
        for origin in ("http://console.example", PAGE + ":8443", PAGE + ".evil.example", "null", "*", PAGE + "/"):
            status, _, body = await get(relay, path, Origin=origin, **shown)
            assert (status, "--allow-origin" in body) == (403, True), origin
        assert (await upgraded(relay, path, Origin=PAGE, **shown)) == 101


async def upgraded(relay: RelayServer, path: str, **headers: str) -> int:
    """The status of one handshake, whose socket is then dropped."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(relay))
    lines = {
        "Host": "relay", "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", VERSION_HEADER: str(VERSION),
    } | headers  # fmt: skip
    writer.write((f"GET {path} HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in lines.items()) + "\r\n").encode())
    try:
        async with asyncio.timeout(DEADLINE):
            return int((await reader.readline()).split()[1])
    finally:
        writer.transport.abort()


@pytest.mark.parametrize(
    "text", ["*", "null", "console.example", "https://", "https://a/b", "https://a:0", "https://a:99999", "ftp://a", ""]
)
def test_what_is_no_origin_cannot_be_listed(text: str) -> None:
    """Neither can everybody."""
    with pytest.raises(ValueError, match=r"origin|Port"):
        checked_origin(text)
    assert checked_origin("http://localhost:8080") == "http://localhost:8080"
    assert checked_origin("https://[::1]") == "https://[::1]"


# ---- What strangers send


@pytest.mark.parametrize("value", ["", "00", "0" * 63, "0" * 65, "G" * 64, "AB" * 32, "é" * 64, " ".join("0" * 64)])
async def test_a_malformed_proof_is_told_what_a_proof_is(relay: RelayServer, proof: str, value: str) -> None:
    """400, without a word of what was sent; the good one is still good afterwards."""
    status, _, body = await get(relay, JOIN_PATH, **{INVITATION_HEADER: value})
    assert (status, "64 hexadecimal digits" in body) == (400, True)
    await redeem(relay.addresses[0], bytes.fromhex(proof))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", ["Authorization", INVITATION_HEADER, VERSION_HEADER, "Origin"])
def test_a_header_that_stands_there_twice_is_refused(path: str, name: str) -> None:
    """Even with the same value: somebody in between might have read the other one."""
    good = [("Authorization", "Bearer a.b.c"), (VERSION_HEADER, str(VERSION))]
    if path == JOIN_PATH:
        good.append((INVITATION_HEADER, "0" * 64))
    admission.read(path, Headers(*good), frozenset({PAGE}))
    values = dict(good) | {"Origin": PAGE}
    if name in values:
        with pytest.raises(NotAdmitted):
            admission.read(path, Headers(*good, *[(name, values[name])] * 2), frozenset({PAGE}))


@pytest.mark.parametrize(("path", "status"), [(PATH, 401), (INVITE_PATH, 401), (JOIN_PATH, 400)])
async def test_whoever_shows_nothing_is_told_what_is_missing(relay: RelayServer, path: str, status: int) -> None:
    """A token, or an invitation."""
    assert (await get(relay, path))[0] == status


@pytest.mark.parametrize("path", PATHS)
async def test_another_version_is_refused_before_anything_is_looked_at(
    relay: RelayServer, proof: str, path: str
) -> None:
    """426 on every path, and an invitation is not used up by it."""
    status, _, _ = await get(relay, path, **{VERSION_HEADER: str(VERSION - 1), INVITATION_HEADER: proof})
    assert status == 426
    await redeem(relay.addresses[0], bytes.fromhex(proof))


@pytest.mark.parametrize("path", PATHS)
async def test_a_handshake_that_takes_too_long_is_hung_up_on(
    issuer: Issuer, path: str, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    """A header now and then does not keep a connection; others are served meanwhile."""
    monkeypatch.setattr(server, "OPEN_TIMEOUT", 0.3)
    async with RelayServer(issuer, "127.0.0.1", 0) as relay:
        assert await exchange(relay, f"GET {path} HTTP/1.1\r\nHost: relay\r\n".encode()) == b""
        assert (await get(relay, "/healthz"))[0] == 200
    assert not log.errors()


async def test_an_agent_that_says_no_invitation_in_time_is_closed(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And finds out why."""
    monkeypatch.setattr(server, "OPEN_TIMEOUT", 0.3)
    async with RelayServer(issuer, "127.0.0.1", 0) as relay:
        lines = {
            "Host": "relay", "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", VERSION_HEADER: str(VERSION),
            "Authorization": bearer(issuer, Role.AGENT),
        }  # fmt: skip
        request = f"GET {INVITE_PATH} HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in lines.items()) + "\r\n"
        assert b"no invitation came" in await exchange(relay, request.encode())


# ---- Logs


async def test_no_secret_is_ever_logged_and_each_refusal_once(
    relay: RelayServer, issuer: Issuer, dial: Dial, proof: str, log: Log
) -> None:
    """Tokens that are good, expired, revoked or damaged, proofs good, used and wrong: at the most talkative level."""
    good, revoked = (issuer.mint(Role.OPERATOR, "ada", ["*"]) for _ in range(2))
    issuer.revoke(issuer.verify(revoked).token_id)
    expired = issuer.mint(Role.OPERATOR, "ada", ["*"], ttl=60, now=1_000_000)
    secret = [good, revoked, expired, good[:-6] + "AAAAAA", proof, "f" * 64, "0" * 63]
    answers = ""
    refused = 0
    for path in PATHS:
        for token in secret[1:4]:
            answers += str(await get(relay, path, Authorization=f"Bearer {token}", **{INVITATION_HEADER: "f" * 64}))
            refused += 1
    for wrong in ("f" * 64, "0" * 63):
        answers += str(await get(relay, JOIN_PATH, **{INVITATION_HEADER: wrong}))
        refused += 1
    joined = await redeem(relay.addresses[0], bytes.fromhex(proof))
    with pytest.raises(Unauthorized) as again:
        await redeem(relay.addresses[0], bytes.fromhex(proof))
    bob = await dial(relay, Role.OPERATOR, token=joined.token)
    await bob.expect(Welcome)
    await bob.socket.send("not json, and a token: " + good)
    await bob.closed()
    said = answers + str(again.value) + str(bob.socket.close_reason) + repr(log.lines)
    assert "ada" not in answers
    for text in (*secret, joined.token):
        for part in text.split("."):
            assert part not in said or part == good.split(".")[0], "only the header, which all tokens share"
    assert len([line for line in log.lines if line["event"] == "refused"]) == refused + 1


# ---- Every decoder that a stranger reaches


@pytest.fixture(scope="module")
def issuers(tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    """One for all examples."""
    return Issuer.create(tmp_path_factory.mktemp("relay"))


NAMES = st.sampled_from(["Authorization", INVITATION_HEADER, VERSION_HEADER, "Origin"])
VALUES = st.one_of(
    st.text(max_size=80),
    st.sampled_from([str(VERSION), "Bearer a.b.c", "Bearer ", "bearer  x", "0" * 64, PAGE, "²", "9" * 5000]),
)


@given(st.one_of(st.sampled_from(PATHS), st.text(max_size=20)), st.lists(st.tuples(NAMES, VALUES), max_size=6))
def test_no_headers_fail_in_another_way(path: str, pairs: list[tuple[str, str]]) -> None:
    """Whatever stands there, a stranger is let through to the next check, or refused in one line that can be sent."""
    refusal: NotAdmitted | None = None
    try:
        shown = admission.read(path, Headers(*pairs), frozenset({PAGE}))
    except NotAdmitted as error:
        refusal = error
    if refusal is None:
        assert shown.token or len(shown.proof) == 32
    else:
        assert 400 <= refusal.status < 500
        assert str(refusal).isprintable()
        assert len(str(refusal)) < 300


@given(st.text(max_size=300))
def test_no_token_fails_in_another_way(issuers: Issuer, text: str) -> None:
    """Unauthorized, in one printable line."""
    with pytest.raises(Unauthorized) as caught:
        issuers.verify(text)
    assert str(caught.value).isprintable()


MANGLED = st.one_of(
    st.binary(max_size=300),
    st.sampled_from([
        b'{"type":"open","ref":1,"desk":"office"}', b'{"type":"close","link":1}',
        b'{"type":"invite","digest":"' + b"0" * 64 + b'","subject":"bob","role":"viewer","seconds":60}',
    ]).flatmap(lambda good: st.builds(
        lambda at, new: good[:at] + new + good[at + len(new):], st.integers(0, len(good)), st.binary(max_size=4),
    )),
)  # fmt: skip


@given(MANGLED)
def test_no_bytes_make_a_decoder_fail_in_another_way(data: bytes) -> None:
    """A message, or ProtocolError."""
    for decode in (to_relay.decode, to_invite.decode, unpack_frame):
        with contextlib.suppress(ProtocolError):
            decode(data)


@given(st.one_of(MANGLED, st.text(max_size=200), st.just(bytes(MAX_PAYLOAD + 5))))
def test_nothing_that_a_peer_says_fails_in_another_way(said: bytes | str) -> None:
    """It is done, or ends that peer with a code and a reason."""
    board = Switchboard()
    peer = board.join(Claims("bob", Role.OPERATOR, ("*",), 0, 2**40, "t"))
    board.receive(peer, said)
    if peer.ending is not None:
        assert peer.ending.code == 4004
        assert peer.ending.reason
