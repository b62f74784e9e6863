"""The client, for asyncio: the same methods as :class:`soloist.Client`, to be awaited.

::

    async with soloist.aio.connect("127.0.0.1:50051") as client:
        await client.write("color", "blue")
        async with client.lock("locks/printer") as lock:
            await printer.print(page, token=lock.token)
"""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import grpc
import grpc.aio

from soloist import flows, watching
from soloist.channel import Target, Token
from soloist.client import _take_candidates, _without_drift
from soloist.errors import Error, SessionLost, from_rpc_error
from soloist.flows import Flow, Pause, PrefixDeleted, Retry, Settings, Unary
from soloist.holding import Holding
from soloist.nodes import Nodes
from soloist.operations import (
    Add,
    Added,
    Delete,
    Deleted,
    Operation,
    Read,
    Result,
    Transition,
    Transitioned,
    Write,
    Written,
)
from soloist.pipelining import FrameResult, broken, from_answer, to_frame
from soloist.v1 import admin_pb2
from soloist.values import Condition, Entry, Machine, Seconds, Value, to_seconds
from soloist.watching import Event, Message, Position

__all__ = ["Client", "Leadership", "Lock", "Pipeline", "Session", "Watch", "connect"]

T = TypeVar("T")

# What a stream returns at its end.
_EOF: Any = grpc.aio.EOF


def connect(
    target: str = "127.0.0.1:50051",
    *,
    ca_file: str | Path | None = None,
    identity_files: tuple[str | Path, str | Path] | None = None,
    server_name: str | None = None,
    token: str | None = None,
    token_file: str | Path | None = None,
    timeout: Seconds = 10.0,
    retry: Retry | None = None,
    options: Sequence[tuple[str, Any]] = (),
) -> Client:
    """Returns a client of the server at ``target``: see :func:`soloist.connect`. The event loop must be running."""
    parsed = Target.parse_all(
        target,
        ca_file=None if ca_file is None else Path(ca_file),
        identity_files=None if identity_files is None else tuple(map(Path, identity_files)),
        server_name=server_name,
        options=options,
    )
    made = Token(token, None if token_file is None else Path(token_file))
    nodes = Nodes(parsed, _channel)
    return Client(nodes, made, Settings(to_seconds(timeout), retry or Retry(), nodes.others))


def _channel(target: Target) -> Any:
    if target.tls:
        return grpc.aio.secure_channel(target.address, target.credentials(), target.channel_options())
    return grpc.aio.insecure_channel(target.address, target.channel_options())


