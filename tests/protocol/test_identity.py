"""The key that a program has: made once, kept to itself, and never replaced by accident."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from nexus_protocol.errors import UsageError
from nexus_protocol.identity import FILE, Identity, fingerprint_of

OURS = Identity.new()


def pem_of(key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey, password: bytes | None = None) -> bytes:
    protection: serialization.KeySerializationEncryption = (
        serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    )
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection)


def certificate(identity: Identity) -> bytes:
    return identity.certificate.public_bytes(serialization.Encoding.PEM)


def test_it_is_made_at_first_start_and_stays(tmp_path: Path) -> None:
    """The second start finds the key of the first."""
    first = Identity.of(tmp_path)
    again = Identity.of(tmp_path)
    assert first.fingerprint == again.fingerprint
    assert (tmp_path / FILE).read_bytes() == again.pem() == first.pem()


def test_each_folder_has_its_own(tmp_path: Path) -> None:
    """Two programs are two keys."""
    one, other = tmp_path / "agent", tmp_path / "console"
    one.mkdir()
    other.mkdir()
    assert Identity.of(one).fingerprint != Identity.of(other).fingerprint


def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    """Mode 0600 whatever the umask, and nothing lies beside it."""
    before = os.umask(0)
    try:
        Identity.of(tmp_path)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_it_is_refused_when_others_can_read_it(tmp_path: Path, mode: int) -> None:
    """As ssh does, with the command that mends it; the key itself stays."""
    mine = Identity.of(tmp_path)
    path = tmp_path / FILE
    path.chmod(mode)
    with pytest.raises(UsageError, match=f"mode {mode:04o}.*chmod 600"):
        Identity.of(tmp_path)
    path.chmod(0o600)
    assert Identity.of(tmp_path).fingerprint == mine.fingerprint


START = """
import sys
from pathlib import Path
from nexus_protocol.identity import Identity
print("ready", flush=True)
sys.stdin.readline()
print(Identity.of(Path(sys.argv[1])).fingerprint)
"""


def test_programs_that_start_at_once_are_the_same(tmp_path: Path) -> None:
    """Whoever is first makes the key; the others find it."""
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", START, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for program in programs:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
    for program in programs:
        assert program.stdin is not None
        program.stdin.write("\n")
        program.stdin.flush()
    said = {program.communicate(timeout=30)[0].strip() for program in programs}
    assert [program.returncode for program in programs] == [0, 0, 0, 0]
    assert said == {str(Identity.of(tmp_path).fingerprint)}
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


BROKEN = {
    "empty": b"",
    "no PEM": b"\x00\xff not a key",
    "the key alone": pem_of(OURS.key),
    "the certificate alone": certificate(OURS),
    "cut off": OURS.pem()[:-40],
    "another's certificate": pem_of(OURS.key) + certificate(Identity.new()),
    "with a password": pem_of(OURS.key, b"secret") + certificate(OURS),
    "another kind of key": pem_of(ec.generate_private_key(ec.SECP256R1())) + certificate(OURS),
    "a header alone": b"-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_no_key_of_ours_is_said_and_left(tmp_path: Path, kind: str) -> None:
    """The file is named and what to do; nobody becomes somebody else without being asked."""
    path = tmp_path / FILE
    path.write_bytes(BROKEN[kind])
    path.chmod(0o600)
    with pytest.raises(UsageError, match="does not hold a Nexus key; restore it, or delete it") as error:
        Identity.of(tmp_path)
    assert str(path) in str(error.value)
    assert path.read_bytes() == BROKEN[kind]


def test_a_link_that_leads_nowhere_is_no_missing_key(tmp_path: Path) -> None:
    """The disk that the key lies on may only not be mounted."""
    (tmp_path / FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="cannot read"):
        Identity.of(tmp_path)
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """With the option that names another one."""
    with pytest.raises(UsageError, match="--state-dir"):
        Identity.of(tmp_path / "none")


def test_its_fingerprint_is_of_the_public_key_alone() -> None:
    """SHA-256 over the SubjectPublicKeyInfo: a new certificate for the same key changes nothing."""
    spki = OURS.key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    digest = hashes.Hash(hashes.SHA256())
    digest.update(spki)
    assert OURS.fingerprint == fingerprint_of(OURS.certificate) == digest.finalize()


def test_it_shows_no_key() -> None:
    """Neither in a log nor in an error."""
    secret = OURS.key.private_bytes_raw()
    shown = repr(OURS) + str(OURS)
    assert repr(secret)[2:-1] not in shown
    assert secret.hex() not in shown
    assert "PRIVATE" not in shown
