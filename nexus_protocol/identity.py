"""Who this program is to its peers: one long-lived key in a self-signed certificate, made at first start.

Nothing is believed of a certificate but its key: peers pin the key's fingerprint, as ssh does. With tunnel.py the only
module that knows OpenSSL and its companion ``cryptography``.
"""

from __future__ import annotations

import datetime
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

from .errors import UsageError
from .fingerprint import Fingerprint
from .settings import read_secret, write_secret

FILE = "identity.pem"
_SINCE, _UNTIL = (datetime.datetime(year, 1, 1, tzinfo=datetime.UTC) for year in (2000, 9999))
"""Keys do not expire here: they are taken back."""
UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion)
"""What `cryptography` raises over a key or a certificate that it cannot read."""
_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "nexus")])


@dataclass(frozen=True, slots=True, repr=False)
class Identity:
    """An Ed25519 key, and the certificate that carries it through TLS."""

    key: Ed25519PrivateKey
    certificate: x509.Certificate

    @classmethod
    def new(cls) -> Identity:
        key = Ed25519PrivateKey.generate()
        builder = x509.CertificateBuilder(
            issuer_name=_NAME, subject_name=_NAME, public_key=key.public_key(),
            serial_number=x509.random_serial_number(), not_valid_before=_SINCE, not_valid_after=_UNTIL,
        )  # fmt: skip
        return cls(key, builder.sign(key, algorithm=None))

    @classmethod
    def of(cls, folder: Path) -> Identity:
        """The identity kept in a state folder, made there when there is none.

        Raises UsageError when the file cannot be read, can be read by others, or holds something else.
        """
        path = folder / FILE
        if not os.path.lexists(path):
            try:
                write_secret(path, cls.new().pem(), replace=False)
            except FileExistsError:
                pass  # another program of the same person was first
            except OSError as error:
                raise UsageError(f"cannot write {path}: {error.strerror}; choose a folder with --state-dir") from None
        return cls._load(path)

    @classmethod
    def _load(cls, path: Path) -> Identity:
        pem = read_secret(path)
        try:
            key = serialization.load_pem_private_key(pem, password=None)
            certificate = x509.load_pem_x509_certificate(pem)
            if isinstance(key, Ed25519PrivateKey) and certificate.public_key() == key.public_key():
                return cls(key, certificate)
        except UNREADABLE:
            pass  # no PEM, or one with a password
        raise UsageError(f"{path} does not hold a Nexus key; restore it, or delete it to become somebody new")

    @property
    def fingerprint(self) -> Fingerprint:
        return fingerprint_of(self.certificate)

    def pem(self) -> bytes:
        """Key and certificate, as the file holds them."""
        key = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return key + self.certificate.public_bytes(serialization.Encoding.PEM)


def fingerprint_of(certificate: x509.Certificate) -> Fingerprint:
    """The name of a certificate's key."""
    return Fingerprint(
        hashlib.sha256(
            certificate.public_key().public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        ).digest()
    )
