"""C2SP tlog-witness: what a witness is asked to cosign, and the rule by which it does.

A witness remembers of each log, named by its origin, the newest tree that it cosigned. It cosigns a checkpoint only if
a consistency proof leads there from that tree, so that whoever demands its cosignature sees one history of the log.
Everything here is pure: whoever calls keeps what was cosigned, durably, before anybody gets to see the cosignature.

Source: c2sp.org/tlog-witness, c2sp.org/tlog-cosignature.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from grace_common.contract.errors import Refused
from grace_common.transparency import merkle
from grace_common.transparency.checkpoint import Checkpoint
from grace_common.transparency.ed25519 import Sign, SignatureInvalid
from grace_common.transparency.merkle import EMPTY_ROOT, HASH_BYTES
from grace_common.transparency.note import Note, NoteSignature, SignatureType, VerifierKey, cosign
from grace_common.transparency.strict import Malformed, decode_base64, decode_decimal, encode_base64
from grace_common.transparency.tile import TileReader, TreeReader

MAX_PROOF_LINES: Final = 63
SIZE_CONTENT_TYPE: Final = "text/x.tlog.size"  # of the answer that tells the size of a conflict
LARGEST_ANSWER: Final = 64 * 1024  # bytes of an answer that are read; a cosignature's line has some 150
_ATTEMPTS: Final = 4  # others may submit newer checkpoints between an answer and the next request


class OriginUnknown(Refused):
    """A checkpoint of a log that this witness does not watch."""


class SizeConflict(Refused):
    """The submission begins at another size than the newest cosigned checkpoint, whose size is `size`."""

    def __init__(self, origin: str, old_size: int, size: int) -> None:
        super().__init__(f"of {origin} a tree of {size} leaves was cosigned last; the proof begins at {old_size}")
        self.size = size


class WitnessDeclined(Refused):
    """A witness that was asked for its cosignature did not give it."""


class LogDisputed(WitnessDeclined):
    """A witness has seen another history of the log, or a later one: the log forked, or was set back."""


@dataclass(frozen=True, slots=True)
class Submission:
    """The body of an `add-checkpoint` request.

    old_size    size of the newest checkpoint that the witness cosigned, 0 when it has cosigned none
    proof       consistency proof from that tree to the checkpoint's, at most 63 hashes of 32 bytes
    checkpoint  the signed note, verbatim
    """

    old_size: int
    proof: tuple[bytes, ...]
    checkpoint: bytes

    def encode(self) -> bytes:
        """Return the request's body."""
        lines = [f"old {self.old_size}", *map(encode_base64, self.proof)]
        return "".join(line + "\n" for line in lines).encode() + b"\n" + self.checkpoint

    @classmethod
    def parse(cls, body: bytes) -> "Submission":
        """Return the submission of a body, nothing of it verified; raises Malformed."""
        head, blank, checkpoint = body.partition(b"\n\n")
        try:
            lines = head.decode("ascii").split("\n")
        except UnicodeDecodeError as error:
            raise Malformed("the lines before the checkpoint are not ASCII") from error
        if not blank or not lines[0].startswith("old "):
            raise Malformed("the body does not begin with `old <size>`, proof lines and a blank line")
        if len(lines) - 1 > MAX_PROOF_LINES:
            raise Malformed(f"the consistency proof has {len(lines) - 1} lines; at most {MAX_PROOF_LINES} are allowed")
        old_size = decode_decimal(lines[0].removeprefix("old "), "the old size")
        proof = tuple(decode_base64(line, "a hash of the proof", HASH_BYTES) for line in lines[1:])
        return cls(old_size, proof, checkpoint)


@dataclass(frozen=True, slots=True)
class Seen:
    """The newest tree of a log that a witness cosigned; before the first it is the empty tree."""

    size: int = 0
    root: bytes = EMPTY_ROOT

    @classmethod
    def of(cls, cosigned: Note) -> "Seen":
        """Return the tree of a cosigned checkpoint; raises Malformed."""
        checkpoint = Checkpoint.parse(cosigned.text)
        return cls(checkpoint.size, checkpoint.root)


@dataclass(frozen=True, slots=True)
class SignedTree:
    """A checkpoint whose log's signature was verified; `note` has the verified signature lines and no others.

    signers  the trusted keys that signed it, in the order they were given
    """

    checkpoint: Checkpoint
    note: Note
    signers: tuple[VerifierKey, ...] = ()

    @property
    def seen(self) -> Seen:
        """What the witness remembers once it has cosigned this."""
        return Seen(self.checkpoint.size, self.checkpoint.root)

    def cosigned(self, key: VerifierKey, sign: Sign, time_s: int) -> tuple[NoteSignature, Note]:
        """Return the witness's signature line and the checkpoint with it; only after `check_growth`, never before.

        time_s  POSIX seconds, at least 1
        raises  Refused for a key of another type than 04
        """
        if time_s < 1:
            raise Refused("a cosignature of a checkpoint states a time, and 0 states none")
        line = cosign(self.note.text, key, sign, time_s)
        return line, self.note.with_signature(line)


def open_signed(note: bytes, logs: Sequence[VerifierKey]) -> SignedTree:
    """Return a checkpoint that is signed with a key trusted for its origin.

    logs    keys of type 01, each named as its log's origin; one origin may have several
    raises  Malformed; OriginUnknown; SignatureInvalid when no such key signed, or a line that names one does not verify
    """
    opened = Note.parse(note)
    checkpoint = Checkpoint.parse(opened.text)
    trusted = [key for key in logs if key.name == checkpoint.origin and key.type is SignatureType.ED25519]
    if not trusted:
        raise OriginUnknown(f"{checkpoint.origin} is no log that this witness watches")
    by_trusted = [(line, key) for line in opened.signatures for key in trusted if line.is_by(key)]
    for line, key in by_trusted:  # every one of them: a line that names a known key and is wrong spoils the note
        Note(opened.text, (line,)).verified_by([key])
    if not by_trusted:
        raise SignatureInvalid(f"no key that is trusted for {checkpoint.origin} signed the checkpoint")
    signers = tuple(key for key in trusted if any(key == by for _, by in by_trusted))
    return SignedTree(checkpoint, Note(opened.text, tuple(dict.fromkeys(line for line, _ in by_trusted))), signers)


