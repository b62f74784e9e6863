"""Errors: what went wrong, whether anything was applied, and whether the same call may be sent again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2

from soloist.v1 import errors_pb2

__all__ = ["Error", "LockLost", "OutcomeUnknown", "SessionLost"]

# The reasons of causes that pass by themselves.
_TRANSIENT = frozenset(
    {"OVERLOADED", "NOT_STARTED", "NOT_CONFIRMED", "OUTCOME_UNKNOWN", "DRAINING", "OWNER_LOST", "NOT_OWNER"}
)
# The codes of causes that pass by themselves, where the sender gave no reason: the network, a proxy, a library.
_TRANSIENT_CODES = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})
_DOMAIN = "soloist.v1"
_CODES = {code.value[0]: code for code in grpc.StatusCode}


class Error(Exception):
    """A call, a frame, or one operation of a frame that did not succeed.

    An error of the server itself has a ``reason``. It means that nothing was applied, unless it is an
    :class:`OutcomeUnknown`.
    """

    #: The gRPC status code.
    code: grpc.StatusCode
    #: What went wrong, in words.
    message: str
    #: The name of a value of ``soloist.v1.Error.Reason``, such as ``"KEY_EXISTS"``. ``None`` if the error does
    #: not come from the server itself.
    reason: str | None
    #: The details of the reason, such as ``limit`` and ``actual``; ``soloist.v1.Error.Reason`` lists them.
    metadata: Mapping[str, str]
    #: How many seconds to wait before a retry, if the server says so.
    retry_after: float | None

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        *,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
        retry_after: float | None = None,
        retry_forbidden: bool = False,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.reason = reason
        self.metadata = dict(metadata or {})
        self.retry_after = retry_after
        self._retry_forbidden = retry_forbidden

    @property
    def op(self) -> int | None:
        """The index of the operation that was refused, in a batch or an atomic frame."""
        op = self.metadata.get("op")
        return None if op is None else int(op)

    @property
    def applied(self) -> bool | None:
        """Whether the call has changed anything: ``False``, or ``None`` if that is not known."""
        return None if isinstance(self, OutcomeUnknown) else False

    @property
    def is_transient(self) -> bool:
        """Whether the cause passes by itself: overload, a restart, a lost connection."""
        if self._retry_forbidden:
            return False
        if self.reason is not None:
            return self.reason in _TRANSIENT
        return self.code in _TRANSIENT_CODES

    def __str__(self) -> str:
        name = self.reason or self.code.name
        return f"{self.message} ({name})" if self.message else name


class OutcomeUnknown(Error):
    """The call may have been applied or not, or may still be applied.

    Send it again with the same ``request_id`` only, which calls of this library do by themselves while there is
    time; otherwise read first.
    """


class SessionLost(Error):
    """The session has ended, or was taken over, or could not be renewed in time."""


class LockLost(SessionLost):
    """The session that held a lock or a leadership was lost: somebody else may hold it now."""


def from_rpc_error(error: Exception, *, changes: bool) -> Error:
    """Converts the error of a gRPC call. ``changes``: whether the call may have changed anything."""
    # The errors of calls are calls, too, which their type does not say.
    call: Any = error
    code: grpc.StatusCode = call.code()
    details: str = call.details() or ""
    trailers: dict[str, Any] = dict(call.trailing_metadata() or ())
    status = status_pb2.Status()
    binary = trailers.get("grpc-status-details-bin")
    if isinstance(binary, bytes):
        try:
            status.ParseFromString(binary)
        except Exception:
            status = status_pb2.Status()
    return _make(code, details, status, trailers, changes=changes)


def from_status(status: Any, *, changes: bool = True) -> Error:
    """Converts a ``google.rpc.Status`` that came in the response to a frame."""
    code = _CODES.get(status.code, grpc.StatusCode.UNKNOWN)
    return _make(code, status.message, status, {}, changes=changes)


def _make(code: grpc.StatusCode, message: str, status: Any, trailers: Mapping[str, Any], *, changes: bool) -> Error:
    reason: str | None = None
    metadata: dict[str, str] = {}
    retry_after: float | None = None
    retry_forbidden = False
    for detail in status.details:
        info = error_details_pb2.ErrorInfo()
        delay = error_details_pb2.RetryInfo()
        if detail.Unpack(info) and info.domain == _DOMAIN:
            reason, metadata = info.reason, dict(info.metadata)
        elif detail.Unpack(delay):
            retry_after = delay.retry_delay.ToTimedelta().total_seconds()
    pushback = trailers.get("grpc-retry-pushback-ms")
    if pushback is not None:
        try:
            milliseconds = int(pushback)
        except ValueError:
            milliseconds = -1
        retry_forbidden = milliseconds < 0
        if milliseconds >= 0 and retry_after is None:
            retry_after = milliseconds / 1_000
    unknown = reason == "OUTCOME_UNKNOWN" or (changes and reason is None and not _never_sent(code, message))
    kind = OutcomeUnknown if unknown else Error
    return kind(
        code,
        message,
        reason=reason,
        metadata=metadata,
        retry_after=retry_after,
        retry_forbidden=retry_forbidden,
    )


def _never_sent(code: grpc.StatusCode, message: str) -> bool:
    """Whether no server has seen the call: no connection could be made."""
    return code is grpc.StatusCode.UNAVAILABLE and (
        "failed to connect" in message.lower() or "name resolution" in message.lower()
    )


#: The names of all reasons of this version of the contract.
REASONS = frozenset(errors_pb2.Error.Reason.keys())
