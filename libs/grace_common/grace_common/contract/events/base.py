"""What every event class shares: its type, its topic, its version, and how its id derives from its cause."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Final, Self
from uuid import UUID, uuid5

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from grace_common.contract.errors import Refused
from grace_common.contract.topics import Topic

Share = Annotated[float, Field(ge=0, le=1)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
PublicKey = Annotated[
    bytes,
    Field(min_length=32, max_length=32),  # as bytes; in JSON they are 44 characters
    WithJsonSchema({"type": "string", "format": "base64url", "minLength": 44, "maxLength": 44}),
]
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")]


class Contract(BaseModel):
    """A value object inside an event: closed and frozen."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, ser_json_bytes="base64", val_json_bytes="base64"
    )


class Event(Contract):
    """A fact in the past tense. Subclasses state `TYPE` (grace.<noun phrase>.v<N>) and `TOPIC`.

    The newest version of a fact has the plain class name; older ones end in `V<N>` and implement `upcast`.
    """

    TYPE: ClassVar[str]
    TOPIC: ClassVar[Topic]
    SUPERSEDED: ClassVar[bool] = False  # nobody states it any more; records of it may be there, and are read

    _REGISTRY: ClassVar[dict[str, type["Event"]]] = {}

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if "TYPE" in cls.__dict__:
            if cls.TYPE in Event._REGISTRY:
                raise TypeError(f"two event classes claim the type {cls.TYPE}")
            Event._REGISTRY[cls.TYPE] = cls

    @property
    def partition_key(self) -> str:
        """The Kafka key: the task's id wherever there is one."""
        raise Refused(f"{type(self).__name__} states no partition key")

    @property
    def distinguisher(self) -> str | None:
        """What tells this answer from others of its type to one cause, when work done again may order them otherwise.

        None: their order tells them apart.
        """
        return None

    def upcast(self) -> "Event":
        """Return the newest version of this fact; the newest returns itself."""
        return self

    @classmethod
    def schema_name(cls) -> str:
        """`decision-reached.v2` for the type `grace.decision-reached.v2`: the schema file's stem."""
        return cls.TYPE.removeprefix("grace.")

    @classmethod
    def example(cls) -> Self:
        """Return a valid instance: published beside the schema and opened by a test for ever."""
        raise Refused(f"{cls.__name__} has no example")


_TYPES: Final = MappingProxyType(Event._REGISTRY)


def event_types() -> Mapping[str, type[Event]]:
    """Return every known event class by type. Import `grace_common.contract.events` first; it loads all modules."""
    return _TYPES


def answer_id(cause: UUID, type_: str, which: int | str) -> UUID:
    """Return the id of one answer of a type to `cause`: handling a record twice gives the same ids.

    which  the answer's ordinal among those of its type, from zero, or its distinguisher
    """
    return uuid5(cause, f"{type_}#{which}")
