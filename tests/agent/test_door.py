"""Who comes in: by a known key, by an invitation, by knocking; and who is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from nexus_agent.permissions.policy import Policy
from nexus_protocol.actions import Admission, Click, Key
from nexus_protocol.identity import Identity
from nexus_protocol.invitation import Secret
from nexus_protocol.messages import ActionReport, Bye, Held, Hello, RequestClosed, RequestOpened, Welcome
from nexus_protocol.vocabulary import ActionState, RequestState, Role

from .conftest import Console, Lines, Office, OpenOffice, Wire, fragment

FUTURE = 2**40
MALLORY = Identity.new()


def names(office: Office) -> list[str]:
    return [known.name for known in office.operators.all()]


def invite(office: Office, name: str, role: Role = Role.OPERATOR, approver: bool = False, until: int = FUTURE) -> bytes:
    """The proof that whoever was invited will show."""
    proof = Secret.new().agent_proof
    office.operators.invite(name, role, proof, approver=approver, expires=until, by="anna@desk")
    return proof


async def enter(office: Office, key: Identity, name: str, role: Role = Role.OPERATOR, proof: bytes = b"") -> Welcome:
    """What whoever holds the key is greeted with; ``name`` and ``role`` are the relay's."""
    console = office.arrive(name, role, key)
    console.link.send(Hello(invitation=proof))
    return await console.next(Welcome)


async def knock(office: Office, name: str, key: Identity, role: Role = Role.OPERATOR) -> Console:
    """Somebody whose key is not known, and who was told to wait."""
    console = office.arrive(name, role, key)
    console.link.send(Hello())
    await console.next(Held)
    return console


# -- keys that are not known


async def test_an_unknown_key_is_refused_with_the_command_that_helps(office: Office) -> None:
    """And with its fingerprint, so that the desk's person can be told it."""
    bye = await office.arrive("mallory", Role.OPERATOR, MALLORY).refusal()
    assert bye.code == "unknown"
    assert str(MALLORY.fingerprint) in bye.reason
    assert bye.reason.endswith("nexus-agent invite --name mallory")
    assert names(office) == []


@pytest.mark.parametrize("asks", [False, True])
async def test_the_relays_name_does_not_help_a_foreign_key(open_office: OpenOffice, log: Lines, asks: bool) -> None:
    """Who is called as somebody known is refused loudly, nobody is asked about it, and it is logged once."""
    office = open_office(Policy(), asks=asks)
    alice = await office.welcome()
    bye = await office.arrive("alice", Role.OPERATOR, MALLORY).refusal()
    assert (bye.code, "alice is known here by another key" in bye.reason) == ("unknown", True)
    await alice.settle()
    assert alice.of(RequestOpened) == []
    (warning,) = (line for line in log if line["log_level"] != "info")
    assert warning == {
        "event": "another key than the one known", "who": "alice", "key": str(MALLORY.fingerprint),
        "log_level": "warning",
    }  # fmt: skip
    assert names(office) == ["alice"]


async def test_a_known_key_comes_in_whatever_the_relay_calls_it(office: Office) -> None:
    """It has the name that it has here, also when the relay gives it somebody else's."""
    office.key("bob", Role.OPERATOR)
    for name in ("mallory", "bob"):
        assert (await enter(office, office.key("alice", Role.OPERATOR), name)).subject == "alice"


async def test_two_operators_are_two_whatever_the_relay_calls_them(office: Office) -> None:
    """One cannot answer for the other, or get its results."""
    alice, bob = (office.arrive("eve", Role.OPERATOR, office.key(who, Role.OPERATOR)) for who in ("alice", "bob"))
    for console in (alice, bob):
        console.link.send(Hello())
        await console.next(Welcome)
    assert (await alice.do("action-1", Key(chord="a"))).state is ActionState.DONE
    assert (await bob.do("action-1", Click(x=5, y=6))).state is ActionState.DONE
    assert {(report.who, report.kind) for report in bob.of(ActionReport)} == {("alice", "key"), ("bob", "click")}


