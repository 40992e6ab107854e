"""What the state folder says of the root: its public half and who holds shares (`root.json`), and, until the shares
were handed out, the root itself under the key-encryption key (`root.sealed.json`)."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from grace_common.contract.errors import Refused
from grace_common.runtime.root_seal import open_with_root, seal_to_root
from grace_common.transparency.statement import key_id

from grace_crypto_signer.adapters.sealing import (
    KeyEncryptionKey,
    drafts,
    octets,
    parse_sealed,
    pretty,
    read_file,
    read_if_there,
    text,
    write_private,
)
from grace_crypto_signer.adapters.share_files import HeldShare, SplitRoot, combine_shares
from grace_crypto_signer.domain.root import ROOT_BYTES, Root
from grace_crypto_signer.ports import Kek

VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class PublicRoot:
    """The root as everybody may know it.

    splits  who was handed a share in which split, by the split's number, with SHA-256 of each share; the newest last
    """

    public_key: bytes
    opening_key: bytes
    made_at: datetime
    splits: Mapping[int, Sequence[Mapping[str, Any]]]

    @property
    def id(self) -> str:
        return key_id(self.public_key)

    def seal(self, secret: bytes, what: str) -> bytes:
        """Return a secret sealed to the root (HPKE); `what` is bound to it."""
        return seal_to_root(secret, self.opening_key, self.id, what)

    def open(self, root: Root, sealed: bytes, what: str) -> bytes:
        """Return what was sealed to the root; raises Refused."""
        return open_with_root(sealed, root.opening, self.id, what)

    def combine(self, shares: Sequence[HeldShare]) -> Root:
        """Return the root that the shares make; raises Refused, as `combine_shares`."""
        return combine_shares(shares, self.id, self.splits)


def public_file(folder: Path) -> Path:
    return folder / "root.json"


def sealed_file(folder: Path) -> Path:
    return folder / "root.sealed.json"


def next_file(folder: Path) -> Path:
    """Return where the next root waits until the one before has signed the change."""
    return folder / "root.next.sealed.json"


def make(folder: Path, kek: KeyEncryptionKey, now: datetime) -> PublicRoot:
    """Make a root, and keep it under the key-encryption key until its shares are handed out."""
    root = Root(secrets.token_bytes(ROOT_BYTES))
    public = public_of(root, now)
    keep(folder, kek, root)
    write_public(folder, public)  # last: it is what tells that there is a root
    return public


def prepare(folder: Path, kek: KeyEncryptionKey) -> Root:
    """Return the next root, which waits under the key-encryption key; made when none waits."""
    root = waiting(folder, kek)
    if root is None:
        root = Root(secrets.token_bytes(ROOT_BYTES))
        _keep(next_file(folder), kek, root)
    return root


def waiting(folder: Path, kek: Kek) -> Root | None:
    """Return the next root while one waits; raises Refused."""
    return _load(next_file(folder), kek)


def public_of(root: Root, now: datetime) -> PublicRoot:
    """Return what everybody may know of a root that nobody holds a share of yet."""
    return PublicRoot(root.signing.public_key, root.opening.public_key().public_bytes_raw(), now, {})


def succeed(folder: Path, public: PublicRoot) -> None:
    """Put the root that was prepared in place of the one there is; `public` is its public half."""
    write_public(folder, public)
    next_file(folder).replace(sealed_file(folder))


def keep(folder: Path, kek: KeyEncryptionKey, root: Root) -> None:
    """Write the root under the key-encryption key."""
    _keep(sealed_file(folder), kek, root)


def _keep(file: Path, kek: KeyEncryptionKey, root: Root) -> None:
    nonce, sealed = kek.seal(root.secret, _name(root.signing.key_id))
    stored = {
        "version": VERSION,
        "id": root.signing.key_id,
        "kek": kek.id,
        "nonce": text(nonce),
        "sealed": text(sealed),
    }
    write_private(file, pretty(stored))


def load(folder: Path, kek: Kek) -> Root | None:
    """Return the root while it is kept in the folder, None once it exists as shares alone; raises Refused."""
    return _load(sealed_file(folder), kek)


def _load(file: Path, kek: Kek) -> Root | None:
    data = read_if_there(file)
    if data is None:
        return None
    stored = parse_sealed(data, str(file), VERSION)
    try:
        sealing = kek.under(stored["kek"])
        if sealing is None:
            raise Refused(f"{file} is sealed under the key-encryption key {stored['kek']}, this one is {kek.id}")
        return Root(sealing.open(octets(stored["nonce"]), octets(stored["sealed"]), _name(stored["id"])))
    except (KeyError, TypeError, ValueError) as error:
        raise Refused(f"{file} is no sealed root: {type(error).__name__}: {error}") from error


def write_public(folder: Path, public: PublicRoot) -> None:
    """Write `root.json`."""
    stored = {
        "version": VERSION,
        "id": public.id,
        "public_key": text(public.public_key),
        "opening_key": text(public.opening_key),
        "made_at": public.made_at.isoformat(),
        "splits": [{"split": split, "shares": list(shares)} for split, shares in public.splits.items()],
    }
    write_private(public_file(folder), pretty(stored))


def read_public(folder: Path) -> PublicRoot:
    """Return what `root.json` says; raises Refused."""
    return parse_public(read_file(public_file(folder)), str(public_file(folder)))


def parse_public(data: bytes, name: str) -> PublicRoot:
    """Return what the bytes of a `root.json` say; raises Refused, which calls them `name`."""
    stored = parse_sealed(data, name, VERSION)
    try:
        splits = {int(one["split"]): tuple(one["shares"]) for one in stored["splits"]}
        public_key, opening_key = octets(stored["public_key"]), octets(stored["opening_key"])
        X25519PublicKey.from_public_bytes(opening_key)
        public = PublicRoot(public_key, opening_key, datetime.fromisoformat(stored["made_at"]), splits)
        if stored["id"] != public.id:
            raise Refused(f"{name} calls the root {stored['id']}, and its key is {public.id}")
    except (KeyError, TypeError, ValueError) as error:
        raise Refused(f"{name} does not describe a root: {type(error).__name__}: {error}") from error
    return public


def record_split(folder: Path, split: SplitRoot) -> PublicRoot:
    """Write down who holds a share, and take the root itself out of the folder."""
    public = read_public(folder)
    known = PublicRoot(
        public.public_key, public.opening_key, public.made_at, {**public.splits, split.split: split.commitments}
    )
    write_public(folder, known)
    for file in (sealed_file(folder), *drafts(sealed_file(folder))):
        file.unlink(missing_ok=True)
    return known


def _name(id_: str) -> str:
    return f"grace/root/v{VERSION}|{id_}"
