"""`grace producers`: outside programs that may produce to `grace.intake.v1`."""

import base64
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from grace_cli.errors import CliError, Exit
from grace_cli.options import AsJson, AsUser, print_json

if TYPE_CHECKING:
    from grace_cli.client import Gateway

CERTIFIED_WITHIN: Final = 60  # looks, with growing pauses: the signer certifies within a second or so
PREFIX: Final = "producer/"
KEY_BYTES: Final = 32


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(no_args_is_help=True, help="Outside Kafka producers: enrol, list, revoke.")
    group.command()(enrol)
    group.command("list")(list_producers)
    group.command()(revoke)
    app.add_typer(group, name="producers")


def enrol(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits and hyphens.")],
    public_key: Annotated[Path | None, typer.Option(help="Its Ed25519 public key: PEM, raw or base64.")] = None,
    generate: Annotated[Path | None, typer.Option(help="Make a key pair in this folder instead.")] = None,
    role: Annotated[list[str] | None, typer.Option(help="What it may do; requester without it. Repeatable.")] = None,
    days: Annotated[int, typer.Option(min=1, max=3650, help="How long its certificate is valid.")] = 90,
    as_user: AsUser = None,
    as_json: AsJson = False,
) -> None:
    """Enrol a producer; waits until its key is certified."""
    from grace_cli.access import OPERATOR
    from grace_cli.client import connect

    if (public_key is None) == (generate is None):
        raise CliError("name a key", "--public-key FILE for one that exists, --generate DIR for a new one", Exit.USAGE)
    raw = read_public_key(public_key) if public_key is not None else generate_key(generate or Path())
    wanted = {
        "name": name,
        "public_key": base64.b64encode(raw).decode(),
        "roles": role or ["requester"],
        "valid_until": (datetime.now(UTC) + timedelta(days=days)).isoformat(),
    }
    with connect(as_user, OPERATOR) as gateway:
        gateway.post("/api/keys/producers", wanted)
        certificate = _certified(gateway, PREFIX + name, raw)
    if generate is not None:
        (generate / "cert.pem").write_text(_pem("CERTIFICATE", certificate["certificate"]))
        (generate / "key-id").write_text(certificate["key_id"] + "\n")
    if as_json:
        print_json(certificate)
        return
    print(f"{name} is enrolled with the key {certificate['key_id']} until {certificate['not_after']}")
    if generate is not None:
        print(f"  private key  {generate / 'key.pem'} (mode 0600; Grace has no copy)")
        print(f"  certificate  {generate / 'cert.pem'}")


def list_producers(as_user: AsUser = None, as_json: AsJson = False) -> None:
    """List the producers' keys, revoked ones included."""
    from grace_cli.access import OPERATOR
    from grace_cli.client import connect
    from grace_cli.tables import print_table

    with connect(as_user, OPERATOR) as gateway:
        items = [key for key in gateway.get("/api/keys")["items"] if key["subject"].startswith(PREFIX)]
    if as_json:
        print_json({"items": items})
        return
    print_table(
        ("producer", "key id", "roles", "valid until", "revoked"),
        (
            (i["subject"].removeprefix(PREFIX), i["key_id"], " ".join(i["roles"]), i["not_after"], i["revoked_at"])
            for i in items
        ),
        nothing="no producer is enrolled; enrol one: grace producers enrol NAME --generate DIR",
    )


def revoke(
    name: Annotated[str, typer.Argument(help="The producer.")],
    reason: Annotated[str, typer.Option(help="Why; kept in the ledger.")],
    as_user: AsUser = None,
    as_json: AsJson = False,
) -> None:
    """Withdraw every key of a producer: whatever they seal from now on is refused."""
    from grace_cli.access import OPERATOR
    from grace_cli.client import connect

    with connect(as_user, OPERATOR) as gateway:
        keys = gateway.get("/api/keys", subject=PREFIX + name)["items"]
        revoked = [key["key_id"] for key in keys if key["revoked_at"] is None]
        if not revoked:
            raise CliError(f"{name} has no key that could be revoked", "see: grace producers list", Exit.REFUSED)
        for key_id in revoked:
            gateway.post(f"/api/keys/{key_id}/revocation", {"reason": reason})
    if as_json:
        print_json({"revoked": revoked})
    else:
        print(f"revocation of {', '.join(revoked)} is stated")


def read_public_key(path: Path) -> bytes:
    """Return the 32 raw bytes of an Ed25519 public key in a file: PEM, raw, or base64 of the raw bytes.

    raises  CliError when it holds none
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        content = path.read_bytes()
        if content.lstrip().startswith(b"-----BEGIN"):
            key = load_pem_public_key(content)
            if isinstance(key, Ed25519PublicKey):
                return key.public_bytes_raw()
        elif len(content) == KEY_BYTES:
            return content
        elif len(raw := base64.b64decode(content.strip(), validate=True)) == KEY_BYTES:
            return raw
    except (OSError, ValueError) as error:
        raise CliError(f"{path} cannot be read as a public key: {error}", _KEY_ADVICE, Exit.USAGE) from error
    raise CliError(f"{path} holds no Ed25519 public key", _KEY_ADVICE, Exit.USAGE)


_KEY_ADVICE: Final = "expected Ed25519 in PEM, 32 raw bytes, or their base64; --generate DIR makes a pair"


def generate_key(folder: Path) -> bytes:
    """Make a key pair in a folder (`key.pem`, mode 0600); return the raw public key.

    raises  CliError when there is a key already, or the folder cannot be written
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(folder / "key.pem", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(pem)
    except OSError as error:
        raise CliError(f"no key can be made in {folder}: {error.strerror}", "name a new folder", Exit.USAGE) from error
    return key.public_key().public_bytes_raw()


def _certified(gateway: "Gateway", subject: str, raw: bytes) -> dict[str, Any]:
    """Return the certificate of a key once the crypto-signer has issued it."""
    from grace_common.transparency.statement import key_id

    wanted = key_id(raw)
    for look in range(CERTIFIED_WITHIN):
        for key in gateway.get("/api/keys", subject=subject)["items"]:
            if key["key_id"] == wanted:
                found: dict[str, Any] = key
                return found
        gateway.pause(min(0.05 * 1.5**look, 2.0))
    raise CliError(
        f"{subject} is enrolled, and its key {wanted} is not certified yet",
        "look again: grace producers list; see `grace status` for the crypto-signer",
        Exit.NOT_READY,
    )


def _pem(label: str, encoded: str) -> str:
    lines = [encoded[start : start + 64] for start in range(0, len(encoded), 64)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""])