async def test_a_list_that_cannot_be_used_lets_nobody_in(office: Office, log: Lines) -> None:
    """Whoever comes is told whose business it is, the log what is wrong."""
    console = office.connect()
    path = office.operators._known.path
    path.chmod(0o666)
    bye = await console.refusal()
    assert bye.code == "unready"
    assert "its person has to mend it" in bye.reason
    assert str(path) not in bye.reason
    assert any("chmod 600" in line["reason"] for line in log if line["log_level"] == "error")


# -- what a stranger may say


@pytest.mark.parametrize(
    ("say", "code"),
    [
        (lambda stranger: stranger.act("action-1", Click(x=1, y=1)), "malformed"),
        (lambda stranger: stranger.utter(fragment(b"\xc1")), "malformed"),
        (lambda stranger: stranger.utter(fragment(b"", first=0x85)), "malformed"),
        (lambda stranger: stranger.utter(fragment(bytes(1_025))), "too-large"),
        (lambda stranger: stranger.utter(fragment(bytes(4_096), first=0)), "too-large"),
        (lambda stranger: [stranger.utter(b"\0\0\0\0" * 512) for _ in range(3)], "too-large"),
    ],
    ids=["an action", "no message", "no lane", "a long message", "a message without end", "empty fragments"],
)
async def test_a_stranger_may_say_hello_and_nothing_else(
    office: Office, log: Lines, say: Callable[[Console], object], code: str
) -> None:
    """Anything else ends the link, with a reason that has a name, and is one line in the log."""
    stranger = office.arrive("mallory", Role.OPERATOR, MALLORY)
    await stranger.link.secured()
    say(stranger)
    assert str(await stranger.end()) == code
    await stranger.left()
    assert [(line["event"], line["code"], line["log_level"]) for line in log] == [("link ended", code, "info")]
    assert (stranger.heard, office.desk.clicks) == ([], [])


async def test_a_stranger_who_waits_has_said_what_there_is_to_say(open_office: OpenOffice) -> None:
    """It decides nothing, least of all about itself, and what it says too much of ends its link."""
    office = open_office(Policy(), asks=True)
    alice, stranger = await office.welcome(), await knock(office, "bob", MALLORY)
    opened = await alice.next(RequestOpened)
    stranger.decide(opened, approve=True)
    await alice.settle()
    assert len(office.agent.runner.pending()) == 1
    stranger.act("action-1", Key(chord="a" * 5_000))
    assert str(await stranger.end()) == "too-large"
    assert (await alice.next(RequestClosed)).state is RequestState.WITHDRAWN
    assert names(office) == ["alice"]


# -- invitations


async def test_an_invitation_lets_in_once_and_is_remembered(office: Office, log: Lines) -> None:
    """As what was invited, whatever the relay says; afterwards the key alone is enough."""
    proof, bob = invite(office, "bob", Role.VIEWER, approver=True), Identity.new()
    welcome = await enter(office, bob, "guest", proof=proof)
    assert (welcome.subject, welcome.role, welcome.may_decide) == ("bob", Role.VIEWER, True)
    assert (await enter(office, bob, "guest")).subject == "bob"
    bye = await office.arrive("bob", Role.OPERATOR, MALLORY).refusal(Hello(invitation=proof))
    assert bye.code == "invitation"
    assert "it was used, has expired, or was never made" in bye.reason
    assert [(known.name, known.by) for known in office.operators.all()] == [("bob", "invitation of anna@desk")]
    assert proof.hex() not in repr(log)
    assert repr(proof) not in repr(log)


async def test_an_invitation_travels_sealed(office: Office) -> None:
    """Whoever carries it, the relay first of all, could otherwise come in by it."""
    proof, carried = invite(office, "bob"), list[bytes]()

    def carry(payload: bytes) -> list[bytes]:
        carried.append(payload)
        return [payload]

    wire = Wire()
    wire.carry = carry
    bob = office.arrive("bob", Role.OPERATOR, Identity.new(), wire)
    bob.link.send(Hello(invitation=proof))
    await bob.next(Welcome)
    assert len(carried) > 1
    assert proof not in b"".join(carried)


