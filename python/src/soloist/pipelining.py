"""Pipelines: many frames of operations in flight on one stream."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import grpc

from soloist.errors import Error, OutcomeUnknown, from_rpc_error, from_status
from soloist.operations import Operation, Result, from_op_result, to_op
from soloist.v1 import state_pb2
from soloist.values import Seconds, to_duration, to_seconds


@dataclass(frozen=True)
class FrameResult:
    """The answer to a frame."""

    #: One result for each operation, in their order. In a frame that is not atomic, the error of an operation that was
    #: refused stands in its place.
    results: list[Result | Error]
    #: The store revision at which the frame was true.
    revision: int
    #: This is the answer to an earlier frame with the same ``request_id``.
    replayed: bool


def to_frame(operations: Sequence[Operation], atomic: bool, request_id: str, timeout: Seconds | None) -> Any:
    """Makes the message of a frame."""
    return state_pb2.PipelineRequest(
        ops=[to_op(operation) for operation in operations],
        atomic=atomic,
        request_id=request_id,
        timeout=None if timeout is None else to_duration(timeout, "timeout"),
    )


def from_answer(operations: Sequence[Operation], response: Any) -> FrameResult | Error:
    """Converts the answer to a frame; an error if the whole frame was refused."""
    if response.HasField("error"):
        return from_status(response.error)
    results = [
        from_op_result(operation, result) for operation, result in zip(operations, response.results, strict=True)
    ]
    return FrameResult(results, response.revision, response.replayed)


def broken(error: Error) -> Error:
    """The error of a frame that was sent and not answered, when its stream ended with ``error``."""
    if error.reason in ("DRAINING", "NOT_STARTED", "NOT_OWNER", "NOT_PERMITTED", "CREDENTIALS_UNKNOWN"):
        # The frames that the server had read were answered before.
        return error
    return OutcomeUnknown(
        error.code, error.message, reason=error.reason, metadata=error.metadata, retry_after=error.retry_after
    )


class Pipeline:
    """A stream of frames: see :meth:`Client.pipeline`. It is a context manager, which waits for all answers.

    Threads may share it. Frames are answered in the order in which they were sent. Nothing is sent again by
    itself: when the stream breaks, the frames without an answer fail with :class:`OutcomeUnknown`, and a new
    pipeline is needed.
    """

    def __init__(
        self,
        stub: Callable[..., Any],
        metadata: tuple[tuple[str, str], ...],
        in_flight: int,
        timeout: Seconds | None,
    ) -> None:
        if in_flight < 1:
            raise ValueError(f"in_flight must be at least 1, not {in_flight}")
        self._room = threading.Semaphore(in_flight)
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Sequence[Operation], Future[FrameResult]]] = deque()
        # At most as many as there is room for, and the end.
        self._frames: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._error: Error | None = None
        self._is_closed = False
        seconds = None if timeout is None else to_seconds(timeout)
        self._stream = stub(iter(self._frames.get, None), metadata=metadata, timeout=seconds)
        self._reader = threading.Thread(target=self._read, name="soloist pipeline", daemon=True)
        self._reader.start()

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._stream.cancel()
        self.close()

    def frame(
        self,
        operations: Sequence[Operation],
        *,
        atomic: bool = False,
        request_id: str = "",
        timeout: Seconds | None = None,
    ) -> Future[FrameResult]:
        """Sends a frame. Waits for room if too many are unanswered; does not wait for the answer.

        ``timeout``: how long the frame may wait for the server's owner.
        """
        frame = to_frame(operations, atomic, request_id, timeout)
        answer: Future[FrameResult] = Future()
        # A future that is cancelled would lose its place.
        answer.set_running_or_notify_cancel()
        self._room.acquire()
        with self._lock:
            if self._error is None and not self._is_closed:
                self._waiting.append((operations, answer))
                self._frames.put(frame)
                return answer
            error = self._error
        self._room.release()
        raise error or Error(grpc.StatusCode.CANCELLED, "the pipeline is closed")

    def close(self) -> None:
        """Sends no more frames, and waits for the answers to those that were sent."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                self._frames.put(None)
        self._reader.join()

    def _read(self) -> None:
        error = Error(grpc.StatusCode.UNAVAILABLE, "the server has ended the stream")
        try:
            for response in self._stream:
                with self._lock:
                    operations, answer = self._waiting.popleft()
                self._room.release()
                answered = from_answer(operations, response)
                if isinstance(answered, Error):
                    answer.set_exception(answered)
                else:
                    answer.set_result(answered)
        except grpc.RpcError as failure:
            error = from_rpc_error(failure, changes=False)
            error.__cause__ = failure
        with self._lock:
            self._error = error
            unanswered, self._waiting = self._waiting, deque()
            # Ends the thread that sends.
            self._frames.put(None)
        for _, answer in unanswered:
            self._room.release()
            answer.set_exception(broken(error))
