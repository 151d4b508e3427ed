"""A file of records that several programs change: nothing is lost, and nobody else has written it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nexus_protocol import records as records_module
from nexus_protocol.errors import NexusError, UsageError
from nexus_protocol.records import Records


class Guest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(min_length=1)]
    since: int = 0
    approver: bool = False


ANNA, BOB = Guest("anna", since=1_700_000_000), Guest("bob", approver=True)
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
guests = st.builds(Guest, texts, st.integers(-(2**63), 2**63 - 1), st.booleans())


def at(folder: Path) -> Records[Guest]:
    return Records(folder / "guests.toml", Guest, "guest", "Who may come in.\nChange it with `guests`.")


def test_a_missing_file_is_empty(tmp_path: Path) -> None:
    """And reading makes none."""
    assert at(tmp_path).read() == ()
    assert list(tmp_path.iterdir()) == []


@given(st.lists(guests, max_size=5))
@example([Guest("\x7f\x00\n\"'\\\u2028#]")])
def test_what_is_written_can_be_read(tmp_path_factory: pytest.TempPathFactory, written: list[Guest]) -> None:
    """Every text, number and truth, by another program too."""
    folder = tmp_path_factory.mktemp("records")
    records = at(folder)
    add(records, *written)
    assert records.read() == tuple(written) == at(folder).read()


def test_a_person_can_read_it(tmp_path: Path) -> None:
    """What the file is about stands first, then one table for each record."""
    add(at(tmp_path), ANNA, BOB)
    text = (tmp_path / "guests.toml").read_text(encoding="utf-8")
    assert text.startswith("# Who may come in.\n# Change it with `guests`.\n\n[[guest]]\n")
    assert 'name = "bob"\nsince = 0\napprover = true\n' in text


def test_a_change_by_another_program_is_seen(tmp_path: Path) -> None:
    """At the next look, without being told; and the stamp tells that there is something to look at."""
    mine, other = at(tmp_path), at(tmp_path)
    stamps = [mine.stamp()]
    for change in ([ANNA], [ANNA, BOB], [BOB]):
        with other.changing() as now:
            now[:] = change
        assert mine.read() == tuple(change)
        stamps.append(mine.stamp())
    (tmp_path / "guests.toml").unlink()
    assert mine.read() == ()
    assert len(set(stamps)) == 4


def test_nothing_is_written_when_nothing_was_changed(tmp_path: Path) -> None:
    """A program that only looks leaves what a person wrote, comments and all."""
    path = tmp_path / "guests.toml"
    path.write_text('# mine\n[[guest]]\nname = "anna"\n', encoding="utf-8")
    path.chmod(0o600)
    with at(tmp_path).changing() as now:
        assert now == [Guest("anna")]
    assert path.read_text(encoding="utf-8").startswith("# mine")


def test_a_change_that_fails_halfway_is_none(tmp_path: Path) -> None:
    """An error in the block leaves the file as it was."""
    add(at(tmp_path), ANNA)
    with pytest.raises(ZeroDivisionError):
        half_a_change(at(tmp_path))
    assert at(tmp_path).read() == (ANNA,)


def half_a_change(records: Records[Guest]) -> None:
    with records.changing() as now:
        now.clear()
        raise ZeroDivisionError


def test_a_change_that_cannot_be_written_leaves_the_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk: it is said, the file is whole, and nothing lies beside it."""
    records = at(tmp_path)
    add(records, ANNA)
    beside = sorted(tmp_path.iterdir())

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NexusError, match="No space left on device; nothing was changed"):
        add(records, BOB)
    assert records.read() == (ANNA,)
    assert sorted(tmp_path.iterdir()) == beside


def add(records: Records[Guest], *guests: Guest) -> None:
    with records.changing() as now:
        now.extend(guests)


