"""C2SP tlog-policy: which logs, which witnesses, and how many of them must have cosigned a checkpoint.

Names are opaque octets, as the specification has it; here they are text in which every octet keeps its identity.

Source: c2sp.org/tlog-policy.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from grace_common.contract.errors import Refused
from grace_common.transparency.checkpoint import QuorumMissing, VerifiedCheckpoint, open_checkpoint
from grace_common.transparency.ed25519 import SignatureInvalid
from grace_common.transparency.note import Note, SignatureType, VerifierKey
from grace_common.transparency.strict import Malformed, decode_decimal

NONE: Final = "none"  # the quorum that needs no cosignature
_OCTETS: Final = re.compile(rb"[\t\n\x20-\x7e\x80-\xff]*")


@dataclass(frozen=True, slots=True)
class Group:
    """Members of which at least `threshold` must have witnessed a checkpoint for the group to have."""

    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """When a checkpoint is believed.

    logs       keys of type 01; none: the log is known from elsewhere
    witnesses  keys of type 04 by the names that the policy gives them
    groups     in the order of their definition: a group's members come before it
    quorum     name of a witness or a group, or `none`
    urls       submission prefixes, by the names of the witnesses that have one
    """

    logs: tuple[VerifierKey, ...]
    witnesses: Mapping[str, VerifierKey]
    groups: Mapping[str, Group]
    quorum: str
    urls: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, data: bytes) -> "Policy":
        """Return the policy of a file's bytes; raises Malformed, which names the line."""
        if not _OCTETS.fullmatch(data):
            raise Malformed("the policy contains a control character other than tab and newline")
        if data and not data.endswith(b"\n"):
            raise Malformed("the policy's last line does not end in a newline: is the file complete?")
        reading = _Reading()
        for number, line in enumerate(data.split(b"\n"), 1):
            words = [word.decode("utf-8", "surrogateescape") for word in line.split()]
            if words and not words[0].startswith("#"):
                try:
                    reading.take(words)
                except Refused as error:
                    raise Malformed(f"line {number} of the policy: {error}") from error
        return reading.policy()

    def open(self, signed: bytes, log_key: VerifierKey | Sequence[VerifierKey] | None = None) -> VerifiedCheckpoint:
        """Return the checkpoint of a signed note that a log of the policy signed and its quorum of witnesses cosigned.

        log_key  the log's key, or several, where they are known from elsewhere; those count that a policy lists which
                 lists any
        raises   Malformed, SignatureInvalid, QuorumMissing; Refused when neither the policy nor the caller names a log
        """
        keys = self._log(Note.parse(signed), log_key)
        verified = open_checkpoint(signed, keys, tuple(self.witnesses.values()))
        by_key = Note.parse(signed).verified_by
        cosigned = [name for name, witness in self.witnesses.items() if by_key([witness])]
        if not self.satisfied_by(cosigned):
            who = ", ".join(cosigned) or "none of its witnesses"
            raise QuorumMissing(f"the witness policy demands the quorum {self.quorum!r}; {who} cosigned")
        return verified

    def satisfied_by(self, cosigned: Iterable[str]) -> bool:
        """Return whether the quorum has witnessed what the witnesses of these names have cosigned."""
        if self.quorum == NONE:
            return True
        witnessed = set(cosigned)
        for name, group in self.groups.items():
            if len(witnessed.intersection(group.members)) >= group.threshold:
                witnessed.add(name)
        return self.quorum in witnessed

    def _log(self, note: Note, log_key: VerifierKey | Sequence[VerifierKey] | None) -> Sequence[VerifierKey]:
        """Return the keys of which one must have signed the note."""
        if log_key is not None:
            given = (log_key,) if isinstance(log_key, VerifierKey) else log_key
            listed = [key for key in given if not self.logs or key in self.logs]
            if not listed:
                named = " or ".join(map(str, given))
                raise SignatureInvalid(f"the log's key {named} is not one of those that the policy lists")
            return listed
        if not self.logs:
            raise Refused("the policy lists no log, and no log's key was given")
        origin, _, _ = note.text.partition("\n")
        signed_by = [
            key for key in self.logs if key.name == origin and any(line.is_by(key) for line in note.signatures)
        ]
        if not signed_by:
            raise SignatureInvalid(f"no log of the policy signed the checkpoint of {origin}")
        return signed_by


class _Reading:
    """A policy while its lines are read."""

    def __init__(self) -> None:
        self._logs: list[VerifierKey] = []
        self._witnesses: dict[str, VerifierKey] = {}
        self._urls: dict[str, str] = {}
        self._groups: dict[str, Group] = {}
        self._members: set[str] = set()  # each name may be a member of one group only
        self._quorum: str | None = None

    def take(self, words: list[str]) -> None:
        match words:
            case ["log", vkey] | ["log", vkey, _]:
                self._logs.append(self._new_key(vkey, SignatureType.ED25519, self._logs))
            case ["witness", name, vkey, *url] if len(url) <= 1:
                key = self._new_key(vkey, SignatureType.COSIGNATURE, self._witnesses.values())
                self._witnesses[self._new_name(name)] = key
                if url:
                    self._urls[name] = url[0]
            case ["group", name, threshold, *members] if members:
                self._groups[self._new_name(name)] = self._group(threshold, members)
            case ["quorum", name]:
                if self._quorum is not None:
                    raise Malformed("a second quorum")
                self._quorum = name if name == NONE else self._known(name)
            case _:
                raise Malformed(
                    f"{' '.join(words)!r} is none of `log <vkey> [<url>]`, `witness <name> <vkey> [<url>]`, "
                    "`group <name> all|any|<k> <name>...`, `quorum <name>|none`"
                )

    def policy(self) -> Policy:
        if self._quorum is None:
            raise Malformed("the policy has no quorum line")
        return Policy(tuple(self._logs), self._witnesses, self._groups, self._quorum, self._urls)

    def _group(self, threshold: str, members: list[str]) -> Group:
        for name in members:
            if self._known(name) in self._members:
                raise Malformed(f"{name!r} is a member already")
            self._members.add(name)
        counts = {"all": len(members), "any": 1}
        least = counts[threshold] if threshold in counts else decode_decimal(threshold, "the threshold")
        if not 1 <= least <= len(members):
            raise Malformed(f"a threshold of {least} among {len(members)} members")
        return Group(least, tuple(members))

    def _known(self, name: str) -> str:
        if name not in self._witnesses and name not in self._groups:
            raise Malformed(f"{name!r} is no witness or group defined before")
        return name

    def _new_name(self, name: str) -> str:
        if name == NONE or name in self._witnesses or name in self._groups:
            raise Malformed(f"the name {name!r} is taken")
        return name

    @staticmethod
    def _new_key(vkey: str, type: SignatureType, others: Iterable[VerifierKey]) -> VerifierKey:
        key = VerifierKey.parse(vkey)
        if key.type is not type:
            raise Malformed(f"the key {vkey} has the type {key.type:02x}; here it must be {type:02x}")
        if any(key.public_key == other.public_key for other in others):
            raise Malformed(f"the key {vkey} is listed already")
        return key
