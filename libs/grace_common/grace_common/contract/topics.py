"""Every topic of Grace in flow order: the one table from which all else is generated.

Topic creation, the broker's ACLs, the AsyncAPI document and the documents' picture come from `TOPICS`;
a test compares it with what the services' routers declare. This is the only module that names services.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

GATEWAY: Final = "gateway"
MTL_ORCHESTRATOR: Final = "mtl-orchestrator"
CODE_GEN: Final = "code-gen"
CONSENSUS: Final = "consensus"
CRYPTO_SIGNER: Final = "crypto-signer"
AUDIT_LOG: Final = "audit-log"
OUTSIDE: Final = "producer"  # an enrolled outside Kafka producer; no service of Grace

SERVICES: Final = (GATEWAY, MTL_ORCHESTRATOR, CODE_GEN, CONSENSUS, CRYPTO_SIGNER, AUDIT_LOG)


@dataclass(frozen=True, slots=True)
class Topic:
    """One Kafka topic.

    key         what the partition key means; records with one key keep their order
    partitions  the unit of scale; one where the order of the whole topic carries meaning
    retention   None: kept for ever (compacted topics keep the newest record of each key)
    writers     principals that may write; the seal's certificate is checked against this too
    readers     services whose routers subscribe
    notarized   whether the crypto-signer notarises each record
    """

    name: str
    key: str
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    partitions: int = 4
    retention: timedelta | None = field(default=timedelta(days=7))
    compacted: bool = False
    notarized: bool = False

    @property
    def noun(self) -> str:
        """`task` for `grace.task.v1`: the name that event module and schema folder share."""
        return self.name.split(".")[1]

    def __str__(self) -> str:
        return self.name


INTAKE: Final = Topic("grace.intake.v1", "producer's choice", (OUTSIDE,), (GATEWAY,))
TASK: Final = Topic(
    "grace.task.v1",
    "task id",
    (GATEWAY,),
    (MTL_ORCHESTRATOR, CODE_GEN, CONSENSUS, CRYPTO_SIGNER, GATEWAY),
    notarized=True,
)
ROUND: Final = Topic(
    "grace.round.v1", "task id", (MTL_ORCHESTRATOR,), (CODE_GEN, CRYPTO_SIGNER, GATEWAY), notarized=True
)
CANDIDATE: Final = Topic(
    "grace.candidate.v1", "task id", (CODE_GEN,), (MTL_ORCHESTRATOR, CONSENSUS, CRYPTO_SIGNER, GATEWAY), notarized=True
)
DECISION: Final = Topic(
    "grace.decision.v1", "task id", (CONSENSUS,), (MTL_ORCHESTRATOR, CRYPTO_SIGNER, GATEWAY), notarized=True
)
OPERATION: Final = Topic("grace.operation.v1", "operation id", SERVICES, (CRYPTO_SIGNER, GATEWAY), notarized=True)
DEAD_LETTER: Final = Topic("grace.dead-letter.v1", "refusal id", SERVICES, (GATEWAY,), retention=None, compacted=True)
SIGNATURE: Final = Topic(
    "grace.signature.v1", "log", (CRYPTO_SIGNER,), (AUDIT_LOG,), partitions=1, retention=timedelta(days=30)
)
LEDGER: Final = Topic("grace.ledger.v1", "log", (AUDIT_LOG,), SERVICES, partitions=1)
IDENTITY: Final = Topic(
    "grace.identity.v1", "key id", (CRYPTO_SIGNER,), SERVICES, partitions=1, retention=None, compacted=True
)
WITNESS: Final = Topic("grace.witness.v1", "log", (CRYPTO_SIGNER,), (AUDIT_LOG,), partitions=1)

TOPICS: Final = (
    INTAKE,
    TASK,
    ROUND,
    CANDIDATE,
    DECISION,
    OPERATION,
    DEAD_LETTER,
    SIGNATURE,
    LEDGER,
    IDENTITY,
    WITNESS,
)
_BY_NAME: Final = {topic.name: topic for topic in TOPICS}


def by_name(name: str) -> Topic:
    """Return the topic called `name`; KeyError when the table has none."""
    return _BY_NAME[name]
