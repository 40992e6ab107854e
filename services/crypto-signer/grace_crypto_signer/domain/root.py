"""The root of trust: one secret of 32 bytes, from which its two key pairs derive.

The Ed25519 pair signs the public key directory. The X25519 pair is what the key-encryption key is sealed to, so that
whoever holds the root can open everything, while sealing anew (a rotated KEK) needs only the public half.
"""

from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from grace_common.contract.errors import Refused

from grace_crypto_signer.domain.keyring import SigningKey

ROOT_BYTES: Final = 32
SIGNING_INFO: Final = b"grace/root/v1|ed25519"
OPENING_INFO: Final = b"grace/root/v1|x25519"


@dataclass(frozen=True, slots=True)
class Root:
    """The root secret; on paper and in safes it exists as shares alone."""

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != ROOT_BYTES:
            raise Refused(f"the root secret has {len(self.secret)} bytes, expected {ROOT_BYTES}")

    @property
    def signing(self) -> SigningKey:
        """The key that signs the key directory; its id names the root."""
        return SigningKey.of(Ed25519PrivateKey.from_private_bytes(self._derive(SIGNING_INFO)))

    @property
    def opening(self) -> X25519PrivateKey:
        """The key that opens what was sealed to the root."""
        return X25519PrivateKey.from_private_bytes(self._derive(OPENING_INFO))

    def _derive(self, info: bytes) -> bytes:
        return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(self.secret)
