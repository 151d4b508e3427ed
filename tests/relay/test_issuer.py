"""What the relay keeps about tokens: its keys, what it made, what was taken back. Time is the test's."""

from __future__ import annotations

import errno
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from nexus_protocol.errors import NexusError, Unauthorized, UsageError
from nexus_protocol.invitation import digest
from nexus_protocol.vocabulary import Role
from relay import ledger, tokens
from relay.claims import LEEWAY, Claims
from relay.issuer import KEYS, LEDGER, Issuer
from relay.keyring import Keyring
from relay.ledger import KEEP_EXPIRED, FamilyState

from .conftest import Clock

DAY = 24 * 3600


@dataclass
class Bench:
    """A relay's state folder, and issuers that see the same time."""

    folder: Path
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.issuer = Issuer.create(self.folder, clock=self.clock)

    def another(self) -> Issuer:
        """As another process has it: a command, or the relay after a restart."""
        return Issuer.load(self.folder, clock=self.clock)

    def minted(self, subject: str = "bob", *desks: str, role: Role = Role.OPERATOR, ttl: int = DAY) -> str:
        return self.issuer.mint(role, subject, desks or ("*",), ttl=ttl)

    def claims(self, token: str) -> Claims:
        return self.issuer.verify(token)

    def renewed(self, token: str) -> str:
        return self.issuer.renew(self.claims(token))

    def states(self) -> dict[str, FamilyState]:
        return {line.family.subject: line.state for line in self.another().listed()}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


# ---- Keys


def test_create_makes_a_private_key_once(bench: Bench) -> None:
    """The key file has mode 0600; creating again leaves it as it is."""
    path = bench.folder / KEYS
    before = path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(Keyring.parse(before).signing) == 32
    Issuer.create(bench.folder)
    assert path.read_bytes() == before


def test_a_missing_open_or_broken_key_is_a_clear_error(tmp_path: Path) -> None:
    """It names the command that makes a key, the mode to set, or the file that is broken; and quotes nothing of it."""
    with pytest.raises(UsageError, match="nexus-relay init"):
        Issuer.load(tmp_path)
    Issuer.create(tmp_path)
    path = tmp_path / KEYS
    path.chmod(0o644)
    with pytest.raises(UsageError, match="chmod 600"):
        Issuer.load(tmp_path)
    path.chmod(0o600)
    good = path.read_bytes()
    word = good.strip()
    for broken in (
        b"", b"\xff\xfe", b"abcd", b"zz" * 32, good * 2, good * 3, word + b" until 9\n",
        good + word + b" until soon\n", good + b"abcd until 5\n", good + word + b" until " + b"9" * 5000,
    ):  # fmt: skip
        path.write_bytes(broken)
        with pytest.raises(UsageError, match="does not hold a relay key") as caught:
            Issuer.load(tmp_path)
        assert good.decode().strip() not in str(caught.value)


def test_after_a_rotation_both_keys_are_accepted_for_a_while(bench: Bench) -> None:
    """Tokens of before are good until the old key's time is over, or theirs; new ones are signed with the new key."""
    running = bench.another()
    before = bench.minted(ttl=30 * DAY)
    until = bench.issuer.rotate(7 * DAY).until
    after = bench.minted("ann", ttl=30 * DAY)
    running.refresh()
    assert running.verify(before).key_id != running.verify(after).key_id
    bench.clock.now = until - 1
    running.verify(before)
    bench.clock.now = until
    running.verify(after)
    with pytest.raises(Unauthorized, match="no longer takes"):
        running.verify(before)
    assert bench.states() == {"bob": FamilyState.EXPIRED, "ann": FamilyState.VALID}


def test_there_are_never_more_than_two_keys(bench: Bench) -> None:
    """A third gives up the first, and says so; one whose time is over is not missed."""
    first = bench.minted()
    assert not bench.issuer.rotate(DAY).gave_up
    second = bench.minted()
    assert bench.issuer.rotate(DAY).gave_up
    bench.claims(second)
    with pytest.raises(Unauthorized, match="no longer takes"):
        bench.claims(first)
    bench.clock.now += DAY
    assert not bench.issuer.rotate(DAY).gave_up


def test_a_token_of_the_old_key_is_renewed_with_the_new(bench: Bench) -> None:
    """And outlives the old key."""
    token = bench.minted(ttl=30 * DAY)
    until = bench.issuer.rotate(DAY).until
    token = bench.renewed(token)
    bench.clock.now = until + 1
    bench.claims(token)


# ---- Taking back


def test_a_revoked_token_is_refused_also_after_a_restart(bench: Bench) -> None:
    """By its jti; another token of the same subject stays."""
    revoked, other = bench.minted(), bench.minted()
    bench.issuer.revoke(bench.claims(revoked).token_id)
    for issuer in (bench.issuer, bench.another()):
        issuer.verify(other)
        with pytest.raises(Unauthorized, match="revoked") as caught:
            issuer.verify(revoked)
        assert revoked not in str(caught.value)