class Client:
    """A client of a server: see :func:`connect`. It is an async context manager, which closes it.

    A task that is cancelled cancels its call: whether a change was applied is unknown then.
    """

    def __init__(self, nodes: Nodes, token: Token, settings: Settings) -> None:
        self._nodes = nodes
        self._token = token
        self._settings = settings

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connection. Calls that are under way fail."""
        for channel in self._nodes.channels():
            await channel.close()

    # Keys.

    async def read(self, key: str, *, expect: Condition | None = None, timeout: Seconds | None = None) -> Entry | None:
        """Returns what is stored under a key; ``None`` if it does not exist."""
        found: Entry | None = await self._operation(Read(key, expect), timeout)
        return found

    async def write(
        self,
        key: str,
        value: Value | None = None,
        *,
        expect: Condition | None = None,
        ttl: Seconds | None = None,
        session: Any = None,
        keep_lifetime: bool = False,
        keep_value: bool = False,
        return_previous: bool = False,
        request_id: str = "",
        timeout: Seconds | None = None,
        retry: Retry | None = None,
    ) -> Written:
        """Creates or replaces a value: see :class:`soloist.Write`."""
        write = Write(key, value, expect, ttl, session, keep_lifetime, keep_value, return_previous, request_id)
        written: Written = await self._operation(write, timeout, retry)
        return written

    async def add(
        self,
        key: str,
        delta: int = 1,
        *,
        min: int | None = None,
        max: int | None = None,
        saturate: bool = False,
        expect: Condition | None = None,
        ttl: Seconds | None = None,
        session: Any = None,
        request_id: str = "",
        timeout: Seconds | None = None,
        retry: Retry | None = None,
    ) -> Added:
        """Adds to an int in one step: see :class:`soloist.Add`."""
        add = Add(key, delta, min, max, saturate, expect, ttl, session, request_id)
        added: Added = await self._operation(add, timeout, retry)
        return added

    async def transition(
        self,
        key: str,
        to: str,
        *,
        value: Value | None = None,
        expect: Condition | None = None,
        request_id: str = "",
        timeout: Seconds | None = None,
        retry: Retry | None = None,
    ) -> Transitioned:
        """Moves a key to another state of its machine: see :class:`soloist.Transition`."""
        transition = Transition(key, to, value, expect, request_id)
        transitioned: Transitioned = await self._operation(transition, timeout, retry)
        return transitioned

    async def delete(
        self,
        key: str,
        *,
        expect: Condition | None = None,
        request_id: str = "",
        timeout: Seconds | None = None,
        retry: Retry | None = None,
    ) -> Deleted:
        """Deletes a key. A missing key is no error."""
        deleted: Deleted = await self._operation(Delete(key, expect, request_id), timeout, retry)
        return deleted

    async def delete_prefix(
        self, prefix: str, *, every_key: bool = False, timeout: Seconds | None = None
    ) -> PrefixDeleted:
        """Deletes the keys that begin with ``prefix``. ``every_key`` must be set with ``""``."""
        return await self._run(flows.delete_prefix(prefix, every_key, self._settings, timeout))

    async def batch(
        self,
        operations: Sequence[Operation],
        *,
        request_id: str = "",
        timeout: Seconds | None = None,
        retry: Retry | None = None,
    ) -> builtins.list[Result]:
        """Applies all operations in order, or none of them. ``Error.op`` is the index of the one that was refused."""
        return await self._run(flows.batch(operations, self._settings, timeout, retry, request_id))

    def list(
        self,
        prefix: str = "",
        *,
        keys_only: bool = False,
        page_size: int = 0,
        timeout: Seconds | None = None,
    ) -> AsyncIterator[Entry]:
        """Iterates over the entries whose keys begin with ``prefix``, page by page."""
        return self._pages(lambda token: flows.entries(prefix, keys_only, page_size, token, self._settings, timeout))

    async def watch(
        self,
        *,
        key: str | None = None,
        prefix: str | None = None,
        after_revision: int | None = None,
        initial: bool = False,
        previous: bool = False,
        progress_interval: Seconds | None = None,
        resume: bool = True,
        timeout: Seconds | None = None,
    ) -> Watch:
        """Opens a watch: see :meth:`soloist.Client.watch`. It is an async context manager and iterator."""
        # It also finds the owner, if there are several nodes.
        info = await self.info(timeout=timeout) if resume or self._nodes.others else None
        store_id = info.store_id if resume and info else ""
        request = watching.request(key, prefix, after_revision, initial, previous, progress_interval, store_id)
        watch = Watch(self, Position(request), resume)
        seconds = self._settings.timeout if timeout is None else to_seconds(timeout)
        try:
            async with asyncio.timeout(seconds) if hasattr(asyncio, "timeout") else _timeout(seconds):
                await watch._open(time.monotonic() + seconds)
        except TimeoutError:
            watch.close()
            raise Error(grpc.StatusCode.DEADLINE_EXCEEDED, "the watch was not opened in time") from None
        except BaseException:
            watch.close()
            raise
        return watch

    def pipeline(self, *, in_flight: int = 64, timeout: Seconds | None = None) -> Pipeline:
        """Opens a stream of frames: see :class:`Pipeline`."""
        seconds = None if timeout is None else to_seconds(timeout)

        def begin() -> Any:
            stub = self._nodes.current().stubs["State"]
            return stub.Pipeline(metadata=self._metadata(), timeout=seconds)

        async def find() -> None:
            # It finds the owner: what a frame is refused with comes too late.
            await self.info(timeout=timeout)

        return Pipeline(begin, find if self._nodes.others else None, in_flight)

    # Machines.

    async def define_machine(
        self,
        machine: Machine,
        *,
        expect: Condition | None = None,
        validate_only: bool = False,
        timeout: Seconds | None = None,
    ) -> Machine:
        """Creates or replaces a machine. An equal definition changes nothing."""
        return await self._run(flows.define_machine(machine, expect, validate_only, self._settings, timeout))

    async def machine(self, name: str, *, timeout: Seconds | None = None) -> Machine | None:
        """Returns a machine; ``None`` if there is none of that name."""
        return await self._run(flows.machine(name, self._settings, timeout))

    def machines(self, *, timeout: Seconds | None = None) -> AsyncIterator[Machine]:
        """Iterates over the machines, in the order of the bytes of their names."""
        return self._pages(lambda token: flows.machines(token, self._settings, timeout))

    async def delete_machine(self, name: str, *, force: bool = False, timeout: Seconds | None = None) -> None:
        """Deletes a machine. Its keys stay."""
        await self._run(flows.delete_machine(name, force, self._settings, timeout))

    # Sessions, locks and elections.

    def session(
        self,
        ttl: Seconds = 10.0,
        *,
        id: str = "",
        take_over: bool = False,
        timeout: Seconds | None = None,
    ) -> Session:
        """A session that is kept alive, for an ``async with`` statement, or for :meth:`Session.open`."""
        return Session(self, ttl, id, take_over, timeout)

    def lock(
        self,
        name: str,
        *,
        wait: Seconds | None = None,
        session: Session | None = None,
        ttl: Seconds = 10.0,
        value: Value = "",
    ) -> Lock:
        """A lock, for an ``async with`` statement: see :meth:`soloist.Client.lock`.

        If the lock is lost while the body runs, the body is cancelled, and the statement raises :class:`LockLost`.
        """
        return Lock(self, name, value, wait, session, ttl)

    def elect(
        self,
        name: str,
        value: Value,
        *,
        wait: Seconds | None = None,
        session: Session | None = None,
        ttl: Seconds = 10.0,
    ) -> Leadership:
        """A leadership, for an ``async with`` statement: like :meth:`lock`, and others see ``value``."""
        return Leadership(self, name, value, wait, session, ttl)

    async def leader(self, name: str, *, timeout: Seconds | None = None) -> Entry | None:
        """Returns the entry of the leader of an election, or the holder of a lock; ``None`` if there is none."""
        listed = self.list(flows.queue_prefix(name), timeout=timeout)
        found = [entry async for entry in listed if flows.is_place(name, entry.key)]
        return min(found, key=lambda entry: entry.create_revision, default=None)

    async def observe(self, name: str) -> AsyncIterator[Entry | None]:
        """Iterates over the leaders of an election, without end, beginning with the present one."""
        candidates: dict[str, Entry] = {}
        shown: tuple[Entry | None] | None = None
        async with await self.watch(prefix=flows.queue_prefix(name), initial=True) as watch:
            async for message in watch.messages():
                _take_candidates(candidates, name, message)
                leader = min(candidates.values(), key=lambda entry: entry.create_revision, default=None)
                if watch.caught_up and shown != (leader,):
                    shown = (leader,)
                    yield leader

    # The server.

    async def info(self, *, timeout: Seconds | None = None) -> Any:
        """Returns what the server is, how full it is, and its limits: a ``soloist.v1.Info`` message."""
        step = Unary("Admin", "GetInfo", admin_pb2.GetInfoRequest(), 0.0, False)
        return await self._run(flows.call(step, self._settings, timeout, None))

    # Inside.

    async def _operation(self, operation: Operation, timeout: Seconds | None, retry: Retry | None = None) -> Any:
        return await self._run(flows.operation(operation, self._settings, timeout, retry))

    async def _pages(self, flow: Callable[[str], Flow[flows.Page]]) -> AsyncIterator[Any]:
        token = ""
        while True:
            page = await self._run(flow(token))
            for item in page.items:
                yield item
            token = page.next_page_token
            if not token:
                return

    async def _run(self, flow: Flow[T]) -> T:
        """Goes through the steps of a flow."""
        try:
            step = next(flow)
            while True:
                try:
                    done = await self._step(step)
                except Error as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(done)
        except StopIteration as end:
            result: T = end.value
            return result

    async def _step(self, step: Unary | Pause) -> Any:
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return None
        node = self._nodes.current()
        method = getattr(node.stubs[step.service], step.method)
        try:
            return await method(step.request, timeout=step.timeout, metadata=self._metadata())
        except grpc.RpcError as failure:
            error = from_rpc_error(failure, changes=step.changes)
            self._nodes.learn(node, error)
            raise error from failure

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        return self._token.metadata() + self._nodes.metadata


@contextlib.asynccontextmanager
async def _timeout(seconds: float) -> AsyncIterator[None]:
    """``asyncio.timeout`` of Python 3.11, for 3.10."""
    task = asyncio.current_task()
    assert task is not None
    is_late = False

    def end() -> None:
        nonlocal is_late
        is_late = True
        task.cancel()

    timer = asyncio.get_running_loop().call_later(seconds, end)
    try:
        yield
    except asyncio.CancelledError:
        if is_late:
            raise TimeoutError from None
        raise
    finally:
        timer.cancel()


class Watch:
    """The changes of a key or a prefix: see :meth:`Client.watch`.

    ``async for event in watch`` gives each :class:`Event`; :meth:`messages` all changes of one revision together.
    """

    def __init__(self, client: Client, position: Position, resume: bool) -> None:
        self._client = client
        self._position = position
        self._resume = resume
        self._is_closed = False
        self._first: Message | None = None
        self._stream: Any = None
        self._node = client._nodes.current()

    @property
    def revision(self) -> int | None:
        """Every change up to this store revision has been received; ``None`` among the initial entries."""
        return self._position.revision

    @property
    def caught_up(self) -> bool:
        """Whether all that was there when the watch began has been received."""
        return self._position.caught_up

    async def __aenter__(self) -> Watch:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the watch."""
        self._is_closed = True
        if self._stream is not None:
            self._stream.cancel()

    async def __aiter__(self) -> AsyncIterator[Event]:
        async for message in self.messages():
            for event in message.events:
                yield event

    async def messages(self) -> AsyncIterator[Message]:
        """Iterates over messages: the changes of one revision, or progress."""
        attempts = 0
        while not self._is_closed:
            message, self._first = self._first, None
            if message is not None:
                yield message
            try:
                while (response := await self._stream.read()) is not _EOF:
                    attempts = 0
                    message = self._position.advance(response)
                    if message is not None:
                        yield message
                error = Error(grpc.StatusCode.UNAVAILABLE, "the server has ended the watch")
            except grpc.RpcError as failure:
                error = from_rpc_error(failure, changes=False)
                error.__cause__ = failure
                self._client._nodes.learn(self._node, error)
            except asyncio.CancelledError:
                # Either this task was cancelled, or the watch was closed.
                if self._is_closed:
                    return
                raise
            if self._is_closed:
                return
            if not (self._resume and error.is_transient and self._position.can_resume()):
                raise error
            attempts += 1
            await asyncio.sleep(self._client._settings.retry.delay(attempts, error))
            self._start(self._position.reopen())

    async def _open(self, end: float) -> None:
        """Opens the watch for the first time, and waits for its first message: then it sees every change."""
        attempts = 0
        while True:
            self._start(self._position.request)
            try:
                response = await self._stream.read()
                if response is not _EOF:
                    self._first = self._position.advance(response)
                    return
                error = Error(grpc.StatusCode.UNAVAILABLE, "the server has ended the watch")
            except grpc.RpcError as failure:
                error = from_rpc_error(failure, changes=False)
                error.__cause__ = failure
                self._client._nodes.learn(self._node, error)
            attempts += 1
            delay = self._client._settings.retry.delay(attempts, error)
            if not (self._resume and error.is_transient and delay < end - time.monotonic()):
                raise error
            await asyncio.sleep(delay)

    def _start(self, request: Any) -> None:
        self._node = self._client._nodes.current()
        self._stream = self._node.stubs["State"].Watch(request, metadata=self._client._metadata())


