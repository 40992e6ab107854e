"""Ed25519 as the formats use it: signatures are made by a callable that is handed in, and checked here."""

from collections.abc import Callable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from grace_common.contract.errors import Refused

PUBLIC_KEY_BYTES = 32  # RFC 8032, section 5.1.5
SIGNATURE_BYTES = 64  # RFC 8032, section 5.1.6

Sign = Callable[[bytes], bytes]  # message to signature; whoever holds the private key gives it
Verify = Callable[[bytes, bytes, bytes, str], None]  # as `verify_signature`


class SignatureInvalid(Refused):
    """A signature that the key it names did not make, or none by a key that is known."""


def verify_signature(public_key: bytes, signature: bytes, message: bytes, what: str) -> None:
    """Return if the key made this signature over this message; raises SignatureInvalid, naming `what`."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError) as error:
        raise SignatureInvalid(f"the signature on {what} is not by the key it names") from error
