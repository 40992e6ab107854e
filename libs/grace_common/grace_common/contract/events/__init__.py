"""Every event of Grace, one module a topic. Importing this package loads them all into the registry."""

from grace_common.contract.events import (  # noqa: F401
    candidate,
    dead_letter,
    decision,
    identity,
    ledger,
    operation,
    round,
    signature,
    task,
    witness,
)