def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    """Mode 0600, whatever the umask."""
    before = os.umask(0)
    try:
        add(at(tmp_path), ANNA)
    finally:
        os.umask(before)
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666, 0o777])
def test_it_is_refused_when_others_can_change_it(tmp_path: Path, mode: int) -> None:
    """As ssh does, with the command that mends it; also when that comes later, and for a change."""
    records = at(tmp_path)
    add(records, ANNA)
    assert records.read() == (ANNA,)
    records.path.chmod(mode)
    with pytest.raises(UsageError, match=f"can be changed by others.*mode {mode:04o}.*chmod 600"):
        records.read()
    with pytest.raises(UsageError, match="can be changed by others"):
        add(records, BOB)
    records.path.chmod(0o644)
    assert records.read() == (ANNA,)


@pytest.mark.parametrize(
    "content",
    [
        b"[[guest]]\nname = ", b"\xff\xfe", b"guest = 1", b"guest = [1]", b"[[guest]]\nname = 1", b"[[guest]]",
        b'[[guest]]\nname = ""', b'[[guest]]\nname = "a"\ncolour = "red"', b'[[gest]]\nname = "a"', b"x = 1",
        b'[[guest]]\nname = "a"\nname = "b"', b"guest = " + b"[" * 50_000, b"#" * (records_module.MAX_FILE + 1),
        b'[[guest]]\nname = "a"\nsince = 2026-01-01', b'[[guest]]\nname = "a"\nsince = 1e3', b"guest = " + b"9" * 5_000,
    ],
    ids=lambda content: repr(content[:40]),
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_named_and_left(tmp_path: Path, content: bytes) -> None:
    """Half of a list of who is trusted is not a list: nothing of it counts, and a change does not write it over."""
    records = at(tmp_path)
    records.path.write_bytes(content)
    records.path.chmod(0o600)
    with pytest.raises(UsageError, match=r"guests\.toml"):
        records.read()
    with pytest.raises(UsageError, match=r"guests\.toml"):
        add(records, ANNA)
    assert records.path.read_bytes() == content


def test_more_than_can_be_read_is_not_written(tmp_path: Path) -> None:
    """A file that grew past its bound would lock everybody out."""
    records = at(tmp_path)
    add(records, ANNA)
    with pytest.raises(NexusError, match="nothing was changed"):
        add(records, Guest("x" * records_module.MAX_FILE))
    assert records.read() == (ANNA,)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """It has nothing in it, and cannot be written to."""
    records = at(tmp_path / "none")
    assert records.read() == ()
    with pytest.raises(NexusError, match="nothing was changed"):
        add(records, ANNA)


ADD = """
import sys
from pathlib import Path
from tests.protocol.test_records import Guest, at
records = at(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for number in range(50):
    with records.changing() as now:
        now.append(Guest(f"{sys.argv[2]}-{number}"))
"""


def test_two_programs_that_change_it_at_once_lose_nothing(tmp_path: Path) -> None:
    """Each change starts from what the file is then."""
    root = Path(__file__).parents[2]
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", ADD, str(tmp_path), name],
            cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for name in ("one", "two")
    ]  # fmt: skip
    for program in programs:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
    for program in programs:
        assert program.stdin is not None
        program.stdin.write("\n")
        program.stdin.flush()
    for program in programs:
        program.communicate(timeout=30)
    assert [program.returncode for program in programs] == [0, 0]
    names = [guest.name for guest in at(tmp_path).read()]
    for name in ("one", "two"):
        assert [n for n in names if n.startswith(name)] == [f"{name}-{number}" for number in range(50)]
    assert len(names) == 100


def test_whoever_reads_meanwhile_sees_the_old_or_the_new(tmp_path: Path) -> None:
    """Never half a file, never none: it is put in its place in one step."""
    records = at(tmp_path)
    add(records, *(Guest(f"guest-{number}") for number in range(500)))
    with subprocess.Popen(
        [sys.executable, "-c", ADD, str(tmp_path), "new"],
        cwd=Path(__file__).parents[2], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as program:  # fmt: skip
        assert program.stdin is not None
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        program.stdin.write("\n")
        program.stdin.flush()
        seen = set()
        while program.poll() is None:
            seen.add(len(at(tmp_path).read()))
    assert program.returncode == 0
    assert seen <= set(range(500, 551))
    assert len(records.read()) == 550
