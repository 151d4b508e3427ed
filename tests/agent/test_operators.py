"""Who may come to the desk: the list of operators and the invitations that wait, as files that people can read."""

from __future__ import annotations

import hashlib
import stat
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nexus_agent.permissions import operators as module
from nexus_agent.permissions.operators import Operator, Operators, role_here
from nexus_protocol.errors import NexusError, UsageError
from nexus_protocol.fingerprint import Fingerprint
from nexus_protocol.invitation import Secret
from nexus_protocol.vocabulary import Role

NOW = 1_800_000_000.0  # 2027-01-15T08:00:00Z
LIST, INVITATIONS = "authorized_operators", "invitations"


def key(name: str) -> Fingerprint:
    return Fingerprint(hashlib.sha256(name.encode()).digest())


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def operators(tmp_path: Path, clock: Clock) -> Operators:
    return Operators(tmp_path, clock=clock)


def add(operators: Operators, name: str, role: Role = Role.OPERATOR, of: str = "", approver: bool = False) -> Operator:
    return operators.add(name, role, key(of or name), approver=approver, by="the test")


def invite(operators: Operators, name: str = "bob", role: Role = Role.OPERATOR, **more: Any) -> Secret:
    """An invitation that is good for ten seconds; the secret is what the operator was given."""
    secret = Secret.new()
    terms: dict[str, Any] = {"approver": False, "expires": int(NOW) + 10, "by": "anna@desk"} | more
    operators.invite(name, role, secret.agent_proof, **terms)
    return secret


# -- the list


def test_nobody_may_come_until_somebody_is_let_in(operators: Operators, tmp_path: Path) -> None:
    """Without a file there is nobody; looking makes none."""
    assert operators.all() == ()
    assert operators.find(key("alice")) is None
    assert list(tmp_path.iterdir()) == []


def test_the_list_says_who_may_do_what_since_when_and_by_whom(operators: Operators, tmp_path: Path) -> None:
    """As TOML that a person can read, and only its owner."""
    add(operators, "alice", approver=True)
    add(operators, "ci", Role.AUTOMATION)
    path = tmp_path / LIST
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert tomllib.loads(path.read_text())["operator"] == [
        {
            "name": name, "role": role, "fingerprint": str(key(name)), "approver": approver,
            "since": "2027-01-15T08:00:00+00:00", "by": "the test",
        }
        for name, role, approver in (("alice", "operator", True), ("ci", "automation", False))
    ]  # fmt: skip


def test_a_key_finds_its_holder_and_no_other_does(operators: Operators) -> None:
    """One name may have several keys."""
    add(operators, "alice", of="laptop")
    add(operators, "alice", of="phone")
    add(operators, "bob")
    assert [operators.find(key(of)) for of in ("phone", "bob", "alice")] == [*operators.all()[1:], None]
    assert (operators.named("alice"), operators.named("carol")) == (True, False)


def test_a_key_that_is_let_in_again_has_what_was_said_last(operators: Operators) -> None:
    """Name, role and right are replaced; it is on the list once."""
    add(operators, "alice", approver=True)
    add(operators, "alicia", Role.VIEWER, of="alice")
    (only,) = operators.all()
    assert (only.name, only.role, only.approver) == ("alicia", Role.VIEWER, False)


@pytest.mark.parametrize(("whom", "left"), [("alice", ["bob"]), (str(key("phone")), ["alice", "bob"]), ("carol", None)])
def test_removing_takes_a_name_or_one_key(operators: Operators, whom: str, left: list[str] | None) -> None:
    """What is removed is told; nothing else goes with it."""
    before = [add(operators, "alice", of="laptop"), add(operators, "alice", of="phone"), add(operators, "bob")]
    gone = operators.remove(whom).operators
    assert [*gone, *operators.all()] == sorted(before, key=lambda known: known not in gone)
    assert [known.name for known in operators.all()] == (left or ["alice", "alice", "bob"])


def test_what_somebody_else_writes_holds_at_once(operators: Operators, tmp_path: Path) -> None:
    """Two programs, one folder: neither goes by what it once read, nor loses what the other wrote."""
    other = Operators(tmp_path)
    stamps = [operators.stamp()]
    changes: tuple[Callable[[], object], ...] = (
        lambda: add(other, "alice"), lambda: add(operators, "bob"), lambda: other.remove("alice")
    )  # fmt: skip
    for change in changes:
        change()
        assert operators.all() == other.all()
        stamps.append(operators.stamp())
    assert [known.name for known in operators.all()] == ["bob"]
    assert len(set(stamps)) == len(stamps)