def succeed(tree: SignedTree, keys: Sequence[VerifierKey], trusted: VerifierKey | None) -> VerifierKey:
    """Return the key that is trusted once this checkpoint is cosigned: the newest that signed it.

    A key is succeeded by one that signs beside it. So what the next key alone signs is refused before that, and what
    the one before alone signs is refused afterwards.

    keys     of the log, the newest last, as somebody vouches for them who is not the log
    trusted  the one that counted until now; None when nothing was cosigned yet, or its key is not vouched for any more
    raises   SignatureInvalid when `trusted` did not sign the checkpoint
    """
    if trusted is not None and trusted not in tree.signers:
        raise SignatureInvalid(
            f"the checkpoint is not signed with {trusted}, as the one that was cosigned last: the log's key may be "
            "succeeded by one that signs beside it, never by one that signs alone"
        )
    order = list(keys)
    after = order[order.index(trusted) :] if trusted in order else order
    newest = [key for key in after if key in tree.signers]
    return newest[-1] if newest else tree.signers[-1]


def trusted_since(keys: Sequence[VerifierKey], cosigned: Note) -> VerifierKey | None:
    """Return the newest of these keys, of which the newest is last, that signed what was cosigned last."""
    signed = [key for key in keys if any(line.is_by(key) for line in cosigned.signatures)]
    return signed[-1] if signed else None


def check_growth(submission: Submission, tree: SignedTree, seen: Seen) -> None:
    """Return if the submitted tree continues the one that was cosigned last.

    raises  Malformed when the old size is above the checkpoint's, SizeConflict when it is not that of `seen`,
            ProofInvalid when the proof does not lead from `seen` to the checkpoint's root
    """
    origin, size = tree.checkpoint.origin, tree.checkpoint.size
    if submission.old_size > size:
        raise Malformed(f"the old size {submission.old_size} is above the checkpoint's size {size}")
    if submission.old_size != seen.size:
        raise SizeConflict(origin, submission.old_size, seen.size)
    merkle.verify_consistency(seen.size, size, seen.root, tree.checkpoint.root, submission.proof)


def submission_from_tiles(reader: TileReader, note: bytes, old_size: int) -> Submission:
    """Return what to submit for a checkpoint: its consistency proof is made from the log's own tiles.

    old_size  of the witness's newest checkpoint of this log
    raises    Malformed for the note; Refused when its tree is smaller than old_size; Unready for a missing tile,
              ProofInvalid when the tiles do not lead to the checkpoint's root
    """
    checkpoint = Checkpoint.parse(Note.parse(note).text)
    tree = TreeReader(reader, checkpoint.size, checkpoint.root)
    return Submission(old_size, tuple(tree.consistency_proof(old_size)), note)


class Request:
    """One checkpoint and one witness that is asked to cosign it: what to send, and what each answer means.

    log       with the tiles from which consistency proofs are made
    keys      the witness's, of type 04, from a place that is trusted
    old_size  of the newest tree that the witness cosigned, as far as known: it tells where that is wrong
    """

    def __init__(self, log: TileReader, note: bytes, keys: Sequence[VerifierKey], old_size: int = 0) -> None:
        self._log = log
        self._note = note
        self._keys = keys
        self._left = _ATTEMPTS
        self.size = Checkpoint.parse(Note.parse(note).text).size
        self.old_size = old_size if old_size <= self.size else 0

    def body(self) -> bytes:
        """Return what to post to `<prefix>/add-checkpoint`; raises as `submission_from_tiles`."""
        self._left -= 1
        return submission_from_tiles(self._log, self._note, self.old_size).encode()

    def answered(self, status: int, content_type: str | None, answer: bytes) -> list[NoteSignature] | None:
        """Return the verified lines of these keys, None to ask once more from the size that the witness told.

        raises  LogDisputed, WitnessDeclined; Malformed, SignatureInvalid for what is no cosignature
        """
        answer = answer[:LARGEST_ANSWER]
        if status == 409 and self._left:
            self.old_size = self._told(content_type, answer)
            return None
        if status != 200:
            said = answer[:500].decode("utf-8", "replace").strip()
            raise (LogDisputed if status == 422 else WitnessDeclined)(f"answers {status}: {said}")
        lines = Note.parse(Note.parse(self._note).text.encode() + b"\n" + answer).verified_by(self._keys)
        if not lines:
            raise WitnessDeclined("cosigned with none of the given keys")
        return lines

    def _told(self, content_type: str | None, answer: bytes) -> int:
        if content_type != SIZE_CONTENT_TYPE:
            raise WitnessDeclined("answers 409 without its size")
        try:
            told = decode_decimal(answer.decode("utf-8", "replace").removesuffix("\n"), "the size")
        except Malformed as error:
            raise WitnessDeclined(f"answers 409 without its size: {error}") from error
        if told > self.size:
            raise LogDisputed(
                f"has cosigned a tree of {told} entries of this log, which now shows {self.size}: the log was set "
                "back, or shows different people different states"
            )
        return told


def origin_hash(origin: str) -> str:
    """Return the name under which a witness serves its newest checkpoint of a log: lower-case hex of SHA-256."""
    return sha256(origin.encode()).hexdigest()
