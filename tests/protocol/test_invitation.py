"""An invitation: one line that says all, and whose secret is nowhere else."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_protocol.errors import UsageError
from nexus_protocol.fingerprint import Fingerprint
from nexus_protocol.invitation import SECRET_BYTES, Invitation, Secret, digest

SECRET = Secret(bytes(range(16)))
KEY = Fingerprint(bytes(range(200, 232)))
FOR_AGENT = Invitation("wss://relay.example", "office", SECRET)
FOR_OPERATOR = Invitation("wss://relay.example:8443/nexus", "office", SECRET, KEY)

invitations = st.builds(
    Invitation,
    st.from_regex(r"wss?://([a-z0-9.-]{1,20}|\[[0-9a-f:]{2,20}\])(:[0-9]{1,5})?(/[a-z]{1,9}){0,2}", fullmatch=True),
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", fullmatch=True),
    st.binary(min_size=SECRET_BYTES, max_size=SECRET_BYTES).map(Secret),
    st.none() | st.binary(min_size=32, max_size=32).map(Fingerprint),
)


def test_a_link_is_one_line_that_says_where_to_and_what_for() -> None:
    """As the manual shows them."""
    assert FOR_AGENT.link() == "nexus://relay.example/join/agent/office/AAECAwQFBgcICQoLDA0ODw"
    assert FOR_OPERATOR.link() == (
        "nexus://relay.example:8443/nexus/join/operator/office/"
        "yMnKy8zNzs_Q0dLT1NXW19jZ2tvc3d7f4OHi4-Tl5uc/AAECAwQFBgcICQoLDA0ODw"
    )
    assert Invitation("ws://127.0.0.1:1", "a", SECRET).link().startswith("nexus+ws://127.0.0.1:1/join/agent/a/")


@given(invitations)
def test_what_a_link_says_can_be_read(invitation: Invitation) -> None:
    """Every relay, desk, secret and key; also with the spaces of a mail around it."""
    assert Invitation.parse(invitation.link()) == invitation
    assert Invitation.parse(f" {invitation.link()}\r\n") == invitation
    assert invitation.for_agent == (invitation.agent_key is None)


@given(invitations)
def test_a_link_means_nothing_to_a_shell(invitation: Invitation) -> None:
    """Paste it unquoted; but for the brackets of an IPv6 address."""
    assert re.fullmatch(r"[A-Za-z0-9+:/._@\[\]-]+", invitation.link())


LINK, AGENTS = FOR_OPERATOR.link(), FOR_AGENT.link()
HIDDEN = LINK.rpartition("/")[2]


@pytest.mark.parametrize(
    "text",
    [
        "", "nexus://", "https://relay.example", HIDDEN, LINK[:-1], LINK + "A", LINK + "/", AGENTS[1:],
        LINK.replace("nexus:", "https:"), LINK.replace("/operator/", "/agent/"), AGENTS.replace("agent", "operator"),
        LINK.replace("office", "two words"), LINK.replace("office", "-x"), LINK.replace("office", "x" * 65),
        LINK.replace("office", ""), LINK.replace("office", "bü"), LINK.replace("/join/", "/jion/"),
        AGENTS.replace("relay.example", ""), LINK.replace("relay.example", "a b"), LINK.replace("relay.example", "a?b"),
        LINK.replace("relay.example", "a#b"), LINK.replace("relay.example", "anna:pass word@h"),
        LINK + "\n" + LINK, LINK + LINK, LINK + AGENTS,
        LINK[:-5] + "\n" + LINK[-5:], LINK[:-5] + "=" + LINK[-4:], LINK.replace("yMnK", "yM"),
        "see " + LINK, LINK.upper(), LINK.replace("nexus://", "nexus+wss://"), "\0" + LINK, "\udcff" + LINK,
    ],
)  # fmt: skip
def test_what_is_no_invitation_is_refused_and_not_quoted(text: str) -> None:
    """A slip in it is no reason to write its secret to a log; it says what to do."""
    with pytest.raises(UsageError, match=r"invitation.*paste the whole line that `invite` printed") as error:
        Invitation.parse(text)
    assert HIDDEN[:8] not in str(error.value)
    assert error.value.__cause__ is None
    assert "relay.example" not in str(error.value)


@given(st.text() | st.from_regex(r"nexus(\+ws)?://.*/join/(agent|operator)/.*"))
def test_any_text_is_an_invitation_or_a_usage_error(text: str) -> None:
    """What can be read says the same again."""
    try:
        invitation = Invitation.parse(text)
    except UsageError:
        return
    assert Invitation.parse(invitation.link()) == invitation


def test_a_long_text_is_read_at_once() -> None:
    """Whoever makes the link cannot make its reader wait."""
    for text in ("nexus://" + "/join/agent/a" * 20_000, "nexus://" + "a" * 200_000, LINK * 2_000):
        with pytest.raises(UsageError):
            Invitation.parse(text)


def test_its_secret_shows_in_the_link_only() -> None:
    """Whatever it is printed with: as itself, in the invitation, in a format, in a list."""
    raw = bytes(SECRET)
    for shown in (repr(SECRET), str(SECRET), f"{SECRET}", f"{[SECRET]} {FOR_OPERATOR} {FOR_AGENT!r}"):
        assert repr(raw)[2:-1] not in shown
        assert HIDDEN not in shown
        assert raw.hex() not in shown
    assert HIDDEN in FOR_OPERATOR.link()


def test_no_two_secrets_are_the_same() -> None:
    """128 bits of the system's."""
    assert len({Secret.new() for _ in range(100)}) == 100
    assert {len(Secret.new()) for _ in range(10)} == {SECRET_BYTES}


@given(st.binary(min_size=SECRET_BYTES, max_size=SECRET_BYTES).map(Secret))
def test_what_one_is_shown_is_nothing_to_the_other(secret: Secret) -> None:
    """The relay's proof, the agent's and the secret are three things, and what is kept of a proof is a fourth."""
    known = {bytes(secret), secret.relay_proof, secret.agent_proof}
    assert len(known) == 3
    assert {len(secret.relay_proof), len(secret.agent_proof)} == {32}
    for proof in (secret.relay_proof, secret.agent_proof):
        assert bytes(secret) not in proof
        assert re.fullmatch("[0-9a-f]{64}", digest(proof))
        assert digest(proof) != proof.hex()


def test_the_proofs_are_these() -> None:
    """Two programs of different versions have to come to the same ones."""
    assert SECRET.relay_proof.hex() == "af556163c2ebdcb04c886cc0f382e89cd0e050ae81624b697455a2abb3df8b1d"
    assert SECRET.agent_proof.hex() == "807060d2a2430ab3d2c747505e95c96c151cd7e4bd7ea85868caf4fad66a1089"
    assert digest(SECRET.relay_proof) == "01b5fa07b7eb2346843b627f4bfe0973e1a5a35feb8467e16220cf56347ef6af"
