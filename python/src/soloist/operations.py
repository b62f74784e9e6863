"""Operations on keys: for single calls, batches and frames alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from soloist.errors import Error, from_status
from soloist.v1 import state_pb2
from soloist.values import Condition, Entry, Seconds, Value, from_entry, to_duration, to_value

__all__ = ["Add", "Delete", "Operation", "Read", "Transition", "Write"]


class SessionId(Protocol):
    """What names a live session: see :meth:`Client.session`."""

    @property
    def id(self) -> str: ...

    @property
    def create_revision(self) -> int: ...


@dataclass(frozen=True)
class Written:
    """The result of a write."""

    #: The store revision of this write, which is now the revision of the key.
    revision: int
    #: The store revision at which the key was created: a fencing token.
    create_revision: int
    #: This is the response to an earlier request with the same ``request_id``.
    replayed: bool
    #: The entry as it was before, if ``return_previous`` was set and the key existed.
    previous: Entry | None


@dataclass(frozen=True)
class Added:
    """The result of an addition."""

    revision: int
    create_revision: int
    replayed: bool
    #: The value after the addition.
    value: int
    #: The number that was added. It differs from ``delta`` only with ``saturate``.
    applied: int


@dataclass(frozen=True)
class Transitioned:
    """The result of a transition."""

    revision: int
    create_revision: int
    replayed: bool
    #: The state that the key was in before.
    from_state: str


@dataclass(frozen=True)
class Deleted:
    """The result of a deletion."""

    revision: int
    replayed: bool
    #: The entry as it was before; ``None`` if the key did not exist.
    previous: Entry | None


#: What an operation results in. A read results in the entry, or ``None``.
Result = Entry | None | Written | Added | Transitioned | Deleted


@dataclass(frozen=True)
class Read:
    """Reads a key. In a batch, ``expect`` guards all operations."""

    key: str
    expect: Condition | None = None

    def to_wire(self) -> Any:
        return state_pb2.ReadRequest(key=self.key, expect=_condition(self.expect))

    def result(self, response: Any) -> Entry | None:
        return from_entry(response.entry, self.key) if response.HasField("entry") else None


@dataclass(frozen=True)
class Write:
    """Creates or replaces a value.

    ``ttl``, ``session`` and ``keep_lifetime`` exclude each other. Without any of them the key stays until it is
    deleted.
    """

    key: str
    #: ``None`` with ``keep_value`` only.
    value: Value | None = None
    expect: Condition | None = None
    ttl: Seconds | None = None
    session: SessionId | None = None
    keep_lifetime: bool = False
    #: Keeps the value that is stored, and changes the lifetime.
    keep_value: bool = False
    return_previous: bool = False
    request_id: str = ""

    def to_wire(self) -> Any:
        _at_most_one(ttl=self.ttl, session=self.session, keep_lifetime=self.keep_lifetime or None)
        request = state_pb2.WriteRequest(
            key=self.key,
            expect=_condition(self.expect),
            request_id=self.request_id,
            keep_value=self.keep_value,
            return_previous=self.return_previous,
        )
        if self.value is not None:
            request.value.CopyFrom(to_value(self.value))
        if self.keep_lifetime:
            request.keep_lifetime = True
        _set_lifetime(request, self.ttl, self.session)
        return request

    def result(self, response: Any) -> Written:
        previous = from_entry(response.previous, self.key) if response.HasField("previous") else None
        return Written(response.revision, response.create_revision, response.replayed, previous)


@dataclass(frozen=True)
class Add:
    """Adds to an int. A missing key counts as 0 and is created; ``ttl`` or ``session`` is for that case."""

    key: str
    delta: int = 1
    min: int | None = None
    max: int | None = None
    #: Stops at the bound instead of refusing the addition.
    saturate: bool = False
    expect: Condition | None = None
    ttl: Seconds | None = None
    session: SessionId | None = None
    request_id: str = ""

    def to_wire(self) -> Any:
        _at_most_one(ttl=self.ttl, session=self.session)
        request = state_pb2.AddRequest(
            key=self.key,
            expect=_condition(self.expect),
            request_id=self.request_id,
            delta=self.delta,
            min=self.min,
            max=self.max,
            saturate=self.saturate,
        )
        _set_lifetime(request, self.ttl, self.session)
        return request

    def result(self, response: Any) -> Added:
        return Added(response.revision, response.create_revision, response.replayed, response.value, response.applied)


@dataclass(frozen=True)
class Transition:
    """Moves a key to another state of its machine."""

    key: str
    to: str
    #: Replaces the stored value in the same step.
    value: Value | None = None
    expect: Condition | None = None
    request_id: str = ""

    def to_wire(self) -> Any:
        value = None if self.value is None else to_value(self.value)
        return state_pb2.TransitionRequest(
            key=self.key,
            expect=_condition(self.expect),
            request_id=self.request_id,
            to=self.to,
            value=value,
        )

    def result(self, response: Any) -> Transitioned:
        # `from` is a keyword of Python.
        before = getattr(response, "from")
        return Transitioned(response.revision, response.create_revision, response.replayed, before)


@dataclass(frozen=True)
class Delete:
    """Deletes a key. A missing key is no error."""

    key: str
    expect: Condition | None = None
    request_id: str = ""

    def to_wire(self) -> Any:
        return state_pb2.DeleteRequest(key=self.key, expect=_condition(self.expect), request_id=self.request_id)

    def result(self, response: Any) -> Deleted:
        previous = from_entry(response.previous, self.key) if response.HasField("previous") else None
        return Deleted(response.revision, response.replayed, previous)


#: An operation of a batch or a frame.
Operation = Read | Write | Add | Transition | Delete

# The names of the operations, in calls (first letter upper case) and in `Op` and `OpResult`.
_NAMES: dict[type, str] = {
    Read: "read",
    Write: "write",
    Add: "add",
    Transition: "transition",
    Delete: "delete",
}


def name_of(operation: Operation) -> str:
    return _NAMES[type(operation)]


def to_op(operation: Operation) -> Any:
    """Converts an operation of a batch or a frame."""
    name = _NAMES.get(type(operation))
    if name is None:
        raise TypeError(f"operations must be Read, Write, Add, Transition or Delete, not {type(operation).__name__}")
    return state_pb2.Op(**{name: operation.to_wire()})


def from_op_result(operation: Operation, result: Any) -> Result | Error:
    """Converts the result of an operation of a batch or a frame."""
    kind = result.WhichOneof("result")
    if kind == "error":
        return from_status(result.error)
    return operation.result(getattr(result, kind))


def _condition(condition: Condition | None) -> Any:
    if condition is None:
        return None
    if not isinstance(condition, Condition):
        raise TypeError(f"expect must be a Condition, not {type(condition).__name__}")
    return condition.to_wire()


def _set_lifetime(request: Any, ttl: Seconds | None, session: SessionId | None) -> None:
    if ttl is not None:
        request.ttl.CopyFrom(to_duration(ttl, "ttl"))
    if session is not None:
        request.session = session.id
        request.session_create_revision = session.create_revision


def _at_most_one(**given: Any) -> None:
    names = [name for name, value in given.items() if value is not None]
    if len(names) > 1:
        raise ValueError(f"{' and '.join(names)} exclude each other")
