"""What calls do, without saying how: the sync and the asyncio client both run these.

A flow is a generator. It yields a step, and is sent what came of it, or an :class:`Error` is thrown into it. Steps are
:class:`Unary` and :class:`Pause`.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc

from soloist.errors import Error, OutcomeUnknown, SessionLost
from soloist.nodes import Search
from soloist.operations import Delete, Operation, Result, Write, from_op_result, name_of, to_op
from soloist.v1 import machines_pb2, sessions_pb2, state_pb2
from soloist.values import Condition, Entry, Machine, Seconds, from_entry, to_duration, to_seconds

T = TypeVar("T")

# The reasons that say that a session has ended.
_SESSION_ENDED = ("SESSION_NOT_FOUND", "SESSION_TAKEN_OVER")


@dataclass(frozen=True)
class Unary:
    """Makes a call, and waits for the response."""

    service: str
    method: str
    request: Any
    #: Seconds.
    timeout: float
    #: Whether the call may change something.
    changes: bool


@dataclass(frozen=True)
class Pause:
    """Waits."""

    seconds: float


Flow = Generator["Unary | Pause", Any, T]


@dataclass(frozen=True)
class Retry:
    """When a failed call is sent again: exponential backoff with full jitter, as the other clients of Soloist do.

    A call is sent again only if that is safe and the cause passes by itself: nothing was applied, or the call
    is idempotent, which every change is by its ``request_id``. The timeout of the call bounds all attempts
    together.
    """

    #: The upper bound of the wait before the second attempt. It doubles with each further one. Seconds.
    initial_backoff: float = 0.02
    #: The upper bound of every wait. Seconds.
    max_backoff: float = 1.0
    #: The most attempts, with the first; ``None``: as many as there is time for.
    max_attempts: int | None = None

    def delay(self, attempts: int, error: Error) -> float:
        """How long to wait after this many failed attempts, of which the last failed with ``error``."""
        # Past 2^30 the backoff is at its bound anyway.
        backoff = min(self.initial_backoff * 2.0 ** min(attempts - 1, 30), self.max_backoff)
        return (error.retry_after or 0.0) + random.uniform(0.0, backoff)


NO_RETRY = Retry(max_attempts=1)


@dataclass(frozen=True)
class Settings:
    """What calls use that do not say otherwise."""

    timeout: float
    retry: Retry
    #: How many addresses there are besides the one in use.
    others: int = 0


@dataclass(frozen=True)
class Page:
    """One page of a list."""

    items: list[Any]
    next_page_token: str
    revision: int


@dataclass(frozen=True)
class PrefixDeleted:
    """The result of deleting a prefix."""

    #: How many keys were deleted.
    deleted_count: int
    #: How many keys were kept, because they are in a state of their machine that is not final.
    kept_count: int
    #: The store revision of the last deletions.
    revision: int


def request_id() -> str:
    """Makes a unique id."""
    return uuid.uuid4().hex


def call(
    step: Unary, settings: Settings, timeout: Seconds | None, retry: Retry | None, idempotent: bool = True
) -> Flow[Any]:
    """Makes attempts until one succeeds, one fails for good, or the time runs out.

    Where there are several addresses, an attempt that no owner has taken is made again at once, elsewhere, and is
    not counted.
    """
    retry = settings.retry if retry is None else retry
    end = time.monotonic() + (settings.timeout if timeout is None else to_seconds(timeout))
    attempts = 0
    unknown = False
    search = Search(settings.others)
    while True:
        left = max(end - time.monotonic(), 0.0)
        try:
            response = yield Unary(step.service, step.method, step.request, left, step.changes)
            return response
        except Error as error:
            if search.goes_on(error) and end > time.monotonic():
                continue
            attempts += 1
            unknown = unknown or isinstance(error, OutcomeUnknown)
            safe = idempotent or not isinstance(error, OutcomeUnknown)
            delay = retry.delay(attempts, error)
            may_repeat = retry.max_attempts is None or attempts < retry.max_attempts
            if safe and error.is_transient and may_repeat and delay < end - time.monotonic():
                pause = delay
            else:
                raise _after(error, attempts, unknown) from error.__cause__
        yield Pause(pause)
        search.begin_again()


def _after(error: Error, attempts: int, unknown: bool) -> Error:
    """The error of a call after that many attempts: its outcome is unknown if that of any attempt is."""
    kind = OutcomeUnknown if unknown else type(error)
    if kind is type(error) and attempts == 1:
        return error
    message = f"{error.message} (after {attempts} attempts)" if attempts > 1 else error.message
    return kind(
        error.code,
        message,
        reason=error.reason,
        metadata=error.metadata,
        retry_after=error.retry_after,
    )


def operation(op: Operation, settings: Settings, timeout: Seconds | None, retry: Retry | None) -> Flow[Any]:
    """Does one operation as a call of its own."""
    name = name_of(op)
    request = op.to_wire()
    changes = name != "read"
    if changes and not request.request_id:
        request.request_id = request_id()
    step = Unary("State", name.capitalize(), request, 0.0, changes)
    response = yield from call(step, settings, timeout, retry)
    return op.result(response)


def batch(
    operations: Sequence[Operation],
    settings: Settings,
    timeout: Seconds | None,
    retry: Retry | None,
    id: str,
) -> Flow[list[Result]]:
    ops = [to_op(op) for op in operations]
    request = state_pb2.BatchRequest(ops=ops, request_id=id or request_id())
    response = yield from call(Unary("State", "Batch", request, 0.0, True), settings, timeout, retry)
    results: list[Result] = []
    for op, result in zip(operations, response.results, strict=True):
        converted = from_op_result(op, result)
        if isinstance(converted, Error):
            raise converted
        results.append(converted)
    return results


def entries(
    prefix: str, keys_only: bool, page_size: int, token: str, settings: Settings, timeout: Seconds | None
) -> Flow[Page]:
    request = state_pb2.ListRequest(prefix=prefix, page_size=page_size, page_token=token, keys_only=keys_only)
    response = yield from call(Unary("State", "List", request, 0.0, False), settings, timeout, None)
    items = [from_entry(entry) for entry in response.entries]
    return Page(items, response.next_page_token, response.revision)


def delete_prefix(prefix: str, every_key: bool, settings: Settings, timeout: Seconds | None) -> Flow[PrefixDeleted]:
    deleted = kept = 0
    token = ""
    while True:
        request = state_pb2.DeletePrefixRequest(
            prefix=prefix, every_key=every_key, page_token=token, request_id=request_id()
        )
        step = Unary("State", "DeletePrefix", request, 0.0, True)
        response = yield from call(step, settings, timeout, None)
        deleted += response.deleted_count
        kept += response.kept_count
        token = response.next_page_token
        if not token:
            return PrefixDeleted(deleted, kept, response.revision)


def define_machine(
    machine: Machine,
    expect: Condition | None,
    validate_only: bool,
    settings: Settings,
    timeout: Seconds | None,
) -> Flow[Machine]:
    request = machines_pb2.DefineMachineRequest(
        machine=machine.to_wire(),
        expect=None if expect is None else expect.to_wire(),
        validate_only=validate_only,
    )
    step = Unary("Machines", "DefineMachine", request, 0.0, not validate_only)
    # With a condition, a repetition would be refused if the first attempt was applied.
    idempotent = expect is None
    return Machine.from_wire((yield from call(step, settings, timeout, None, idempotent)))


def machine(name: str, settings: Settings, timeout: Seconds | None) -> Flow[Machine | None]:
    step = Unary("Machines", "GetMachine", machines_pb2.GetMachineRequest(name=name), 0.0, False)
    try:
        return Machine.from_wire((yield from call(step, settings, timeout, None)))
    except Error as error:
        if error.reason == "MACHINE_NOT_FOUND":
            return None
        raise


def machines(token: str, settings: Settings, timeout: Seconds | None) -> Flow[Page]:
    request = machines_pb2.ListMachinesRequest(page_token=token)
    step = Unary("Machines", "ListMachines", request, 0.0, False)
    response = yield from call(step, settings, timeout, None)
    return Page([Machine.from_wire(found) for found in response.machines], response.next_page_token, 0)


def delete_machine(name: str, force: bool, settings: Settings, timeout: Seconds | None) -> Flow[None]:
    request = machines_pb2.DeleteMachineRequest(name=name, force=force)
    step = Unary("Machines", "DeleteMachine", request, 0.0, True)
    yield from call(step, settings, timeout, None, idempotent=False)


def open_session(id: str, ttl: Seconds, take_over: bool, settings: Settings, timeout: Seconds | None) -> Flow[Any]:
    """Opens a session and returns the message of it."""
    request = sessions_pb2.OpenSessionRequest(
        id=id, ttl=to_duration(ttl, "ttl"), take_over=take_over, request_id=request_id()
    )
    step = Unary("Sessions", "OpenSession", request, 0.0, True)
    return (yield from call(step, settings, timeout, None))


def renew_session(id: str, create_revision: int, settings: Settings, timeout: float) -> Flow[Any]:
    request = sessions_pb2.RenewSessionRequest(id=id, create_revision=create_revision)
    step = Unary("Sessions", "RenewSession", request, 0.0, False)
    return (yield from call(step, settings, timeout, Retry()))


def close_session(id: str, create_revision: int, settings: Settings) -> Flow[int]:
    """Closes a session and returns how many keys ended with it; 0 if it had ended before."""
    request = sessions_pb2.CloseSessionRequest(id=id, create_revision=create_revision, request_id=request_id())
    step = Unary("Sessions", "CloseSession", request, 0.0, True)
    try:
        response = yield from call(step, settings, None, Retry())
    except Error as error:
        if error.reason in _SESSION_ENDED:
            return 0
        raise
    return int(response.deleted_count)


# A place in a queue: locks and elections.


@dataclass(frozen=True)
class Place:
    """A place in the queue for a lock or an election: a key of a session."""

    key: str
    #: The fencing token: the keys of a queue have their turns in this order.
    create_revision: int


@dataclass(frozen=True)
class Ahead:
    """Who comes right before a place, and the revision at which that was true."""

    key: str
    revision: int


def queue_prefix(name: str) -> str:
    if not name:
        raise ValueError("name must have at least 1 byte, and has 0")
    return name + "/"


def is_place(name: str, key: str) -> bool:
    """Whether a key is a place in the queue of this name: a name may be the beginning of another."""
    return "/" not in key[len(queue_prefix(name)) :]


def take_place(name: str, session: Any, value: Any, settings: Settings, timeout: Seconds | None) -> Flow[Place]:
    """Takes the last place of a queue, or finds the place that the session has there."""
    if "/" in session.id:
        raise ValueError(f"the id of the session of a lock must have no slash, and is {session.id!r}")
    key = queue_prefix(name) + session.id
    write = Write(key, value, expect=Condition.missing(), session=session)
    try:
        written = yield from operation(write, settings, timeout, None)
        return Place(key, written.create_revision)
    except Error as error:
        if error.reason in _SESSION_ENDED:
            raise SessionLost(error.code, error.message, reason=error.reason, metadata=error.metadata) from error
        if error.reason != "KEY_EXISTS":
            raise
    step = Unary("State", "Read", state_pb2.ReadRequest(key=key), 0.0, False)
    response = yield from call(step, settings, timeout, None)
    found = from_entry(response.entry, key) if response.HasField("entry") else None
    if found is None or found.session != session.id:
        raise Error(
            grpc.StatusCode.ALREADY_EXISTS,
            f"key {key!r} is in the queue {name!r} without the session {session.id!r}",
            reason="KEY_EXISTS",
        )
    return Place(key, found.create_revision)


def ahead(name: str, place: Place, settings: Settings) -> Flow[Ahead | None]:
    """Finds who comes right before a place; ``None`` if it is the first."""
    nearest: Entry | None = None
    seen_at = 0
    token = ""
    mine = False
    while True:
        page = yield from entries(queue_prefix(name), True, 0, token, settings, None)
        for entry in page.items:
            if not is_place(name, entry.key):
                continue
            mine = mine or (entry.key == place.key and entry.create_revision == place.create_revision)
            if entry.create_revision < place.create_revision and (
                nearest is None or entry.create_revision > nearest.create_revision
            ):
                nearest, seen_at = entry, page.revision
        token = page.next_page_token
        if not token:
            break
    if not mine:
        raise SessionLost(
            grpc.StatusCode.NOT_FOUND,
            f"the place {place.key!r} in the queue is gone, and the session with it",
            reason="SESSION_NOT_FOUND",
        )
    return None if nearest is None else Ahead(nearest.key, seen_at)


def give_up_place(place: Place, settings: Settings) -> Flow[None]:
    """Leaves a queue. Nothing happens if the place is gone."""
    delete = Delete(place.key, expect=Condition.create_revision(place.create_revision))
    try:
        yield from operation(delete, settings, None, None)
    except Error as error:
        if error.reason != "EXPECTATION_FAILED":
            raise