@pytest.mark.parametrize("named", [0, 1, 2])
def test_a_family_is_revoked_as_one(bench: Bench, named: int) -> None:
    """By the first token's jti, a renewal's, or its renewal's: all of them die, and none is renewed any more."""
    family = [bench.minted()]
    for _ in range(2):
        bench.clock.now += 3600
        family.append(bench.renewed(family[-1]))
    ids = [bench.claims(token).token_id for token in family]
    assert len(set(ids)) == 3
    last = bench.claims(family[-1])
    command = bench.another()
    revoked = command.revoke(ids[named])
    assert revoked.family is not None
    assert revoked.family.subject == "bob"
    with pytest.raises(Unauthorized, match="revoked"):
        bench.issuer.renew(last)  # it has not read the files since, and must not go by what it knew
    for token in family:
        with pytest.raises(Unauthorized, match="revoked"):
            bench.another().verify(token)


def test_a_token_that_was_never_made_here_is_revoked_all_the_same(bench: Bench) -> None:
    """Whoever has the key's backup may have made it; the answer says that it is not known."""
    foreign = tokens.mint(
        Keyring.parse((bench.folder / KEYS).read_bytes()).signing, Role.VIEWER, "eve", ["*"],
        ttl=365 * DAY, now=bench.clock.now,
    )  # fmt: skip
    assert bench.issuer.revoke(bench.claims(foreign).token_id).family is None
    bench.clock.now += 364 * DAY
    bench.minted()  # forgets what can be forgotten
    with pytest.raises(Unauthorized, match="revoked"):
        bench.another().verify(foreign)


def test_a_subject_is_revoked_until_now_and_can_be_given_a_token_again_at_once(bench: Bench) -> None:
    """In the same second too, and again and again."""
    other = bench.minted("ann")
    dead = [bench.minted(), bench.renewed(bench.minted())]
    for _ in range(3):
        revoked = bench.another().revoke_subject("bob")
        assert revoked.families >= 1
        bench.issuer.refresh()
        for token in dead:
            with pytest.raises(Unauthorized, match="revoked"):
                bench.claims(token)
        dead.append(bench.minted())
        bench.claims(dead[-1])
    bench.claims(other)
    assert [line.state for line in bench.another().listed()].count(FamilyState.VALID) == 2


def test_a_revocation_is_seen_without_a_restart(bench: Bench) -> None:
    """`refresh` tells that something has changed, whoever changed it, and only then."""
    running, token = bench.another(), bench.minted()
    seen = running.refresh()
    assert running.refresh() == seen
    bench.issuer.revoke(bench.claims(token).token_id)
    assert running.refresh() != seen
    with pytest.raises(Unauthorized, match="revoked"):
        running.verify(token)
    seen = running.refresh()
    running.revoke_subject("bob")
    assert running.refresh() != seen


def test_what_was_revoked_is_forgotten_when_it_has_expired(bench: Bench) -> None:
    """So the file stays small: a week after its end a family is neither listed nor remembered."""
    for number in range(50):
        bench.issuer.revoke(bench.claims(bench.minted(f"guest-{number}", ttl=60)).token_id)
    size = (bench.folder / LEDGER).stat().st_size
    bench.clock.now += 60 + KEEP_EXPIRED
    bench.minted()
    assert (bench.folder / LEDGER).stat().st_size < size / 10
    assert bench.states() == {"bob": FamilyState.VALID}


def test_a_revocation_lasts_as_long_as_the_leeway(bench: Bench) -> None:
    """A token is accepted a little past its end; a revoked one is not."""
    token = bench.minted(ttl=60)
    claims = bench.claims(token)
    bench.issuer.revoke(claims.token_id)
    bench.clock.now = claims.expires + LEEWAY - 1
    bench.minted()
    with pytest.raises(Unauthorized, match="revoked"):
        bench.another().verify(token)


def test_nothing_is_made_for_claims_that_were_taken_back_a_moment_ago(bench: Bench) -> None:
    """A relay that has not yet seen what a command wrote looks at the files before it makes or promises anything."""
    proof = b"p" * 32
    bench.issuer.invite(digest(proof), Role.OPERATOR, "guest", "lab", 60)
    operator = bench.claims(bench.minted())
    agent = bench.claims(bench.minted("office", "office", role=Role.AGENT))
    bench.another().revoke_subject("bob")
    with pytest.raises(Unauthorized, match="revoked"):
        bench.issuer.renew(operator)
    with pytest.raises(Unauthorized, match="revoked"):
        bench.issuer.redeem(proof, operator)
    bench.another().rotate(0)
    with pytest.raises(Unauthorized, match="no longer takes"):
        bench.issuer.renew(agent)
    with pytest.raises(Unauthorized, match="no longer takes"):
        bench.issuer.invite("0" * 64, Role.OPERATOR, "mole", "office", 60, by=agent)
    assert bench.claims(bench.issuer.redeem(proof)).subject == "guest"


