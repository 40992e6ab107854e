"""A receipt of work during which Grace's CA was replaced, as both verifiers judge it."""

from dataclasses import replace
from hashlib import sha256

import pytest
from grace_common.testing.ledger import TIME, MemoryLedger, SeededKey
from grace_common.transparency.attestation import Subject, TestResult
from grace_common.transparency.directory import DirectoryKey
from grace_common.transparency.receipt import Receipt, make_receipt
from grace_common.transparency.strict import Malformed

from .test_directories import judged
from .test_verifiers import Case

ARTIFACT = b"def double(n):\n    return 2 * n\n"


class Change:
    """A task submitted under one CA and attested under the next; the key directory that is published says so."""

    def __init__(self, *, listed: bool = True, ended: bool = False, named: bool = True) -> None:
        self.ledger = ledger = MemoryLedger()
        self.authorities, notary = [ledger.ca], ledger.notary
        ledger.publish_key(ledger.notary, "notary")
        ledger.announce("submit")
        ledger.state("submitted-1", "grace.task-submitted.v1", "ada", "submit", b"{}")
        ledger.replace_ca("next")
        self.authorities.insert(0, ledger.ca)
        if not named:
            ledger.log.extensions = ledger.log.extensions[:1]
        ledger.announce("complete")
        ledger.state("completed-1", "grace.task-completed.v1", "grace", "complete", b"{}")
        digests = tuple(Subject(name, sha256(b"1").hexdigest()) for name in ("specification", "evaluation-report"))
        self.subject = Subject("double.py", sha256(ARTIFACT).hexdigest())
        ledger.attest(TestResult(configuration=digests, passed=("e0",)).of(self.subject))
        before = [DirectoryKey("notary", notary.public_key, TIME)]
        if listed:
            end = TIME if ended else None
            before.append(DirectoryKey("ca", self.authorities[1].public_key, TIME, end))
        directory = ledger.directory()
        (_, self.stated), self.signed = ledger.publish_directory(replace(directory, keys=(*directory.keys, *before)))
        self.note = ledger.log.publish()

    def receipt(self, authorities: list[SeededKey], version: int | None = 1) -> Receipt:
        log, keys = self.ledger.log, [one.public_key for one in authorities]
        shown, indices = ({self.stated: self.signed} if version else {}), range(len(log.entries))
        return make_receipt(self.subject.name, ARTIFACT, indices, log.tree(), self.note, keys, shown, version)

    def judged(self, authorities: list[SeededKey] | None = None) -> str | None:
        receipt = self.receipt(self.authorities if authorities is None else authorities)
        return judged(Case("", "", receipt.encode(), ARTIFACT, str(self.ledger.log.key), self.ledger.root.public_key))


@pytest.mark.parametrize("ended", [False, True], ids=["both count", "the first has ended"])
def test_both_verifiers_accept_what_each_ca_published(ended: bool) -> None:
    change = Change(ended=ended)

    assert change.judged() is None
    assert change.receipt(change.authorities).ca_keys == tuple(one.public_key for one in change.authorities)


@pytest.mark.parametrize("shown", [0, 1])
def test_a_receipt_that_leaves_out_one_of_the_cas_is_refused(shown: int) -> None:
    change = Change()

    assert "none of which is known" in (change.judged([change.authorities[shown]]) or "")


def test_a_ca_that_the_checkpoint_names_no_more_vouches_for_nothing() -> None:
    assert "does not name the receipt's CA key" in (Change(named=False).judged() or "")


def test_a_ca_that_the_key_directory_does_not_list_vouches_for_nothing() -> None:
    assert "the ca key" in (Change(listed=False).judged() or "")


def test_the_first_format_has_room_for_one_ca() -> None:
    change = Change()

    with pytest.raises(Malformed, match=r"keys\.ca holds 2 keys"):
        change.receipt(change.authorities, version=None)
