"""The root secret as shares: Shamir's scheme in the words of SLIP-39, each share sealed by its holder's passphrase.

A share file says in the clear whose it is, of which root and which split; all of that is associated data of the seal.
What it seals is one SLIP-39 mnemonic, which can be kept on paper as well and read by any tool for SLIP-39.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

from grace_common.contract.errors import Refused
from shamir_mnemonic import MnemonicError, Share, combine_mnemonics, generate_mnemonics

from grace_crypto_signer.adapters.sealing import open_by_passphrase, parse_sealed, pretty, seal_by_passphrase
from grace_crypto_signer.domain.root import Root

VERSION: Final = 1
THRESHOLD: Final = 3
MOST_SHARES: Final = 16  # SLIP-39
SHARE_COST: Final = {"n": 1 << 17, "r": 8, "p": 1}  # 128 MiB; OWASP's first choice, for what lies in drawers for years
_KIND: Final = "grace-root-share"
_CLEAR: Final = ("root", "split", "index", "threshold", "of", "holder")


@dataclass(frozen=True, slots=True)
class HeldShare:
    """A share as its holder brings it: the file's bytes, how it is called in errors, the passphrase."""

    name: str
    data: bytes
    passphrase: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SplitRoot:
    """What a split leaves behind. `commitments` tell a wrong share from a right one, and nothing of its content.

    files        by file name, one share each
    commitments  SHA-256 of each mnemonic (256 bits of it are random), with index and holder
    """

    split: int
    files: Mapping[str, bytes] = field(repr=False)
    commitments: tuple[Mapping[str, Any], ...]


def split_root(
    root: Root,
    holders: Sequence[tuple[str, bytes]],
    cost: Mapping[str, int] = SHARE_COST,
) -> SplitRoot:
    """Return a share for each holder, any three of which make the root again.

    holders  names and passphrases, five as a rule
    raises   Refused for names that no file can have or that repeat, an empty passphrase, fewer than three holders
    """
    names = [name for name, _ in holders]
    if len(set(names)) != len(names) or not all(name.isalnum() and name.isascii() for name in names):
        raise Refused(f"holders are named by letters and digits, each once; found {', '.join(names)}")
    if not THRESHOLD <= len(holders) <= MOST_SHARES:
        raise Refused(f"{THRESHOLD} of {len(holders)} shares cannot be made: name {THRESHOLD} to {MOST_SHARES} holders")
    if without := [name for name, passphrase in holders if not passphrase]:
        raise Refused(f"the share of {', '.join(without)} needs a passphrase")
    # SLIP-39's own passphrase stays empty and its stretching least: each share has its holder's instead, and scrypt.
    mnemonics = generate_mnemonics(1, [(THRESHOLD, len(holders))], root.secret, iteration_exponent=0)[0]
    split = Share.from_mnemonic(mnemonics[0]).identifier
    files, commitments = {}, []
    for index, ((holder, passphrase), mnemonic) in enumerate(zip(holders, mnemonics, strict=True), 1):
        clear = {
            "root": root.signing.key_id,
            "split": split,
            "index": index,
            "threshold": THRESHOLD,
            "of": len(holders),
            "holder": holder,
        }
        sealed = seal_by_passphrase(mnemonic.encode(), passphrase, _associated(clear), cost)
        files[f"share-{index}-{holder}.json"] = pretty({"version": VERSION, "kind": _KIND, **clear, **sealed})
        commitments.append({"index": index, "holder": holder, "sha256": sha256(mnemonic.encode()).hexdigest()})
    return SplitRoot(split, files, tuple(commitments))


def combine_shares(
    shares: Sequence[HeldShare], root_id: str, splits: Mapping[int, Sequence[Mapping[str, Any]]]
) -> Root:
    """Return the root that the shares make.

    root_id  the id of the root's signing key: what the shares make must have it
    splits   the commitments of the splits that are known, by number
    raises   Refused, which names the share that is of another root or split, repeated, damaged, opened with a wrong
             passphrase, or not the one that was handed out; and says how many are missing
    """
    opened: dict[int, tuple[HeldShare, str]] = {}
    first: tuple[HeldShare, Mapping[str, Any]] | None = None
    for share in shares:
        stored = _parse(share)
        if stored["root"] != root_id:
            raise Refused(f"{share.name} is a share of the root {stored['root']}, not of {root_id}")
        first = first or (share, stored)
        if stored["split"] != first[1]["split"]:
            raise Refused(
                f"{share.name} is of split {stored['split']}, and {first[0].name} of split {first[1]['split']}: "
                "only shares of one split go together"
            )
        if stored["index"] in opened:
            raise Refused(f"{share.name} is the same share as {opened[stored['index']][0].name}")
        opened[stored["index"]] = share, _open(share, stored, splits.get(stored["split"], ()))
    threshold = first[1]["threshold"] if first is not None else THRESHOLD
    if len(opened) < threshold:
        raise Refused(f"{len(opened)} shares do not suffice: {threshold} are needed, {threshold - len(opened)} more")
    try:
        root = Root(combine_mnemonics([mnemonic for _, mnemonic in list(opened.values())[:threshold]]))
    except MnemonicError as error:
        raise Refused(f"the shares do not make a root: {error}") from error
    if root.signing.key_id != root_id:
        raise Refused(f"the shares make the root {root.signing.key_id}, not {root_id}")
    return root


def _open(share: HeldShare, stored: Mapping[str, Any], commitments: Sequence[Mapping[str, Any]]) -> str:
    try:
        content = open_by_passphrase(stored, share.passphrase, _associated(stored))
    except Refused as error:
        raise Refused(f"{share.name} is no share of the root: {error}") from error
    if content is None:
        raise Refused(
            f"{share.name}, the share of {stored['holder']}, does not open: the passphrase is wrong or the file changed"
        )
    handed_out = {one["index"]: one["sha256"] for one in commitments}
    if handed_out and handed_out.get(stored["index"]) != sha256(content).hexdigest():
        raise Refused(f"{share.name} is a wrong share: it is not what was handed out to {stored['holder']}")
    return content.decode()


def _parse(share: HeldShare) -> dict[str, Any]:
    stored = parse_sealed(share.data, share.name, VERSION)
    if stored.get("kind") != _KIND or any(name not in stored for name in _CLEAR):
        raise Refused(f"{share.name} is no share of a root")
    return stored


def _associated(clear: Mapping[str, Any]) -> bytes:
    return "|".join([f"grace/root-share/v{VERSION}", *(str(clear[name]) for name in _CLEAR)]).encode()
