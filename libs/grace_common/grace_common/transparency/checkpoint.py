"""C2SP tlog-checkpoint: the size and root of a log's tree, signed by the log and cosigned by witnesses.

Grace adds two extension lines: `grace-ca sha256:<hex>` names the CA key under which the log's statements are signed,
so that the log's key alone anchors a receipt, and `grace-previous sha256:<hex>` names the checkpoint before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from grace_common.contract.errors import Refused
from grace_common.transparency.ed25519 import Sign, SignatureInvalid
from grace_common.transparency.merkle import HASH_BYTES
from grace_common.transparency.note import Note, SignatureType, VerifierKey, cosignature_time_s, sign_note
from grace_common.transparency.strict import Malformed, decode_base64, decode_decimal, encode_base64

CA_EXTENSION: Final = "grace-ca"
PREVIOUS_EXTENSION: Final = "grace-previous"


class QuorumMissing(Refused):
    """Fewer witnesses than the policy demands have cosigned the checkpoint."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log says of its tree.

    origin      the log's identity, which is also the name of its key
    extensions  further lines, opaque to other tools
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.origin or self.size < 0 or len(self.root) != HASH_BYTES:
            raise Malformed(f"origin {self.origin!r}, size {self.size} and {len(self.root)} bytes are no checkpoint")
        if any(not line or "\n" in line for line in (self.origin, *self.extensions)):
            raise Malformed("a line of the checkpoint is empty or broken")

    @property
    def text(self) -> str:
        """The note text that is signed."""
        lines = (self.origin, str(self.size), encode_base64(self.root), *self.extensions)
        return "".join(line + "\n" for line in lines)

    @property
    def digest(self) -> str:
        """`sha256:<hex>` of the note text, by which the next checkpoint names this one."""
        return f"sha256:{sha256(self.text.encode()).hexdigest()}"

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        """Return the checkpoint of a note's text; raises Malformed."""
        lines = text.split("\n")
        if len(lines) < 4 or lines.pop() != "":
            raise Malformed("a checkpoint has three lines at least: origin, size and root")
        root = decode_base64(lines[2], "the checkpoint's root", HASH_BYTES)
        return cls(lines[0], decode_decimal(lines[1], "the checkpoint's size"), root, tuple(lines[3:]))

    def values(self, extension: str) -> list[str]:
        """Return what the extension lines of this name say."""
        return [line.removeprefix(extension + " ") for line in self.extensions if line.startswith(extension + " ")]

    def names_ca(self, public_key: bytes) -> bool:
        """Return whether the log vouches for this CA key."""
        return f"sha256:{sha256(public_key).hexdigest()}" in self.values(CA_EXTENSION)


def ca_extension(public_key: bytes) -> str:
    """Return the extension line that names a CA key, 32 raw bytes."""
    return f"{CA_EXTENSION} sha256:{sha256(public_key).hexdigest()}"


def ca_extensions(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Return the extension lines of a checkpoint that name CA keys."""
    return tuple(line for line in checkpoint.extensions if line.startswith(f"{CA_EXTENSION} "))


def previous_extension(previous: Checkpoint) -> str:
    """Return the extension line that names the checkpoint before."""
    return f"{PREVIOUS_EXTENSION} {previous.digest}"


def sign_checkpoint(checkpoint: Checkpoint, key: VerifierKey, sign: Sign, *others: tuple[VerifierKey, Sign]) -> bytes:
    """Return the signed note; raises Refused when a key's name is not the origin.

    others  keys that sign as well, such as the one before while the log's key is replaced
    """
    signers = ((key, sign), *others)
    for each, _ in signers:
        if each.name != checkpoint.origin:
            raise Refused(f"the key {each.name} signs for another origin than {checkpoint.origin}")
    return Note(checkpoint.text, tuple(sign_note(checkpoint.text, *signer) for signer in signers)).encode()


@dataclass(frozen=True, slots=True)
class Cosigner:
    """A witness that saw the tree, and when, in POSIX seconds."""

    name: str
    time_s: int


@dataclass(frozen=True, slots=True)
class VerifiedCheckpoint:
    """A checkpoint whose log signature, and whose cosigners' signatures, were verified.

    signers  those of the log's keys, in the order they were given, that signed it
    """

    checkpoint: Checkpoint
    cosigners: tuple[Cosigner, ...]
    signers: tuple[VerifierKey, ...] = ()


def open_checkpoint(
    signed: bytes,
    log_key: VerifierKey | Sequence[VerifierKey],
    witnesses: Sequence[VerifierKey] = (),
    quorum: int = 0,
) -> VerifiedCheckpoint:
    """Return the checkpoint of a signed note that the log signed and at least `quorum` of the witnesses cosigned.

    log_key    the log's key; or several of one origin, each of which had its time, and any of which is enough
    witnesses  keys of type 04; signature lines of other keys are passed over
    raises     Malformed, SignatureInvalid, QuorumMissing; Refused for keys of the wrong type
    """
    keys = (log_key,) if isinstance(log_key, VerifierKey) else tuple(log_key)
    for key in keys:
        if key.type is not SignatureType.ED25519:
            raise Refused(f"the log's key {key} is of another type than 01")
    if any(witness.type is not SignatureType.COSIGNATURE for witness in witnesses):
        raise Refused("a witness's key is of another type than 04")
    note = Note.parse(signed)
    checkpoint = Checkpoint.parse(note.text)
    named = [key for key in keys if key.name == checkpoint.origin]
    if not named:
        names = ", ".join(sorted({key.name for key in keys})) or "nobody"
        raise SignatureInvalid(f"the checkpoint is of {checkpoint.origin}; the key given is that of {names}")
    signers = tuple(key for key in named if note.verified_by([key]))
    if not signers:
        raise SignatureInvalid(f"the checkpoint has no signature by {' or '.join(map(str, named))}")
    cosigners = tuple(Cosigner(line.name, cosignature_time_s(line)) for line in note.verified_by(witnesses))
    seen_by = {cosigner.name for cosigner in cosigners}
    if len(seen_by) < quorum:
        raise QuorumMissing(f"{len(seen_by)} of the {quorum} witnesses that the policy demands cosigned")
    return VerifiedCheckpoint(checkpoint, cosigners, signers)