@pytest.mark.parametrize("asks", [False, True])
async def test_an_invitation_that_is_no_good_opens_nothing(open_office: OpenOffice, asks: bool) -> None:
    """One that has expired, one that never was; and it is no knock either."""
    office = open_office(Policy(), asks=asks)
    alice = await office.welcome()
    for proof in (invite(office, "bob", until=1), bytes(32), b"x"):
        assert (
            await office.arrive("bob", Role.OPERATOR, MALLORY).refusal(Hello(invitation=proof))
        ).code == "invitation"
    await alice.settle()
    assert (alice.of(RequestOpened), names(office)) == ([], ["alice"])


async def test_whoever_is_known_already_comes_in_with_a_used_invitation(office: Office) -> None:
    """A console that repeats its first greeting is let in by its key; a new invitation gives new rights."""
    key = office.key("alice", Role.VIEWER)
    assert (await enter(office, key, "alice", proof=bytes(32))).role is Role.VIEWER
    assert (await enter(office, key, "alice", proof=invite(office, "alice"))).role is Role.OPERATOR
    assert names(office) == ["alice"]


# -- knocking


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.VIEWER, Role.AUTOMATION])
async def test_an_approver_lets_a_stranger_in(open_office: OpenOffice, role: Role) -> None:
    """Who sees the fingerprint; the key is remembered, and by whose approval. To decide takes an invitation."""
    office, key = open_office(Policy(), asks=True), Identity.new()
    alice, eve = await office.welcome(), await office.welcome("eve", Role.VIEWER)
    bob = await knock(office, "bob", key, role)
    assert bob.of(Held)[0].seconds == Policy().timeout
    opened = await alice.next(RequestOpened)
    assert (opened.who, opened.role) == ("bob", role)
    assert opened.action == Admission(name="bob", role=role, fingerprint=str(key.fingerprint))
    eve.decide(opened, approve=True)
    await eve.settle()
    assert (eve.of(RequestOpened), bob.of(Welcome)) == ([], [])
    alice.decide(opened, approve=True)
    welcome = await bob.next(Welcome)
    assert (welcome.subject, welcome.role, welcome.may_decide) == ("bob", role, False)
    assert (await alice.next(RequestClosed)).state is RequestState.APPROVED
    (known,) = (known for known in office.operators.all() if known.name == "bob")
    assert (known.fingerprint, known.role, known.by) == (str(key.fingerprint), role, "approval of alice")
    assert (await enter(office, key, "bob", role)).subject == "bob"


async def test_a_knock_waits_for_an_approver_to_come(open_office: OpenOffice) -> None:
    """And is then shown at once."""
    office = open_office(Policy(), asks=True)
    bob = await knock(office, "bob", MALLORY)
    alice = await office.welcome()
    alice.decide(await alice.next(RequestOpened), approve=True)
    assert (await bob.next(Welcome)).subject == "bob"


async def test_a_stranger_who_is_denied_is_told_so_and_forgotten(open_office: OpenOffice) -> None:
    """By whom, and why."""
    office = open_office(Policy(), asks=True)
    alice, bob = await office.welcome(), await knock(office, "bob", MALLORY)
    alice.decide(await alice.next(RequestOpened), approve=False, reason="not today")
    bye = await bob.next(Bye)
    assert (bye.code, bye.reason) == ("unknown", "you were not let in: by alice: not today")
    assert names(office) == ["alice"]


async def test_no_answer_is_a_refusal(open_office: OpenOffice) -> None:
    """After the time that the policy has for requests."""
    office = open_office(Policy(timeout=0.02), asks=True)
    bye = await (await knock(office, "bob", MALLORY)).next(Bye)
    assert (bye.code, bye.reason) == ("unknown", "you were not let in: nobody decided in time")
    assert names(office) == []


