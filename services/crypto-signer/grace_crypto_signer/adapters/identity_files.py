"""What a service is given at deployment: key.pem, cert.pem and ca.pem in a folder that only it can read."""

from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from grace_crypto_signer.adapters.sealing import write_private


def write(folder: Path, key: Ed25519PrivateKey, certificate: x509.Certificate, authority: x509.Certificate) -> None:
    """Write the three files, the certificate last: it is what tells that all are there."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(folder / "ca.pem", authority.public_bytes(Encoding.PEM))
    write_private(folder / "key.pem", key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    write_private(folder / "cert.pem", certificate.public_bytes(Encoding.PEM))


def read(folder: Path, authority: x509.Certificate) -> x509.Certificate | None:
    """Return the certificate in a folder, None unless all three files are there and belong together and to this CA."""
    try:
        key = load_pem_private_key((folder / "key.pem").read_bytes(), password=None)
        certificate = x509.load_pem_x509_certificate((folder / "cert.pem").read_bytes())
        given = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
        certificate.verify_directly_issued_by(authority)
    except (FileNotFoundError, ValueError, TypeError, InvalidSignature):
        return None
    return certificate if given == authority and key.public_key() == certificate.public_key() else None