class Session:
    """A live session: see :meth:`Client.session`. Keys that were written with it are deleted when it ends.

    A task renews it after each third of its ttl. It counts as alive only while it certainly is: its ttl counts
    from before a renewal was sent.
    """

    def __init__(self, client: Client, ttl: Seconds, id: str, take_over: bool, timeout: Seconds | None) -> None:
        self._client = client
        self._asked = (id, ttl, take_over, timeout)
        self._opened: Any = None
        self._until = 0.0
        self._error: Error | None = None
        self._lost_or_closed = asyncio.Event()
        self._is_closed = False
        self._renewals: asyncio.Task[None] | None = None

    async def open(self) -> Session:
        """Opens the session, and begins to renew it."""
        if self._opened is not None:
            raise RuntimeError(f"session {self.id!r} was opened before")
        id, ttl, take_over, timeout = self._asked
        sent = time.monotonic()
        client = self._client
        self._opened = await client._run(flows.open_session(id, ttl, take_over, client._settings, timeout))
        self._until = sent + _without_drift(self.ttl)
        self._renewals = asyncio.create_task(self._renew_until_lost(sent))
        return self

    async def __aenter__(self) -> Session:
        return await self.open()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def id(self) -> str:
        """Its name."""
        return str(self._message().id)

    @property
    def create_revision(self) -> int:
        """The store revision at which it began: it tells this session from earlier and later ones of the same id."""
        return int(self._message().create_revision)

    @property
    def ttl(self) -> float:
        """How long it lives without being renewed. Seconds."""
        seconds: float = self._message().ttl.ToTimedelta().total_seconds()
        return seconds

    @property
    def is_alive(self) -> bool:
        """Whether the session is certainly alive now."""
        return self._error is None and not self._is_closed and time.monotonic() < self._until

    def check(self) -> None:
        """Raises :class:`SessionLost` unless the session is certainly alive."""
        if not self.is_alive:
            raise self._lost()

    async def wait_lost(self) -> None:
        """Waits until the session is lost or closed."""
        await self._lost_or_closed.wait()

    async def close(self) -> None:
        """Ends the session and deletes its keys."""
        if self._opened is None or self._is_closed:
            return
        self._is_closed = True
        self._lost_or_closed.set()
        if self._renewals is not None:
            self._renewals.cancel()
        await self._client._run(flows.close_session(self.id, self.create_revision, self._client._settings))

    def _message(self) -> Any:
        if self._opened is None:
            raise RuntimeError("the session is not open: use it in an async with statement, or await open()")
        return self._opened

    def _lost(self) -> SessionLost:
        error = self._error
        if error is None:
            text = "was closed" if self._is_closed else "could not be renewed in time"
            return SessionLost(grpc.StatusCode.DEADLINE_EXCEEDED, f"session {self.id!r} {text}")
        return SessionLost(
            error.code,
            f"session {self.id!r} is lost: {error.message}",
            reason=error.reason,
            metadata=error.metadata,
        )

    async def _renew_until_lost(self, sent: float) -> None:
        failure = Error(grpc.StatusCode.DEADLINE_EXCEEDED, "it could not be renewed in time")
        next_renewal = sent + self.ttl / 3
        while True:
            await asyncio.sleep(max(next_renewal - time.monotonic(), 0.0))
            sent = time.monotonic()
            left = self._until - sent
            if left <= 0:
                break
            try:
                await self._client._run(
                    flows.renew_session(self.id, self.create_revision, self._client._settings, min(self.ttl / 3, left))
                )
            except Error as error:
                failure = error
                if error.reason in ("SESSION_NOT_FOUND", "SESSION_TAKEN_OVER"):
                    break
                # Not sooner than the shortest pause of a retry, whatever the error.
                next_renewal = time.monotonic() + Retry().delay(3, error)
            except grpc.aio.UsageError:
                failure = Error(grpc.StatusCode.CANCELLED, "the client was closed")
                break
            else:
                self._until = sent + _without_drift(self.ttl)
                next_renewal = sent + self.ttl / 3
        self._error = failure
        self._lost_or_closed.set()


