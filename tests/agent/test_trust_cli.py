"""`nexus-agent fingerprint | operators | revoke | invite | join`: what they print, and how they fail."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from nexus_agent.permissions.operators import Operators
from nexus_protocol.fingerprint import Fingerprint
from nexus_protocol.identity import Identity
from nexus_protocol.invitation import Invitation, Secret
from nexus_protocol.vocabulary import Role

from .conftest import Done, Run, assert_failed

NOBODY = "ws://127.0.0.1:9"
KEYS = {name: Identity.new().fingerprint for name in ("laptop", "phone", "ci")}
SECRET = Secret(range(16))  # the same in every process: it is part of the names of tests


@pytest.fixture
def known(folder: Path) -> Operators:
    """The list of an agent to whom alice comes with two keys, and a script with one."""
    operators = Operators(folder)
    for name, role, of in (
        ("alice", Role.OPERATOR, "laptop"), ("alice", Role.VIEWER, "phone"), ("ci", Role.AUTOMATION, "ci")
    ):  # fmt: skip
        operators.add(name, role, KEYS[of], approver=role is Role.OPERATOR, by="anna@desk")
    return operators


def waiting(folder: Path) -> int:
    """How many invitations wait to be used."""
    path = folder / "invitations"
    return path.read_text().count("[[invitation]]") if path.exists() else 0


# -- fingerprint


def test_the_fingerprint_is_one_line_and_stays(run: Run, folder: Path) -> None:
    """As ssh writes it, and in words; the key is made at the first look, for its owner only."""
    first = run("fingerprint")
    text, words = first.out.split()
    assert Fingerprint.parse(text).words == words
    assert first == (0, f"{text} {words}\n", f"made a new key in {folder}\n")  # or one would compare what nobody uses
    assert run("fingerprint") == (0, first.out, "")
    assert [stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()] == [0o600]


def test_a_key_that_others_can_read_is_refused(run: Run, folder: Path) -> None:
    """With the command that mends it; it is not replaced."""
    run("fingerprint")
    (folder / "identity.pem").chmod(0o640)
    before = (folder / "identity.pem").read_bytes()
    assert_failed(run("fingerprint"), 2, f"run: chmod 600 {folder / 'identity.pem'}")
    assert (folder / "identity.pem").read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"no key", Identity.new().pem()[:-200], b"\xff" * 64])
def test_a_broken_key_is_said_and_stays(run: Run, folder: Path, content: bytes) -> None:
    """Nobody becomes somebody else by an accident."""
    path = folder / "identity.pem"
    path.touch(mode=0o600)
    path.write_bytes(content)
    assert_failed(run("fingerprint"), 2, "restore it, or delete it to become somebody new")
    assert path.read_bytes() == content


# -- operators, revoke


def test_nobody_is_said_with_the_next_step(run: Run) -> None:
    """On standard error; whoever reads the output reads an empty list."""
    assert run("operators") == (
        0, "", "nobody may come to this desk yet; next: nexus-agent invite --name NAME\n"
    )  # fmt: skip
    assert json.loads(run("operators", "--json").out) == {"operators": []}


def test_operators_are_listed_with_their_rights(run: Run, known: Operators) -> None:
    """One line for each key: name, role, approver, fingerprint, since, by."""
    done = run("operators")
    assert (done.status, done.error) == (0, "")
    lines = [line.split() for line in done.out.splitlines()]
    assert [line[:4] for line in lines] == [
        ["alice", "operator", "approver", str(KEYS["laptop"])],
        ["alice", "viewer", "-", str(KEYS["phone"])],
        ["ci", "automation", "-", str(KEYS["ci"])],
    ]
    assert [line[4:] for line in lines] == [[operator.since, "anna@desk"] for operator in known.all()]
    listed = json.loads(run("operators", "--json").out)["operators"]
    assert [[entry["name"], entry["role"], entry["approver"]] for entry in listed] == [
        ["alice", "operator", True], ["alice", "viewer", False], ["ci", "automation", False]
    ]  # fmt: skip


def test_revoking_a_name_takes_all_of_its_keys(run: Run, known: Operators) -> None:
    """And says which."""
    done = run("revoke", "alice")
    assert (done.status, done.error) == (0, "")
    assert done.out.splitlines() == [
        f"removed alice (operator), {KEYS['laptop']}",
        f"removed alice (viewer), {KEYS['phone']}",
    ]
    assert [operator.name for operator in known.all()] == ["ci"]
    assert_failed(run("revoke", "alice"), 2, "nobody here is called 'alice'; nexus-agent operators lists who is")


def test_revoking_a_fingerprint_takes_one_key(run: Run, known: Operators) -> None:
    """The lost phone, not the laptop."""
    assert run("revoke", str(KEYS["phone"])).out == f"removed alice (viewer), {KEYS['phone']}\n"
    assert [operator.fingerprint for operator in known.all()] == [str(KEYS["laptop"]), str(KEYS["ci"])]


def test_revoking_somebody_who_was_only_invited_withdraws_that(run: Run, known: Operators, folder: Path) -> None:
    """The invitation is worth nothing any more, and that is no error."""
    known.invite("bob", Role.OPERATOR, SECRET.agent_proof, approver=False, expires=2**40, by="anna@desk")
    assert run("revoke", "bob") == (0, "withdrew 1 invitation for bob\n", "")
    assert waiting(folder) == 0
    assert len(known.all()) == 3


@pytest.mark.parametrize("command", [("operators",), ("operators", "--json"), ("revoke", "alice")])
@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        ("", 0o666, "authorized_operators can be changed by others (mode 0666); run: chmod 600"),
        ("[[operator]]\n", 0o600, "authorized_operators: Object missing required field `name`"),
        ("alice", 0o600, "authorized_operators: "),
    ],
)
def test_a_list_that_cannot_be_used_is_said(
    run: Run, folder: Path, command: tuple[str, ...], content: str, mode: int, said: str
) -> None:
    """The file, and what is wrong with it."""
    path = folder / "authorized_operators"
    path.write_text(content)
    path.chmod(mode)
    assert_failed(run(*command), 2, said)


# -- invite


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ((), 2, "no relay named"),
        (("--relay", "http://x"), 2, "not a relay's address"),
        (("--relay", NOBODY), 4, f"cannot reach the relay at {NOBODY}"),
        (("--relay", NOBODY, "--token-file", "missing"), 2, "no relay token in missing"),
        (("--relay", NOBODY, "--role", "agent"), 2, "'agent' is not one of"),
        (("--relay", NOBODY, "--name", "a b"), 2, "'a b' cannot be a name"),
        (("--relay", NOBODY, "--name", "viewer"), 2, "that is a role"),
        (("--relay", NOBODY, "--ttl", "8d"), 2, "an invitation waits 7 days at most"),
        (("--relay", NOBODY, "--ttl", "soon"), 2, "'soon' is not a duration"),
        (("--relay", NOBODY, "--ttl", "0s"), 2, "'0s' is not a duration"),
        (("--relay", NOBODY, "--role", "automation", "--approver"), 2, "automation never approves"),
    ],
)
def test_an_invitation_that_cannot_be_made_says_why(
    run: Run, folder: Path, arguments: tuple[str, ...], status: int, said: str
) -> None:
    """Before anything is printed or remembered: half an invitation is none."""
    (folder / "token").touch(mode=0o600)
    (folder / "token").write_text("a-token")
    assert_failed(run("invite", *arguments), status, said)
    assert waiting(folder) == 0


def test_inviting_needs_to_have_joined(run: Run) -> None:
    """It says how that is done."""
    assert_failed(run("invite", "--relay", NOBODY), 2, "ask for an invitation and run `join`")


# -- join


def for_agent(relay: str = NOBODY) -> str:
    return Invitation(relay, "office", SECRET).link()


FOR_OPERATOR = Invitation(NOBODY, "office", SECRET, KEYS["laptop"]).link()


@pytest.mark.parametrize("typed", [False, True])
@pytest.mark.parametrize(
    ("link", "status", "said"),
    [
        ("nonsense", 2, "that is not an invitation; paste the whole line"),
        (for_agent()[:-1], 2, "that is not the whole of an invitation; paste the whole line"),
        (FOR_OPERATOR, 2, "that invitation is for an operator: nexus-tui join"),
        (for_agent("ws://127.0.0.1:99999"), 2, "not a relay's address"),
        (for_agent(), 4, f"cannot reach the relay at {NOBODY}"),
    ],
)
def test_an_invitation_that_cannot_be_taken_says_why(
    run: Run, folder: Path, link: str, status: int, said: str, typed: bool
) -> None:
    """On the command line or typed; its secret is never repeated, and what was joined before stays."""
    for name, content in (("token", "the old token"), ("relay", NOBODY)):
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(content)
    done = run("-vv", "join", said=f"{link}\n") if typed else run("join", link)
    last = Done(done.status, done.out, done.error.splitlines(keepends=True)[-1])
    assert_failed(last, status, said)
    for secret in (link, link.rpartition("/")[2], SECRET.relay_proof.hex(), SECRET.agent_proof.hex()):
        assert secret not in done.error
    assert ((folder / "token").read_text(), (folder / "relay").read_text()) == ("the old token", NOBODY)


def test_nothing_typed_is_no_invitation(run: Run) -> None:
    """As when somebody only presses return, or standard input is empty."""
    for said in ("", "\n"):
        assert_failed(run("join", "-", said=said), 2, "that is not an invitation")
