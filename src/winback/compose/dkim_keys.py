"""Keys that sign letters: read, made, and published in the DNS. None of them is ever printed."""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey, generate_private_key

from winback.compose.dkim import Signer
from winback.errors import InputError, SigningError
from winback.project.settings import Settings
from winback.project.signing import DkimAlgorithm, DkimSettings
from winback.secrets import Secret

#: RFC 8301 section 3.2: "Signers MUST use RSA keys of at least 1024 bits [and] SHOULD use RSA keys of at least 2048 bits.
#: Verifiers MUST be able to validate signatures with keys ranging from 1024 bits to 4096 bits".
_SHORTEST, RECOMMENDED, _LONGEST = 1024, 2048, 4096

#: Bytes of an Ed25519 key as it stands in the DNS, and of one as dkimpy's `dknewkey` writes it.
_ED25519_BYTES = 32

#: RFC 1035 section 3.3: what one text of a TXT record holds at most.
_TEXT = 255

_PADDING, _HASH = PKCS1v15(), hashes.SHA256()

PrivateKey = RSAPrivateKey | Ed25519PrivateKey
PublicKey = RSAPublicKey | Ed25519PublicKey


@dataclass(frozen=True)
class SigningKey:
    """A private key with the name under which its public half stands in the DNS."""

    domain: str
    selector: str
    algorithm: DkimAlgorithm
    private: PrivateKey = field(repr=False)

    def sign(self, covered: bytes) -> bytes:
        """Return the signature of the canonical headers."""
        if isinstance(self.private, RSAPrivateKey):
            return self.private.sign(covered, _PADDING, _HASH)
        # RFC 8463 section 3: the hash is signed, by the variant of Ed25519 that hashes once more.
        return self.private.sign(sha256(covered).digest())

    @property
    def public(self) -> PublicKey:
        """Return the half that everybody may know."""
        return self.private.public_key()

    @property
    def bits(self) -> int:
        """Return how long the key is."""
        return self.private.key_size if isinstance(self.private, RSAPrivateKey) else 8 * _ED25519_BYTES

    @property
    def name(self) -> str:
        """Return the name in the DNS under which receivers look for the public key."""
        return f"{self.selector}._domainkey.{self.domain}"

    @property
    def record(self) -> str:
        """Return the TXT record to publish under `name`."""
        return f"v=DKIM1; k={self.algorithm}; p={b64encode(_public_bytes(self.public)).decode('ascii')}"


def load_signer(settings: Settings) -> Signer:
    """Return what signs the shop's letters, with every key of `[dkim]`. Raise SigningError when one is not there or no key."""
    return Signer([load_key(settings, each) for each in settings.dkim])


def load_key(settings: Settings, table: DkimSettings) -> SigningKey:
    """Return the key of one `[dkim]` table. Raise SigningError when it is not there or no key."""
    try:
        text = table.private_key.reveal()
    except InputError as error:
        raise SigningError(f"letters cannot be signed (DKIM): {error.message}", error.remedy) from None
    return SigningKey(settings.signing_domain(table), table.selector, table.algorithm, _checked(text, table))


def is_available(secret: Secret) -> bool:
    """Say whether a key is where it should be: elsewhere than on the machine that sends it need not be."""
    try:
        secret.reveal()
    except InputError:
        return False
    return True


def _checked(text: str, table: DkimSettings) -> PrivateKey:
    where = f"the DKIM key in {table.private_key.source}"
    try:
        private = read_private_key(text)
    except ValueError as error:
        problem, _, remedy = str(error).partition("; ")
        raise SigningError(f"{where} {problem}", remedy or "make one: winback dkim SELECTOR") from None
    found = "rsa" if isinstance(private, RSAPrivateKey) else "ed25519"
    if found != table.algorithm:
        raise SigningError(f'{where} is for {found}, and algorithm = "{table.algorithm}"', f'write algorithm = "{found}"')
    if isinstance(private, RSAPrivateKey) and not _SHORTEST <= private.key_size <= _LONGEST:
        raise SigningError(f"{where} has {private.key_size} bits", f"use one of {RECOMMENDED}: winback dkim SELECTOR")
    return private


@lru_cache(maxsize=8)
def read_private_key(text: str) -> PrivateKey:
    """Return the key in a text: PEM, its line breaks perhaps written as `\\n`, or base64 alone.

    Raise ValueError, saying what is wrong and what to do without quoting anything.
    """
    text = text.replace("\\n", "\n")
    if "PUBLIC KEY" in text:
        raise ValueError("is the public half; name the file with the private one")
    try:
        private = _parsed(text)
    except TypeError:
        raise ValueError("is locked with a passphrase; save it without one, in a file that only its owner can read") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("cannot be read as a key") from None
    if not isinstance(private, RSAPrivateKey | Ed25519PrivateKey):
        raise ValueError("is neither for RSA nor for Ed25519")
    return private


def _parsed(text: str) -> object:
    if "-----BEGIN" in text:
        return serialization.load_pem_private_key(text.encode(), password=None)
    raw = b64decode("".join(text.split()), validate=True)
    if len(raw) == _ED25519_BYTES:
        return Ed25519PrivateKey.from_private_bytes(raw)
    return serialization.load_der_private_key(raw, password=None)


def make_key(domain: str, selector: str, algorithm: DkimAlgorithm) -> SigningKey:
    """Return a new key."""
    private: PrivateKey
    private = generate_private_key(65537, RECOMMENDED) if algorithm == "rsa" else Ed25519PrivateKey.generate()
    return SigningKey(domain, selector, algorithm, private)


def private_pem(key: SigningKey) -> bytes:
    """Return the private key as its file holds it (PKCS #8, PEM)."""
    return key.private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def write_key(key: SigningKey, path: Path) -> None:
    """Write a private key into a new file that only its owner may read. Raise InputError when there is one already."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise InputError(f"{path} is there already", "a new key wants a new selector; nothing was changed") from None
    except OSError as error:
        raise InputError(f"{path} cannot be written", error.strerror or type(error).__name__) from None
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(private_pem(key))
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        path.unlink()
        raise InputError(f"{path} cannot be written", error.strerror or type(error).__name__) from None


def read_public_key(algorithm: str, published: str) -> PublicKey | None:
    """Return the key of a record's `k=` and `p=`, None for what is none."""
    try:
        raw = b64decode("".join(published.split()), validate=True)
        if algorithm == "ed25519":
            return Ed25519PublicKey.from_public_bytes(raw)
        public = serialization.load_der_public_key(raw)
    except (ValueError, UnsupportedAlgorithm):
        return None
    return public if isinstance(public, RSAPublicKey) else None


def as_texts(record: str) -> Iterator[str]:
    """Yield the pieces of a record that are written one after another in a zone file, each short enough for the DNS."""
    for start in range(0, len(record), _TEXT):
        yield record[start : start + _TEXT]


def _public_bytes(public: PublicKey) -> bytes:
    if isinstance(public, Ed25519PublicKey):  # RFC 8463 section 4: bare
        return public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