class Lock(Holding[Session]):
    """A lock: see :meth:`Client.lock`. It can be used more than once, by one task at a time."""

    # Cancels the task that runs the body when the session is lost.
    _guard: asyncio.Task[None] | None = None
    _body_cancelled = False

    async def acquire(self) -> None:
        """Waits for the lock. Outside of an ``async with`` statement nothing is cancelled when it is lost."""
        if self._place is not None:
            raise RuntimeError(f"the {self._what} {self._name!r} is held already")
        end = None if self._wait is None else time.monotonic() + to_seconds(self._wait)
        session = self._given or await self._client.session(self._ttl).open()
        try:
            await self._acquire(session, end)
        except BaseException:
            # A place that may have been taken is given up with the session.
            if self._given is None:
                await _in_spite_of_cancellation(session.close())
            raise

    async def release(self) -> None:
        """Gives the lock up."""
        place, self._place = self._place, None
        session, self._session = self._session, None
        if place is None or session is None:
            return
        if self._given is None:
            await session.close()
        else:
            await self._client._run(flows.give_up_place(place, self._client._settings))

    async def __aenter__(self: T) -> T:
        await self.acquire()  # type: ignore[attr-defined]
        self._guard_body()  # type: ignore[attr-defined]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        lost = None if self.is_held else self._lost()
        if self._guard is not None:
            self._guard.cancel()
        try:
            await self.release()
        except Error:
            # The key ends with the session. What the body has raised goes before.
            if kind is None and lost is None:
                raise
        cancelled_by_loss = self._body_cancelled and kind is asyncio.CancelledError
        if lost is not None and (kind is None or cancelled_by_loss):
            if cancelled_by_loss and (task := asyncio.current_task()) is not None and hasattr(task, "uncancel"):
                task.uncancel()
            raise lost

    def _guard_body(self) -> None:
        """Cancels this task when the session is lost."""
        task, session = asyncio.current_task(), self._session
        assert task is not None and session is not None
        self._body_cancelled = False

        async def guard() -> None:
            await session.wait_lost()
            self._body_cancelled = True
            task.cancel()

        self._guard = asyncio.create_task(guard())

    async def _acquire(self, session: Session, end: float | None) -> None:
        client, settings = self._client, self._client._settings
        place = await client._run(flows.take_place(self._name, session, self._value, settings, None))
        try:
            while True:
                ahead = await client._run(flows.ahead(self._name, place, settings))
                if ahead is None:
                    break
                await self._wait_for_end(ahead, session, end)
            session.check()
        except BaseException:
            if self._given is not None:
                await _in_spite_of_cancellation(client._run(flows.give_up_place(place, settings)))
            raise
        self._place, self._session = place, session

    async def _wait_for_end(self, ahead: flows.Ahead, session: Session, end: float | None) -> None:
        """Waits until the key ahead is gone."""

        async def gone() -> None:
            try:
                async with await self._client.watch(key=ahead.key, after_revision=ahead.revision) as watch:
                    async for event in watch:
                        if event.entry is None:
                            return
            except Error as error:
                # What has happened since cannot be told any more: look again.
                if error.code is not grpc.StatusCode.OUT_OF_RANGE:
                    raise

        is_gone = asyncio.ensure_future(gone())
        is_lost = asyncio.ensure_future(session.wait_lost())
        left = None if end is None else max(end - time.monotonic(), 0.0)
        try:
            await asyncio.wait({is_gone, is_lost}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if is_gone.done():
                return is_gone.result()
        finally:
            for waiting in (is_gone, is_lost):
                waiting.cancel()
            await asyncio.gather(is_gone, is_lost, return_exceptions=True)
        session.check()
        raise Error(
            grpc.StatusCode.DEADLINE_EXCEEDED,
            f"the {self._what} {self._name!r} was not free within {to_seconds(self._wait or 0)} s",
        )


class Leadership(Lock):
    """A leadership: see :meth:`Client.elect`."""

    _what = "leadership"

    async def proclaim(self, value: Value) -> None:
        """Shows another value, as long as the leadership lasts. Raises :class:`LockLost` if it is over."""
        place = self._held()
        expect = Condition.create_revision(place.create_revision)
        try:
            await self._client.write(place.key, value, expect=expect, keep_lifetime=True)
        except Error as error:
            if error.reason == "EXPECTATION_FAILED":
                raise self._lost() from error
            raise


async def _in_spite_of_cancellation(cleanup: Awaitable[Any]) -> None:
    """Ends what was begun, although this task is being cancelled."""

    async def run() -> None:
        with contextlib.suppress(Error):
            await cleanup

    await asyncio.shield(asyncio.ensure_future(run()))


class Pipeline:
    """A stream of frames, the cheapest way to do many operations. It is an async context manager, which waits
    for all answers.

    Frames are answered in the order in which they were sent. Nothing is sent again by itself: when the stream
    breaks, the frames without an answer fail with :class:`soloist.OutcomeUnknown`, and a new pipeline is
    needed.
    """

    def __init__(
        self,
        begin: Callable[[], Any],
        find: Callable[[], Coroutine[Any, Any, None]] | None,
        in_flight: int,
    ) -> None:
        if in_flight < 1:
            raise ValueError(f"in_flight must be at least 1, not {in_flight}")
        self._room = asyncio.Semaphore(in_flight)
        self._sending = asyncio.Lock()
        self._waiting: deque[tuple[Sequence[Operation], asyncio.Future[FrameResult]]] = deque()
        self._error: Error | None = None
        self._begin = begin
        self._find = find
        self._stream: Any = None
        if find is None:
            self._start()

    def _start(self) -> None:
        if self._stream is None:
            self._stream = self._begin()
            self._reader = asyncio.ensure_future(self._read())

    async def __aenter__(self) -> Pipeline:
        if self._stream is None and self._find is not None:
            await self._find()
        self._start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._stream.cancel()
        await self.close()

    async def send(
        self,
        operations: Sequence[Operation],
        *,
        atomic: bool = False,
        request_id: str = "",
        timeout: Seconds | None = None,
    ) -> asyncio.Future[FrameResult]:
        """Sends a frame, and returns a future of its answer. Waits for room if too many are unanswered."""
        frame = to_frame(operations, atomic, request_id, timeout)
        self._start()
        await self._room.acquire()
        async with self._sending:
            if self._error is not None:
                self._room.release()
                raise self._error
            answer: asyncio.Future[FrameResult] = asyncio.get_running_loop().create_future()
            self._waiting.append((operations, answer))
            # A broken stream is told by the reader, to all frames.
            with contextlib.suppress(grpc.RpcError, asyncio.InvalidStateError):
                await self._stream.write(frame)
        return answer

    def frame(
        self, operations: Sequence[Operation], *, atomic: bool = False, request_id: str = ""
    ) -> Coroutine[Any, Any, FrameResult]:
        """Sends a frame and waits for its answer. Run many of these together, by ``asyncio.gather`` for example."""

        async def run() -> FrameResult:
            return await (await self.send(operations, atomic=atomic, request_id=request_id))

        return run()

    async def close(self) -> None:
        """Sends no more frames, and waits for the answers to those that were sent."""
        self._start()
        async with self._sending:
            if self._error is None:
                with contextlib.suppress(grpc.RpcError, asyncio.InvalidStateError):
                    await self._stream.done_writing()
        await self._reader

    async def _read(self) -> None:
        error = Error(grpc.StatusCode.UNAVAILABLE, "the server has ended the stream")
        try:
            while (response := await self._stream.read()) is not _EOF:
                operations, answer = self._waiting.popleft()
                self._room.release()
                answered = from_answer(operations, response)
                if answer.cancelled():
                    continue
                if isinstance(answered, Error):
                    answer.set_exception(answered)
                else:
                    answer.set_result(answered)
        except grpc.RpcError as failure:
            error = from_rpc_error(failure, changes=False)
            error.__cause__ = failure
        except asyncio.CancelledError:
            error = Error(grpc.StatusCode.CANCELLED, "the pipeline was cancelled")
        self._error = error
        while self._waiting:
            _, answer = self._waiting.popleft()
            self._room.release()
            if not answer.cancelled():
                answer.set_exception(broken(error))
                # Whoever does not look at an answer is not warned.
                answer.exception()
