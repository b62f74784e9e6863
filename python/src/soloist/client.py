"""The client, for threads."""

from __future__ import annotations

import builtins
import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import grpc

from soloist import flows, watching
from soloist.channel import Target, Token
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
from soloist.pipelining import Pipeline
from soloist.v1 import admin_pb2
from soloist.values import Condition, Entry, Machine, Seconds, Value, to_seconds
from soloist.watching import Event, Message, Position

__all__ = ["Client", "Leadership", "Lock", "Session", "Watch", "connect"]

T = TypeVar("T")


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
    """Returns a client of the server at ``target``. The connection is made with the first call.

    ``target``: ``HOST:PORT``, ``http://HOST:PORT``, ``https://HOST:PORT`` or ``unix:PATH``. The nodes of a cluster have
    commas in between: ``HOST:PORT,HOST:PORT``. Calls go to the node that owns the store, and follow it to others.

    ``ca_file``: the authorities of the server's certificate; without it, those of the system.
    ``identity_files``: the client's certificate, with the chain above it, and its key. They are read now: after
    an exchange of certificates, connect again. ``token`` or ``token_file``: what ``soloist-server token`` made;
    the file is read again when it changes.

    ``timeout``: how long a call may take with all its retries. ``retry``: when a failed call is sent again.
    """
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
        return grpc.secure_channel(target.address, target.credentials(), target.channel_options())
    return grpc.insecure_channel(target.address, target.channel_options())