def test_a_full_ledger_gives_up_what_has_expired_first(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then new tokens are refused; those there are can still be renewed and revoked."""
    monkeypatch.setattr(ledger, "MAX_FAMILIES", 3)
    for number in range(3):
        bench.minted(f"old-{number}", ttl=60)
    bench.clock.now += 60 + LEEWAY
    first, *_ = [bench.minted(f"new-{number}") for number in range(3)]
    with pytest.raises(NexusError, match="the most it can"):
        bench.minted("more")
    assert set(bench.states()) == {"new-0", "new-1", "new-2"}
    bench.issuer.revoke(bench.claims(bench.renewed(first)).token_id)


# ---- Renewal and the list


def test_a_renewed_token_says_the_same_for_as_long_again(bench: Bench) -> None:
    """Subject, role, desks and lifetime stay; it has another jti, and is one line with the first in the list."""
    token = bench.minted("bob", "office", "lab", role=Role.VIEWER, ttl=3600)
    bench.clock.now += 1800
    first, second = bench.claims(token), bench.claims(bench.renewed(token))
    assert (second.subject, second.role, second.desks) == (first.subject, first.role, first.desks)
    assert (second.lifetime, second.expires) == (3600, first.expires + 1800)
    assert second.token_id != first.token_id
    (line,) = bench.another().listed()
    assert (line.token_id, line.family.made, line.family.expires) == (first.token_id, first.issued, second.expires)


def test_the_list_holds_no_token(bench: Bench) -> None:
    """Nor does the file behind it: not even a signature's worth of one."""
    token = bench.minted()
    for text in (repr(bench.another().listed()), (bench.folder / LEDGER).read_text()):
        assert not [part for part in token.split(".") if part in text]


# ---- The files


def test_two_that_write_at_once_lose_nothing(bench: Bench) -> None:
    """A command and a running relay: every token and every revocation is in the file."""
    issuers = [bench.another() for _ in range(4)]

    def work(issuer: Issuer, who: str) -> None:
        for number in range(10):
            token = issuer.mint(Role.VIEWER, f"{who}-{number}", ["*"])
            issuer.revoke(tokens.verify(keys, token, now=bench.clock.now).token_id)

    keys = Keyring.parse((bench.folder / KEYS).read_bytes())
    threads = [threading.Thread(target=work, args=(issuer, f"w{n}")) for n, issuer in enumerate(issuers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    states = bench.states()
    assert len(states) == 40
    assert set(states.values()) == {FamilyState.REVOKED}


def test_a_full_disk_is_told_and_changes_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asked reads which file cannot be written; what was valid stays, and nothing is left lying about."""
    token = bench.minted()
    before = {path.name: path.read_bytes() for path in bench.folder.iterdir()}

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        attempts: list[Any] = [
            lambda: bench.minted("ann"),
            lambda: bench.renewed(token),
            lambda: bench.issuer.revoke(bench.claims(token).token_id),
            lambda: bench.issuer.revoke_subject("bob"),
            lambda: bench.issuer.rotate(DAY),
            lambda: bench.issuer.invite("0" * 64, Role.VIEWER, "bob", "office", 60),
        ]
        for attempt in attempts:
            with pytest.raises(NexusError, match=r"cannot write .*: No space left on device; nothing was changed"):
                attempt()
    bench.claims(token)
    assert {path.name: path.read_bytes() for path in bench.folder.iterdir()} == before


@pytest.mark.parametrize("damage", [b"{", b"[]", b'{"families": 5}', b"\xff", b'{"more": {}}', b"[" * 100_000])
def test_a_damaged_ledger_stops_the_start_and_not_a_running_relay(bench: Bench, damage: bytes) -> None:
    """Revocations must not be lost without a word; a relay that runs goes by what it knows."""
    token, gone = bench.minted(), bench.minted()
    bench.issuer.revoke(bench.claims(gone).token_id)
    (bench.folder / LEDGER).write_bytes(damage)
    with pytest.raises(NexusError, match=r"tokens.json is damaged"):
        bench.another()
    with pytest.raises(NexusError, match=r"tokens.json is damaged"):
        bench.issuer.refresh()
    bench.claims(token)
    with pytest.raises(Unauthorized, match="revoked"):
        bench.claims(gone)


def test_what_root_writes_belongs_to_the_owner_of_the_folder(tmp_path: Path) -> None:
    """The service that runs as somebody else must be able to read and to lock it. (Not root: it is ours anyway.)"""
    owner = (61_184, 61_185) if os.geteuid() == 0 else (os.getuid(), os.getgid())
    os.chown(tmp_path, *owner)
    issuer = Issuer.create(tmp_path)
    issuer.invite("0" * 64, Role.AGENT, "office", "office", 60)
    issuer.revoke(issuer.verify(issuer.mint(Role.VIEWER, "bob", ["*"])).token_id)
    issuer.rotate(60)
    files = list(tmp_path.iterdir())
    assert {path.name for path in files} == {"relay.key", "tokens.json", "invitations.json", ".relay.lock"}
    for path in files:
        found = path.stat()
        assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (*owner, 0o600), path
