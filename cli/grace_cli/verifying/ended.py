"""Keys that had ended, and what they signed all the same.

In the log order is time: a version of the key directory ends the keys that it lists as ended from the entry on that
names it. What they signed before stays good, and so does every key that they announced before.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from grace_common.transparency.directory import KeyDirectory
from grace_common.transparency.dsse import DsseEnvelope

from grace_cli.verifying.faults import Fault
from grace_cli.verifying.keys import PURPOSES

if TYPE_CHECKING:
    from grace_cli.verifying.keys import KeyName


def ended_by(signed: bytes) -> "Iterator[KeyName]":
    """Yield the keys under which entries are signed that a version of the key directory lists as ended.

    raises  Refused when it is no key directory; whose signature it has is not looked at
    """
    directory = KeyDirectory.parse(DsseEnvelope.parse(signed).payload)
    for key in directory.keys:
        if key.purpose in PURPOSES and key.not_after is not None:
            yield key.purpose, key.key_id


def signed_after(uses: "Mapping[KeyName, Sequence[int]]", ended: "Mapping[KeyName, int]") -> Iterator[Fault]:
    """Yield what is wrong with the signatures of keys that had ended.

    uses   the entries that each key signed
    ended  the entry that names the first version of the key directory which says that a key has ended
    """
    for name, end in ended.items():
        owner, key_id = name
        for index in uses.get(name, ()):
            if index > end:
                yield Fault(
                    index,
                    f"entry {index} is signed with {key_id}, which had ended as a key for {owner}: entry {end} names "
                    "the key directory that says so",
                )