async def test_a_stranger_who_leaves_takes_the_request_along(open_office: OpenOffice, log: Lines) -> None:
    """Approving it then lets nobody in, and is no trouble to anybody."""
    office = open_office(Policy(), asks=True)
    alice, bob = await office.welcome(), await knock(office, "bob", MALLORY)
    opened = await alice.next(RequestOpened)
    bob.link.close()
    assert (await alice.next(RequestClosed)).state is RequestState.WITHDRAWN
    await bob.left()
    assert [(line["event"], line["log_level"]) for line in log] == [("link ended", "info")]
    alice.decide(opened, approve=True)
    await alice.settle()
    assert names(office) == ["alice"]


async def test_a_stranger_who_says_hello_and_is_gone_leaves_no_request(open_office: OpenOffice, log: Lines) -> None:
    """Nobody is bothered with it."""
    office = open_office(Policy(), asks=True)
    bob = office.arrive("bob", Role.OPERATOR, MALLORY)
    bob.link.send(Hello())
    bob.link.close()
    await bob.left()
    assert office.agent.runner.pending() == []
    assert [(line["event"], line["log_level"]) for line in log] == [("link ended", "info")]


@pytest.mark.parametrize("denied", [False, True])
async def test_a_name_and_a_key_knock_once_a_minute(open_office: OpenOffice, denied: bool) -> None:
    """While somebody is asked, and after a no: an approver is not worn down, nor shown two of one name."""
    office, key = open_office(Policy(), asks=True), Identity.new()
    alice, bob = await office.welcome(), await knock(office, "bob", key)
    opened = await alice.next(RequestOpened)
    if denied:
        alice.decide(opened, approve=False)
        assert (await bob.next(Bye)).code == "unknown"
    for name, other in (("bob", Identity.new()), ("robert", key)):
        bye = await office.arrive(name, Role.OPERATOR, other).refusal()
        assert (bye.code, "try again in a minute" in bye.reason) == ("unready", True)
    await alice.settle()
    assert alice.of(RequestOpened) == [opened]


async def test_nobody_lets_in_more_than_they_are(open_office: OpenOffice) -> None:
    """A viewer who may approve lets viewers in, and no operator."""
    office = open_office(Policy(), asks=True)
    vera = Identity.new()
    office.operators.add("vera", Role.VIEWER, vera.fingerprint, approver=True, by="the test")
    watching = office.arrive("vera", Role.VIEWER, vera)
    watching.link.send(Hello())
    await watching.next(Welcome)
    bob = await knock(office, "bob", Identity.new())
    opened = await watching.next(RequestOpened)
    watching.decide(opened, approve=True)
    await watching.settle()
    assert bob.of(Welcome) == []
    watching.decide(opened, approve=False)
    assert (await bob.next(Bye)).code == "unknown"
    carol = await knock(office, "carol", Identity.new(), Role.VIEWER)
    watching.decide(await watching.next(RequestOpened), approve=True)
    assert (await carol.next(Welcome)).role is Role.VIEWER


async def test_strangers_who_wait_are_bounded(open_office: OpenOffice, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is told so."""
    monkeypatch.setattr("nexus_agent.permissions.requests.MAX_PENDING", 1)
    office = open_office(Policy(), asks=True)
    await knock(office, "bob", Identity.new())
    bye = await office.arrive("carol", Role.OPERATOR, Identity.new()).refusal()
    assert "1 actions wait for a decision already" in bye.reason
    assert len(office.agent.runner.pending()) == 1


async def test_who_comes_as_an_agent_is_refused_also_with_a_known_key(office: Office) -> None:
    """There is no such role at a desk."""
    bye = await office.arrive("alice", Role.AGENT, office.key("alice", Role.OPERATOR)).refusal()
    assert bye.code == "forbidden"


async def test_an_agent_of_another_desk_cannot_knock(open_office: OpenOffice) -> None:
    """Its token is for serving."""
    office = open_office(Policy(), asks=True)
    assert (await office.arrive("lab", Role.AGENT, MALLORY).refusal()).code == "forbidden"


async def test_who_waits_at_the_door_is_not_forgotten_when_the_agent_ends(open_office: OpenOffice) -> None:
    """The link ends with it, and nobody was let in."""
    office = open_office(Policy(), asks=True)
    bob = await knock(office, "bob", MALLORY)
    await office.agent.close()
    await bob.end()
    assert names(office) == []
