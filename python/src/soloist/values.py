"""Keys, values, conditions and machines as plain Python values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from google.protobuf import duration_pb2, timestamp_pb2

from soloist.v1 import machines_pb2, state_pb2

#: What a key can hold: an ``int`` of 64 bits, text, or bytes.
Value = int | str | bytes
#: A length of time: seconds, or a ``timedelta``.
Seconds = int | float | timedelta


@dataclass(frozen=True)
class Entry:
    """What is stored under one key."""

    key: str
    #: ``None`` if only keys were asked for.
    value: Value | None
    #: The store revision of the last change of the key.
    revision: int
    #: The store revision at which the key was created: a fencing token.
    create_revision: int
    #: When the ttl of the key ends, by the server's clock.
    expires_at: datetime | None = None
    #: The id of the session that the key ends with.
    session: str | None = None
    machine: str | None = None
    #: The state of the machine that the key is in.
    state: str | None = None
    #: When the timeout of the state moves the key on, by the server's clock.
    state_expires_at: datetime | None = None


@dataclass(frozen=True)
class Condition:
    """A condition on a key as it is before an operation. If it does not hold, the operation is refused.

    Make one with :meth:`exists`, :meth:`missing`, :meth:`revision`, :meth:`create_revision`, :meth:`value`,
    :meth:`state` or
    :meth:`session`.
    """

    _test: str
    _argument: Any

    @classmethod
    def exists(cls) -> Condition:
        """The key must exist."""
        return cls("exists", True)

    @classmethod
    def missing(cls) -> Condition:
        """The key must not exist."""
        return cls("exists", False)

    @classmethod
    def revision(cls, revision: int) -> Condition:
        """The key must have this revision; 0: it must not exist. This is a compare-and-set."""
        return cls("revision", revision)

    @classmethod
    def create_revision(cls, revision: int) -> Condition:
        """The key must have this create_revision; 0: it must not exist."""
        return cls("create_revision", revision)

    @classmethod
    def value(cls, value: Value) -> Condition:
        """The key must have exactly this value, of the same kind."""
        return cls("value", value)

    @classmethod
    def state(cls, state: str) -> Condition:
        """The key must be in this state of its machine."""
        return cls("state", state)

    @classmethod
    def session(cls, session: str) -> Condition:
        """The key must end with the session of this id; empty: it must exist and end with none."""
        return cls("session", session)

    def to_wire(self) -> Any:
        argument = to_value(self._argument) if self._test == "value" else self._argument
        return state_pb2.Condition(**{self._test: argument})


@dataclass(frozen=True)
class State:
    """One state of a machine."""

    #: The states that a transition can move a key to.
    next: tuple[str, ...] = ()
    #: How long a key may be in this state until the server moves it to ``timeout_next``.
    timeout: Seconds | None = None
    timeout_next: str | None = None

    def __init__(
        self, next: Iterable[str] = (), timeout: Seconds | None = None, timeout_next: str | None = None
    ) -> None:
        object.__setattr__(self, "next", _names(next, "next"))
        object.__setattr__(self, "timeout", timeout)
        object.__setattr__(self, "timeout_next", timeout_next)


@dataclass(frozen=True)
class Machine:
    """A protocol for the keys that begin with a prefix."""

    name: str
    key_prefix: str
    #: The state of a new key.
    initial: str
    #: The states by their names. The names of the next states alone stand for a :class:`State` without a timeout.
    states: Mapping[str, State | Iterable[str]] = field(default_factory=dict)
    #: The store revision at which the machine got this definition; 0 before.
    revision: int = 0

    def to_wire(self) -> Any:
        machine = machines_pb2.Machine(name=self.name, key_prefix=self.key_prefix, initial=self.initial)
        for name, given in self.states.items():
            state = given if isinstance(given, State) else State(given)
            wire = machine.states[name]
            wire.next.extend(state.next)
            if state.timeout is not None:
                wire.timeout.CopyFrom(to_duration(state.timeout, "timeout"))
            wire.timeout_next = state.timeout_next or ""
        return machine

    @classmethod
    def from_wire(cls, machine: Any) -> Machine:
        states: dict[str, State | Iterable[str]] = {
            name: State(
                state.next,
                state.timeout.ToTimedelta() if state.HasField("timeout") else None,
                state.timeout_next or None,
            )
            for name, state in machine.states.items()
        }
        return cls(machine.name, machine.key_prefix, machine.initial, states, machine.revision)


def _names(names: Iterable[str], what: str) -> tuple[str, ...]:
    if isinstance(names, str):
        raise TypeError(f"{what} must be a list of names, not the text {names!r}")
    return tuple(names)


def to_value(value: Value) -> Any:
    """Converts a value to its message."""
    if isinstance(value, bool):
        raise TypeError("value must be an int, a str or bytes, not a bool: store 0 and 1, or text")
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise ValueError(f"value must fit into 64 bits, from {-(2**63)} to {2**63 - 1}, not {value}")
        return state_pb2.Value(int=value)
    if isinstance(value, str):
        return state_pb2.Value(text=value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return state_pb2.Value(bytes=bytes(value))
    raise TypeError(f"value must be an int, a str or bytes, not {type(value).__name__}")


def from_value(value: Any) -> Value | None:
    kind = value.WhichOneof("kind")
    return None if kind is None else getattr(value, kind)


def to_duration(seconds: Seconds, what: str) -> Any:
    """Converts a length of time. ``what`` names it in errors."""
    if not isinstance(seconds, timedelta):
        try:
            seconds = timedelta(seconds=seconds)
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"{what} must be a number of seconds or a timedelta, not {seconds!r}") from None
    duration = duration_pb2.Duration()
    duration.FromTimedelta(seconds)
    return duration


def to_seconds(seconds: Seconds) -> float:
    return seconds.total_seconds() if isinstance(seconds, timedelta) else float(seconds)


def from_time(time: timestamp_pb2.Timestamp) -> datetime:
    converted: datetime = time.ToDatetime(timezone.utc)
    return converted


def from_entry(entry: Any, key: str | None = None) -> Entry:
    """Converts an entry. ``key`` is its key where the request names it."""
    return Entry(
        key=entry.key or key or "",
        value=from_value(entry.value) if entry.HasField("value") else None,
        revision=entry.revision,
        create_revision=entry.create_revision,
        expires_at=from_time(entry.expire_time) if entry.HasField("expire_time") else None,
        session=entry.session or None,
        machine=entry.machine or None,
        state=entry.state or None,
        state_expires_at=from_time(entry.state_expire_time) if entry.HasField("state_expire_time") else None,
    )