def test_the_list_is_bounded(operators: Operators, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more key is refused, a known one can still be changed."""
    monkeypatch.setattr(module, "MAX_OPERATORS", 2)
    add(operators, "alice")
    add(operators, "bob")
    with pytest.raises(NexusError, match="2 keys are let in here already; revoke some"):
        add(operators, "carol")
    add(operators, "bob", Role.VIEWER)
    assert [(known.name, known.role) for known in operators.all()] == [("alice", "operator"), ("bob", "viewer")]


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
@pytest.mark.parametrize("name", [LIST, INVITATIONS])
def test_a_file_that_others_can_write_is_refused(operators: Operators, tmp_path: Path, mode: int, name: str) -> None:
    """For reading and for changing, with the command that mends it; as it was made it stays."""
    add(operators, "alice")
    secret = invite(operators)
    (tmp_path / name).chmod(mode)
    content = (tmp_path / name).read_bytes()
    uses: dict[str, list[Callable[[], object]]] = {
        LIST: [operators.all, lambda: operators.find(key("alice")), lambda: add(operators, "bob")],
        INVITATIONS: [lambda: invite(operators, "carol"), lambda: operators.redeem(key("bob"), secret.agent_proof)],
    }
    uses[name].append(lambda: operators.remove("alice"))
    for use in uses[name]:
        with pytest.raises(UsageError, match=f"can be changed by others.*chmod 600 .*{name}"):
            use()
    assert (tmp_path / name).read_bytes() == content


GOOD = f"""
[[operator]]
name = "alice"
role = "operator"
fingerprint = "{key("alice")}"
approver = true
since = "2027-01-15"
by = "a person with an editor"
"""


def test_a_list_that_a_person_wrote_is_as_good(operators: Operators, tmp_path: Path) -> None:
    """Comments and white space are theirs."""
    (tmp_path / LIST).write_text(f"# ours{GOOD}")
    (tmp_path / LIST).chmod(0o600)
    assert operators.find(key("alice")) == operators.all()[0]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('name = "alice"', 'name = "al ice"', r"\$\[0\].name"),
        ('name = "alice"\n', "", "missing required field `name`"),
        ('"operator"', '"boss"', r"'boss'.*\$\[0\].role"),
        ('"operator"', '"agent"', "serves a desk and comes to none"),
        ('"operator"', '"automation"', "automation never approves"),
        ("SHA256:", "SHA1:", r"\$\[0\].fingerprint"),
        ("approver = true", "approver = 1", r"`bool`, got `int`.*\$\[0\].approver"),
        ("by =", "bye =", "unknown field `bye`"),
        ("[[operator]]", "[[operators]]", "only .*operator.* tables belong here"),
        ("[[operator]]", "[operator]", "line 10"),
        ("[[operator]]", "[[operator]", "line 2"),
        ("alice", "\udcff", "utf-8"),
        ("since", "# " + "x" * 2**20 + "\nsince", "at most"),
    ],
)
def test_a_mistake_in_the_list_is_one_line_that_says_where(
    operators: Operators, tmp_path: Path, before: str, after: str, said: str
) -> None:
    """And nobody is let in by half of a list: not even by what is right in it."""
    path = tmp_path / LIST
    path.write_text(GOOD.replace(before, after, 1) + GOOD.replace("alice", "bob"), errors="surrogateescape")
    path.chmod(0o600)
    for _ in range(2):  # nor at the second look
        with pytest.raises(UsageError, match=said) as caught:
            operators.find(key("bob"))
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)


def test_a_folder_in_the_place_of_the_list_is_no_empty_list(operators: Operators, tmp_path: Path) -> None:
    """It stands for everything that cannot be read."""
    (tmp_path / LIST).mkdir()
    with pytest.raises(UsageError, match="cannot read"):
        operators.all()


# -- invitations


def test_an_invitation_lets_one_key_in_once(operators: Operators) -> None:
    """With the name, the role and the right that were invited; whose invitation it was is remembered."""
    secret = invite(operators, "bob", Role.VIEWER, approver=True)
    bob = operators.redeem(key("bob"), secret.agent_proof)
    assert bob is not None
    assert (bob.name, bob.role, bob.approver, bob.by) == ("bob", Role.VIEWER, True, "invitation of anna@desk")
    assert operators.all() == (bob,)
    assert operators.redeem(key("mallory"), secret.agent_proof) is None
    assert operators.redeem(key("bob"), secret.agent_proof) is None
    assert operators.all() == (bob,)


def test_two_programs_cannot_both_use_one_invitation(operators: Operators, tmp_path: Path) -> None:
    """What was used up through one folder is used up."""
    other = Operators(tmp_path, clock=lambda: NOW)
    secret = invite(other)
    assert operators.redeem(key("bob"), secret.agent_proof) is not None
    assert other.redeem(key("mallory"), secret.agent_proof) is None


def test_an_invitation_that_has_expired_lets_nobody_in(operators: Operators, clock: Clock) -> None:
    """From the very second that it names."""
    secret = invite(operators)
    clock.now = NOW + 10
    assert operators.redeem(key("bob"), secret.agent_proof) is None
    clock.now = NOW + 9.9
    assert operators.redeem(key("bob"), secret.agent_proof) is not None


def test_no_other_proof_lets_anybody_in(operators: Operators) -> None:
    """Not the one that the relay is shown, not the secret itself, not its digest, nothing at all."""
    secret = invite(operators)
    digest = hashlib.sha256(secret.agent_proof).digest()
    for proof in (secret.relay_proof, secret, digest, digest.hex().encode(), b"", bytes(32), secret.agent_proof[:-1]):
        assert operators.redeem(key("mallory"), bytes(proof)) is None
    assert operators.all() == ()
    assert operators.redeem(key("bob"), secret.agent_proof) is not None


def test_the_secret_of_an_invitation_is_in_no_file(operators: Operators, tmp_path: Path) -> None:
    """Nor anything that would be taken for it; before it was used and after."""
    secret = invite(operators)
    for _ in range(2):
        kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
        for word in (secret, secret.agent_proof, secret.relay_proof):
            assert word not in kept
            assert word.hex().encode() not in kept
        assert stat.S_IMODE((tmp_path / INVITATIONS).stat().st_mode) == 0o600
        operators.redeem(key("bob"), secret.agent_proof)


def test_invitations_that_wait_are_bounded(operators: Operators, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that have expired make room."""
    monkeypatch.setattr(module, "MAX_INVITATIONS", 2)
    invite(operators, "bob")
    kept = invite(operators, "carol", expires=int(NOW) + 60)
    with pytest.raises(NexusError, match="2 invitations wait to be used already"):
        invite(operators, "dave")
    clock.now = NOW + 10
    invite(operators, "dave", expires=int(NOW) + 60)
    assert operators.redeem(key("carol"), kept.agent_proof) is not None


def test_taking_a_name_off_the_list_withdraws_its_invitations(operators: Operators) -> None:
    """Also when nobody of that name was let in yet; other people's stay."""
    gone, stays = invite(operators, "mallory"), invite(operators, "bob")
    assert operators.remove("mallory") == ([], 1)
    assert operators.redeem(key("mallory"), gone.agent_proof) is None
    assert operators.redeem(key("bob"), stays.agent_proof) is not None


def test_whoever_invites_may_have_a_long_name(operators: Operators, tmp_path: Path) -> None:
    """What is written is always a list that can be read."""
    secret = invite(operators, by="x" * 128)
    assert operators.redeem(key("bob"), secret.agent_proof) is not None
    assert [known.name for known in Operators(tmp_path).all()] == ["bob"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"name": "b o b"}, "name"),
        ({"name": ""}, "name"),
        ({"role": Role.AGENT}, "serves a desk and comes to none"),
        ({"role": Role.AUTOMATION, "approver": True}, "automation never approves"),
        ({"by": "x" * 129}, "by"),
        ({"by": "two\nlines"}, "by"),
        ({"expires": -1}, "expires"),
    ],
)
def test_what_cannot_be_invited_says_why(operators: Operators, tmp_path: Path, wrong: Any, said: str) -> None:
    """And leaves no invitation behind."""
    with pytest.raises(UsageError, match=f"cannot invite .*{said}"):
        invite(operators, **wrong)
    assert not (tmp_path / INVITATIONS).exists()


# -- automation, and the relay's word


def test_automation_gets_no_right_to_approve(operators: Operators, tmp_path: Path) -> None:
    """Not when it is added, and not by an invitation that somebody wrote into the file."""
    with pytest.raises(ValueError, match="automation never approves"):
        add(operators, "ci", Role.AUTOMATION, approver=True)
    secret = invite(operators, "ci", Role.AUTOMATION)
    path = tmp_path / INVITATIONS
    path.write_text(path.read_text().replace("approver = false", "approver = true"))
    with pytest.raises(UsageError, match="automation never approves"):
        operators.redeem(key("ci"), secret.agent_proof)
    assert operators.all() == ()


@pytest.mark.parametrize("ours", [Role.VIEWER, Role.AUTOMATION, Role.OPERATOR])
@pytest.mark.parametrize("relays", Role)
def test_the_relay_can_lower_a_role_and_never_raise_it(ours: Role, relays: Role) -> None:
    """A viewer is less than automation, and that less than an operator; an agent is nobody here."""
    order = [Role.AGENT, Role.VIEWER, Role.AUTOMATION, Role.OPERATOR]
    assert order.index(role_here(ours, relays)) == min(order.index(ours), order.index(relays))