class Client:
    """A client of a server: see :func:`connect`. Threads may share it. It is a context manager, which closes it.

    Every method that changes something sends a ``request_id``, so a call that was sent twice is applied once.

    ``timeout``, in seconds, and ``retry`` of a call go before those of the client. Every method raises :class:`Error`.
    """

    def __init__(self, nodes: Nodes, token: Token, settings: Settings) -> None:
        self._nodes = nodes
        self._token = token
        self._settings = settings

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection. Calls that are under way fail."""
        for channel in self._nodes.channels():
            channel.close()

    # Keys.

    def read(self, key: str, *, expect: Condition | None = None, timeout: Seconds | None = None) -> Entry | None:
        """Returns what is stored under a key; ``None`` if it does not exist."""
        found: Entry | None = self._operation(Read(key, expect), timeout)
        return found

    def write(
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
        """Creates or replaces a value: see :class:`Write`."""
        write = Write(
            key,
            value,
            expect,
            ttl,
            session,
            keep_lifetime,
            keep_value,
            return_previous,
            request_id,
        )
        written: Written = self._operation(write, timeout, retry)
        return written

    def add(
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
        """Adds to an int in one step: see :class:`Add`."""
        add = Add(key, delta, min, max, saturate, expect, ttl, session, request_id)
        added: Added = self._operation(add, timeout, retry)
        return added

    def transition(
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
        """Moves a key to another state of its machine: see :class:`Transition`."""
        transition = Transition(key, to, value, expect, request_id)
        transitioned: Transitioned = self._operation(transition, timeout, retry)
        return transitioned

    def delete(
        self,
        key: str,
        *,
        expect: Condition | None = None,
        request_id: str = "",
        timeout: Seconds | None = None,
        retry: Retry | None = None,
    ) -> Deleted:
        """Deletes a key. A missing key is no error."""
        deleted: Deleted = self._operation(Delete(key, expect, request_id), timeout, retry)
        return deleted

    def delete_prefix(self, prefix: str, *, every_key: bool = False, timeout: Seconds | None = None) -> PrefixDeleted:
        """Deletes the keys that begin with ``prefix``, some thousands with each call. ``every_key`` must be set
        with ``""``.
        """
        return self._run(flows.delete_prefix(prefix, every_key, self._settings, timeout))

    def batch(
        self,
        operations: Sequence[Operation],
        *,
        request_id: str = "",
        timeout: Seconds | None = None,
        retry: Retry | None = None,
    ) -> builtins.list[Result]:
        """Applies all operations in order, or none of them. ``Error.op`` is the index of the one that was refused."""
        return self._run(flows.batch(operations, self._settings, timeout, retry, request_id))

    def list(
        self,
        prefix: str = "",
        *,
        keys_only: bool = False,
        page_size: int = 0,
        timeout: Seconds | None = None,
    ) -> Iterator[Entry]:
        """Iterates over the entries whose keys begin with ``prefix``, in the order of the bytes of their keys.

        The entries come page by page, each page as of its own revision.
        """
        return self._pages(lambda token: flows.entries(prefix, keys_only, page_size, token, self._settings, timeout))

    def watch(
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
        """Opens a watch of a key or a prefix, and returns when it is open: it sees every change from then on.

        ``initial``: what is there comes first. ``after_revision``: the changes after this one come first.

        With ``resume`` the watch goes on by itself after a break, without end, and misses nothing. It ends with
        OUT_OF_RANGE if
        the changes in between are no longer kept, or the store is another one, and with the error of the break
        if that came among the initial entries: begin anew with ``initial``.
        """
        # It also finds the owner, if there are several nodes.
        info = self.info(timeout=timeout) if resume or self._nodes.others else None
        store_id = info.store_id if resume and info else ""
        request = watching.request(key, prefix, after_revision, initial, previous, progress_interval, store_id)
        seconds = self._settings.timeout if timeout is None else to_seconds(timeout)
        return Watch(self, Position(request), resume, seconds)

    def pipeline(self, *, in_flight: int = 64, timeout: Seconds | None = None) -> Pipeline:
        """Opens a stream of frames, the cheapest way to do many operations: see :class:`Pipeline`.

        ``in_flight``: how many frames may be unanswered before the next one waits. ``timeout``: of the whole
        stream; without it, it has none.
        """
        if self._nodes.others:
            # It finds the owner: what a frame is refused with comes too late.
            self.info(timeout=timeout)
        return Pipeline(self._nodes.current().stubs["State"].Pipeline, self._metadata(), in_flight, timeout)

    # Machines.

    def define_machine(
        self,
        machine: Machine,
        *,
        expect: Condition | None = None,
        validate_only: bool = False,
        timeout: Seconds | None = None,
    ) -> Machine:
        """Creates or replaces a machine. An equal definition changes nothing."""
        return self._run(flows.define_machine(machine, expect, validate_only, self._settings, timeout))

    def machine(self, name: str, *, timeout: Seconds | None = None) -> Machine | None:
        """Returns a machine; ``None`` if there is none of that name."""
        return self._run(flows.machine(name, self._settings, timeout))

    def machines(self, *, timeout: Seconds | None = None) -> Iterator[Machine]:
        """Iterates over the machines, in the order of the bytes of their names."""
        return self._pages(lambda token: flows.machines(token, self._settings, timeout))

    def delete_machine(self, name: str, *, force: bool = False, timeout: Seconds | None = None) -> None:
        """Deletes a machine. Its keys stay."""
        self._run(flows.delete_machine(name, force, self._settings, timeout))

    # Sessions, locks and elections.

    def session(
        self,
        ttl: Seconds = 10.0,
        *,
        id: str = "",
        take_over: bool = False,
        timeout: Seconds | None = None,
    ) -> Session:
        """Opens a session, and keeps it alive until it is closed. It is a context manager, which closes it.

        ``ttl``: how long it lives without being renewed, 1 s to 24 h. ``id``: without it, the server makes one.
        """
        sent = time.monotonic()
        opened = self._run(flows.open_session(id, ttl, take_over, self._settings, timeout))
        return Session(self, opened, sent)

    def lock(
        self,
        name: str,
        *,
        wait: Seconds | None = None,
        session: Session | None = None,
        ttl: Seconds = 10.0,
        value: Value = "",
    ) -> Lock:
        """A lock, for a ``with`` statement::

            with client.lock("locks/printer") as lock:
                printer.print(page, token=lock.token)

        The statement waits for its turn: in order, at most ``wait`` seconds, and then raises :class:`Error` with
        DEADLINE_EXCEEDED.
        The lock ends with a session: ``session``, or one of its own with this ``ttl``. If that is lost while
        the body runs, the statement ends with :class:`LockLost`.

        Those who wait and the one who holds have a key each, ``name + "/" + session.id``; the oldest holds the lock.
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
        """A leadership, for a ``with`` statement: like :meth:`lock`, and others see ``value`` by :meth:`leader`."""
        return Leadership(self, name, value, wait, session, ttl)

    def leader(self, name: str, *, timeout: Seconds | None = None) -> Entry | None:
        """Returns the entry of the leader of an election, or the holder of a lock; ``None`` if there is none."""
        listed = self.list(flows.queue_prefix(name), timeout=timeout)
        found = (entry for entry in listed if flows.is_place(name, entry.key))
        return min(found, key=lambda entry: entry.create_revision, default=None)

    def observe(self, name: str) -> Iterator[Entry | None]:
        """Iterates over the leaders of an election, without end, beginning with the present one.

        Leaders that were followed by another at once may be left out.
        """
        candidates: dict[str, Entry] = {}
        shown: tuple[Entry | None] | None = None
        with contextlib.closing(self.watch(prefix=flows.queue_prefix(name), initial=True)) as watch:
            for message in watch.messages():
                _take_candidates(candidates, name, message)
                leader = min(candidates.values(), key=lambda entry: entry.create_revision, default=None)
                if watch.caught_up and shown != (leader,):
                    shown = (leader,)
                    yield leader

    # The server.

    def info(self, *, timeout: Seconds | None = None) -> Any:
        """Returns what the server is, how full it is, and its limits: a ``soloist.v1.Info`` message."""
        step = Unary("Admin", "GetInfo", admin_pb2.GetInfoRequest(), 0.0, False)
        return self._run(flows.call(step, self._settings, timeout, None))

    # Inside.

    def _operation(self, operation: Operation, timeout: Seconds | None, retry: Retry | None = None) -> Any:
        return self._run(flows.operation(operation, self._settings, timeout, retry))

    def _pages(self, flow: Callable[[str], Flow[flows.Page]]) -> Iterator[Any]:
        token = ""
        while True:
            page = self._run(flow(token))
            yield from page.items
            token = page.next_page_token
            if not token:
                return

    def _run(self, flow: Flow[T], cancelled: threading.Event | None = None) -> T:
        """Goes through the steps of a flow. Setting ``cancelled`` ends a pause early."""
        try:
            step = next(flow)
            while True:
                try:
                    done = self._step(step, cancelled)
                except Error as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(done)
        except StopIteration as end:
            result: T = end.value
            return result

    def _step(self, step: Unary | Pause, cancelled: threading.Event | None) -> Any:
        if isinstance(step, Pause):
            if cancelled is None:
                time.sleep(step.seconds)
            else:
                cancelled.wait(step.seconds)
            return None
        node = self._nodes.current()
        method = getattr(node.stubs[step.service], step.method)
        try:
            return method(step.request, timeout=step.timeout, metadata=self._metadata())
        except grpc.RpcError as failure:
            error = from_rpc_error(failure, changes=step.changes)
            self._nodes.learn(node, error)
            raise error from failure

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        return self._token.metadata() + self._nodes.metadata


