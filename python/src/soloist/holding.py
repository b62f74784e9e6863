"""What a lock or a leadership is while it is held: the same for threads and for asyncio."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import grpc

from soloist import flows
from soloist.errors import LockLost
from soloist.values import Seconds, Value

# The session of either client.
S = TypeVar("S", bound=Any)


class Holding(Generic[S]):
    """A place in a queue that has its turn, or that does not."""

    _what = "lock"

    def __init__(
        self,
        client: Any,
        name: str,
        value: Value,
        wait: Seconds | None,
        session: S | None,
        ttl: Seconds,
    ) -> None:
        flows.queue_prefix(name)
        self._client = client
        self._name = name
        self._value = value
        self._wait = wait
        self._given = session
        self._ttl = ttl
        self._session: S | None = None
        self._place: flows.Place | None = None

    @property
    def token(self) -> int:
        """The fencing token: it is greater than those of all earlier holders.

        Send it with everything that is done under the lock, so that what the lock protects can refuse an older one.
        """
        return self._held().create_revision

    @property
    def key(self) -> str:
        """The key that stands for the lock while it is held."""
        return self._held().key

    @property
    def session(self) -> S:
        """The session that the lock ends with."""
        self._held()
        assert self._session is not None
        return self._session

    @property
    def is_held(self) -> bool:
        """Whether the lock is certainly held now."""
        return self._place is not None and self._session is not None and self._session.is_alive

    def check(self) -> None:
        """Raises :class:`LockLost` unless the lock is certainly held."""
        if not self.is_held:
            raise self._lost()

    def _held(self) -> flows.Place:
        if self._place is None:
            raise RuntimeError(f"the {self._what} {self._name!r} is not held")
        return self._place

    def _lost(self) -> LockLost:
        if self._session is None:
            return LockLost(grpc.StatusCode.FAILED_PRECONDITION, f"the {self._what} {self._name!r} is not held")
        error = self._session._lost()
        return LockLost(
            error.code,
            f"the {self._what} {self._name!r} is lost: {error.message}",
            reason=error.reason,
            metadata=error.metadata,
        )
