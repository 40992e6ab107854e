"""The key directory in a receipt: that it is the log's and the root's, and that it stands behind every key used.

The rules, for those who write their own verifier: docs/receipt-format.md, step 7.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from grace_common.contract.errors import Refused
from grace_common.transparency.directory import KeyDirectory, KeyPurpose, open_directory
from grace_common.transparency.dsse import DsseEnvelope
from grace_common.transparency.ed25519 import SignatureInvalid
from grace_common.transparency.note import VerifierKey
from grace_common.transparency.statement import key_id
from grace_common.transparency.strict import Malformed


@dataclass(frozen=True, slots=True)
class Use:
    """A signature that a receipt rests on: made at an index of the ledger, with a key for this purpose."""

    purpose: KeyPurpose
    key_id: str
    index: int


@dataclass(frozen=True, slots=True)
class ShownDirectory:
    """A signed directory that the ledger names in the entry at `index`, as the version `subject`."""

    index: int
    subject: str
    signed: bytes


@dataclass(frozen=True, slots=True)
class ProvenDirectory:
    """The directory that stands behind a receipt; `pinned` tells that the reader knew its root, or one before."""

    index: int
    directory: KeyDirectory
    pinned: bool

    @property
    def sentence(self) -> str:
        """Who says which keys are Grace's."""
        directory = self.directory
        known = (
            "which is the one you named or follows from it" if self.pinned else "which nobody vouches for but the log"
        )
        return (
            f"Version {directory.version} of the key directory of {directory.trust_domain}, issued at "
            f"{directory.issued} and entry {self.index} of the log, lists all these keys; "
            f"the root {key_id(directory.root)} signed it, {known}."
        )

    def must_list(self, uses: Iterable[Use], log_key: VerifierKey, at: datetime) -> None:
        """Raise Refused unless every key used is listed, and had not ended.

        log_key  that the checkpoint is signed with: in use at `at`
        at       the latest time that the receipt shows, by which the directory must not have expired
        """
        self.directory.require_current(at)
        version = f"version {self.directory.version} of the key directory"
        logs = [key for key in self.directory.of("log", at) if key.name == log_key.name]
        if not any(key.public_key == log_key.public_key for key in logs):
            raise Refused(f"the log's key is none that {version} lists as in use at {at.isoformat()}")
        listed = {(key.purpose, key.key_id): key for key in self.directory.keys}
        for use in uses:
            key = listed.get((use.purpose, use.key_id))
            if key is None:
                raise Refused(
                    f"the {use.purpose} key {use.key_id}, which signed entry {use.index}, is not in {version}"
                )
            if key.not_after is not None and use.index > self.index:
                raise Refused(
                    f"the {use.purpose} key {use.key_id} signed entry {use.index}, after {version} had ended it"
                )


def prove_directory(shown: Sequence[ShownDirectory], version: int, root_key: bytes | None) -> ProvenDirectory:
    """Return the last directory shown, once it is of this version and its root signed it.

    shown     in the ledger's order: it, and those before it by which the root was replaced
    root_key  32 raw bytes that the reader trusts; one of those shown must be signed with it. None: any root
    raises    Refused, Malformed, SignatureInvalid
    """
    trusted, found, before = root_key, None, 0
    for each in shown:
        directory = KeyDirectory.parse(DsseEnvelope.parse(each.signed).payload)
        open_directory(each.signed, directory.root)
        if str(directory.version) != each.subject or directory.version <= before:
            raise Refused(f"entry {each.index} names version {each.subject} of the key directory, not the next shown")
        before = directory.version
        try:
            open_directory(each.signed, trusted if trusted is not None else directory.root)
        except SignatureInvalid:
            if found is not None:
                raise
            continue  # of a time before the root that the reader knows
        trusted, found = directory.root, ProvenDirectory(each.index, directory, root_key is not None)
    if before == 0 or before != version:
        raise Refused(f"the receipt does not show version {version} of the key directory")
    if found is None:
        raise Refused("the key directory is not signed by the root that you named, nor by one that follows from it")
    return found


def time_of(text: str) -> datetime:
    """Return the moment of a statement's `when`; raises Malformed for a day or an hour that does not exist."""
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise Malformed(f"the time {text!r} does not exist: {error}") from error