def _take_candidates(candidates: dict[str, Entry], name: str, message: Message) -> None:
    for event in message.events:
        if not flows.is_place(name, event.key):
            continue
        if event.entry is None:
            candidates.pop(event.key, None)
        else:
            candidates[event.key] = event.entry


class Watch:
    """The changes of a key or a prefix: see :meth:`Client.watch`.

    Iterating over it gives each :class:`Event`; :meth:`messages` gives all changes of one revision together.
    One thread may iterate; another may :meth:`close` it, which ends the iteration.
    """

    def __init__(self, client: Client, position: Position, resume: bool, timeout: float) -> None:
        self._client = client
        self._position = position
        self._resume = resume
        self._timeout = timeout
        self._closed = threading.Event()
        self._first: Message | None = None
        self._stream: Any = None
        self._node = client._nodes.current()
        end = time.monotonic() + timeout
        self._open(end, attempts=0)

    @property
    def revision(self) -> int | None:
        """Every change up to this store revision has been received; ``None`` among the initial entries."""
        return self._position.revision

    @property
    def caught_up(self) -> bool:
        """Whether all that was there when the watch began has been received."""
        return self._position.caught_up

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the watch."""
        self._closed.set()
        if self._stream is not None:
            self._stream.cancel()

    def __iter__(self) -> Iterator[Event]:
        for message in self.messages():
            yield from message.events

    def messages(self) -> Iterator[Message]:
        """Iterates over messages: the changes of one revision, or progress."""
        attempts = 0
        while not self._closed.is_set():
            message, self._first = self._first, None
            if message is not None:
                yield message
            try:
                for response in self._stream:
                    attempts = 0
                    message = self._position.advance(response)
                    if message is not None:
                        yield message
                error = Error(grpc.StatusCode.UNAVAILABLE, "the server has ended the watch")
            except grpc.RpcError as failure:
                if self._closed.is_set():
                    return
                error = from_rpc_error(failure, changes=False)
                error.__cause__ = failure
                self._client._nodes.learn(self._node, error)
            if self._closed.is_set():
                return
            if not (self._resume and error.is_transient and self._position.can_resume()):
                raise error
            attempts += 1
            if self._closed.wait(self._client._settings.retry.delay(attempts, error)):
                return
            self._start(self._position.reopen())

    def _open(self, end: float, attempts: int) -> None:
        """Opens the watch for the first time, and waits for its first message: then it sees every change."""
        while True:
            self._start(self._position.request)
            timer = threading.Timer(max(end - time.monotonic(), 0.0), self._stream.cancel)
            timer.daemon = True
            timer.start()
            try:
                response = next(self._stream)
            except StopIteration:
                error = Error(grpc.StatusCode.UNAVAILABLE, "the server has ended the watch")
            except grpc.RpcError as failure:
                error = from_rpc_error(failure, changes=False)
                error.__cause__ = failure
                self._client._nodes.learn(self._node, error)
                if error.code is grpc.StatusCode.CANCELLED:
                    error = Error(grpc.StatusCode.DEADLINE_EXCEEDED, "the watch was not opened in time")
                    error.__cause__ = failure
            else:
                self._first = self._position.advance(response)
                return
            finally:
                timer.cancel()
            attempts += 1
            delay = self._client._settings.retry.delay(attempts, error)
            if not (self._resume and error.is_transient and delay < end - time.monotonic()):
                raise error
            time.sleep(delay)

    def _start(self, request: Any) -> None:
        self._node = self._client._nodes.current()
        self._stream = self._node.stubs["State"].Watch(request, metadata=self._client._metadata())
        if self._closed.is_set():
            self._stream.cancel()


class Session:
    """A live session: see :meth:`Client.session`. Keys that were written with it are deleted when it ends.

    A thread renews it after each third of its ttl. It counts as alive only while it certainly is: its ttl
    counts from before a renewal was sent.
    """

    def __init__(self, client: Client, opened: Any, sent: float) -> None:
        self._client = client
        #: Its name.
        self.id: str = opened.id
        #: The store revision at which it began: it tells this session from earlier and later ones of the same id.
        self.create_revision: int = opened.create_revision
        #: How long it lives without being renewed. Seconds.
        self.ttl: float = opened.ttl.ToTimedelta().total_seconds()
        self._until = sent + _without_drift(self.ttl)
        self._sent = sent
        self._error: Error | None = None
        self._changed = threading.Condition()
        self._callbacks: list[Callable[[SessionLost], None]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew_until_lost, name=f"soloist session {self.id}", daemon=True)
        self._thread.start()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def is_alive(self) -> bool:
        """Whether the session is certainly alive now."""
        return self._error is None and not self._ended.is_set() and time.monotonic() < self._until

    def check(self) -> None:
        """Raises :class:`SessionLost` unless the session is certainly alive."""
        if not self.is_alive:
            raise self._lost()

    def wait_lost(self, timeout: float | None = None) -> bool:
        """Waits until the session is lost or closed. Returns whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: self._error is not None or self._ended.is_set(), timeout)

    def on_lost(self, callback: Callable[[SessionLost], None]) -> None:
        """Calls ``callback`` once if the session is lost, in another thread; at once if it is lost already."""
        with self._changed:
            if self._error is None:
                self._callbacks.append(callback)
                return
        callback(self._lost())

    def close(self) -> None:
        """Ends the session and deletes its keys."""
        if self._end():
            self._client._run(flows.close_session(self.id, self.create_revision, self._client._settings))

    def _end(self) -> bool:
        with self._changed:
            first = not self._ended.is_set()
            self._ended.set()
            self._callbacks.clear()
            self._changed.notify_all()
        return first

    def _forget(self, callback: Callable[[SessionLost], None]) -> None:
        with self._changed, contextlib.suppress(ValueError):
            self._callbacks.remove(callback)

    def _lost(self) -> SessionLost:
        error = self._error
        if error is None:
            text = "was closed" if self._ended.is_set() else "could not be renewed in time"
            return SessionLost(grpc.StatusCode.DEADLINE_EXCEEDED, f"session {self.id!r} {text}", reason=None)
        return SessionLost(
            error.code,
            f"session {self.id!r} is lost: {error.message}",
            reason=error.reason,
            metadata=error.metadata,
        )

    def _renew_until_lost(self) -> None:
        failure = Error(grpc.StatusCode.DEADLINE_EXCEEDED, "it could not be renewed in time")
        next_renewal = self._sent + self.ttl / 3
        while not self._ended.wait(max(next_renewal - time.monotonic(), 0.0)):
            sent = time.monotonic()
            left = self._until - sent
            if left <= 0:
                break
            try:
                renewal = flows.renew_session(
                    self.id, self.create_revision, self._client._settings, min(self.ttl / 3, left)
                )
                self._client._run(renewal, self._ended)
            except Error as error:
                failure = error
                if error.reason in ("SESSION_NOT_FOUND", "SESSION_TAKEN_OVER"):
                    break
                # Not sooner than the shortest pause of a retry, whatever the error.
                next_renewal = time.monotonic() + Retry().delay(3, error)
            except ValueError:
                # The channel was closed.
                failure = Error(grpc.StatusCode.CANCELLED, "the client was closed")
                break
            else:
                self._until = sent + _without_drift(self.ttl)
                next_renewal = sent + self.ttl / 3
        with self._changed:
            if self._ended.is_set():
                return
            self._error = failure
            callbacks, self._callbacks = self._callbacks, []
            self._changed.notify_all()
        for callback in callbacks:
            callback(self._lost())


