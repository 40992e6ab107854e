"""What a service is given at deployment: key.pem, cert.pem and the files of the CAs, in a folder that only it reads."""

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from grace_common.runtime.identity import ENDED_FILE, HELD_FILE, Authorities

from grace_crypto_signer.adapters.sealing import write_private


def write(folder: Path, key: Ed25519PrivateKey, certificate: x509.Certificate, authorities: Authorities) -> None:
    """Write all files, the certificate last: it is what tells that all are there."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_authorities(folder, authorities)
    write_private(folder / "key.pem", key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    write_certificate(folder, certificate)


def write_authorities(folder: Path, authorities: Authorities) -> None:
    """Write which CAs there are, what differs of it; a CA that ends is named as such before it is named no more."""
    for name, content in ((ENDED_FILE, authorities.ended_pem), (HELD_FILE, authorities.held_pem)):
        file = folder / name
        if (file.read_bytes() if file.exists() else b"") != content:
            write_private(file, content)


def write_certificate(folder: Path, certificate: x509.Certificate) -> None:
    """Write the certificate alone, of the key that is there."""
    write_private(folder / "cert.pem", certificate.public_bytes(Encoding.PEM))


def certificate(folder: Path, authorities: Authorities) -> x509.Certificate | None:
    """Return the certificate in a folder; None unless it is there, whole, and of a CA that counts. Reads no key."""
    try:
        found = x509.load_pem_x509_certificate((folder / "cert.pem").read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return found if authorities.issuer_of(found) is not None else None


def read(folder: Path, authorities: Authorities) -> x509.Certificate | None:
    """Return the certificate in a folder as `certificate` does; None as well unless it belongs to the key there."""
    try:
        key = load_pem_private_key((folder / "key.pem").read_bytes(), password=None)
    except (FileNotFoundError, ValueError, TypeError):
        return None
    found = certificate(folder, authorities)
    return found if found is not None and key.public_key() == found.public_key() else None