def _without_drift(ttl: float) -> float:
    """The part of a ttl that passes on this side's clock before the whole ttl has passed on the server's."""
    return ttl * 0.999


class Lock(Holding[Session]):
    """A lock: see :meth:`Client.lock`. It can be used more than once, by one thread at a time."""

    def acquire(self) -> None:
        """Waits for the lock."""
        if self._place is not None:
            raise RuntimeError(f"the {self._what} {self._name!r} is held already")
        end = None if self._wait is None else time.monotonic() + to_seconds(self._wait)
        session = self._given or self._client.session(self._ttl)
        try:
            self._acquire(session, end)
        except BaseException:
            # A place that may have been taken is given up with the session.
            if self._given is None:
                with contextlib.suppress(Error):
                    session.close()
            raise

    def release(self) -> None:
        """Gives the lock up."""
        place, self._place = self._place, None
        session, self._session = self._session, None
        if place is None or session is None:
            return
        if self._given is None:
            session.close()
        else:
            self._client._run(flows.give_up_place(place, self._client._settings))

    def __enter__(self: T) -> T:
        self.acquire()  # type: ignore[attr-defined]
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        lost = None if self.is_held else self._lost()
        try:
            self.release()
        except Error:
            # The key ends with the session. What the body has raised goes before.
            if kind is None and lost is None:
                raise
        if kind is None and lost is not None:
            raise lost

    def _acquire(self, session: Session, end: float | None) -> None:
        client, settings = self._client, self._client._settings
        place = client._run(flows.take_place(self._name, session, self._value, settings, None))
        try:
            while True:
                ahead = client._run(flows.ahead(self._name, place, settings))
                if ahead is None:
                    break
                self._wait_for_end(ahead, session, end)
            session.check()
        except BaseException:
            if self._given is not None:
                with contextlib.suppress(Error):
                    client._run(flows.give_up_place(place, settings))
            raise
        self._place, self._session = place, session

    def _wait_for_end(self, ahead: flows.Ahead, session: Session, end: float | None) -> None:
        """Waits until the key ahead is gone."""
        watch = self._client.watch(key=ahead.key, after_revision=ahead.revision)
        timer: threading.Timer | None = None
        if end is not None:
            timer = threading.Timer(max(end - time.monotonic(), 0.0), watch.close)
            timer.daemon = True
            timer.start()

        def on_lost(_: SessionLost) -> None:
            watch.close()

        session.on_lost(on_lost)
        try:
            for event in watch:
                if event.entry is None:
                    return
        except Error as error:
            # What has happened since cannot be told any more: look again.
            if error.code is grpc.StatusCode.OUT_OF_RANGE:
                return
            raise
        finally:
            session._forget(on_lost)
            watch.close()
            if timer is not None:
                timer.cancel()
        session.check()
        raise Error(
            grpc.StatusCode.DEADLINE_EXCEEDED,
            f"the {self._what} {self._name!r} was not free within {to_seconds(self._wait or 0)} s",
        )


class Leadership(Lock):
    """A leadership: see :meth:`Client.elect`."""

    _what = "leadership"

    def proclaim(self, value: Value) -> None:
        """Shows another value, as long as the leadership lasts.

        Raises :class:`LockLost` if it is over.
        """
        place = self._held()
        try:
            self._client.write(
                place.key,
                value,
                expect=Condition.create_revision(place.create_revision),
                keep_lifetime=True,
            )
        except Error as error:
            if error.reason == "EXPECTATION_FAILED":
                raise self._lost() from error
            raise
