"""What both clients know of watches: events, and how a watch goes on after a break."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from soloist.v1 import state_pb2
from soloist.values import Entry, Seconds, from_entry, to_duration


class Cause(Enum):
    """Why a key changed."""

    #: No change: the entry as it was when the watch began.
    INITIAL = 1
    WRITTEN = 2
    TRANSITIONED = 3
    DELETED = 4
    #: The ttl of the key ended.
    EXPIRED = 5
    #: The session of the key expired, was closed or was taken over.
    SESSION_ENDED = 6
    #: The timeout of the state moved the key.
    TIMED_OUT = 7
    #: A cause that is newer than this library.
    OTHER = 0


@dataclass(frozen=True)
class Event:
    """One change of one key."""

    cause: Cause
    key: str
    #: The store revision of the change.
    revision: int
    #: The entry after the change; ``None`` if the key was deleted.
    entry: Entry | None
    #: The entry before the change, if the watch asked for it.
    previous: Entry | None
    #: The watch asked for ``previous``, but the server does not show it.
    previous_left_out: bool


@dataclass(frozen=True)
class Message:
    """Changes in the order of their revisions, all changes of one revision in one message."""

    #: Empty in a message that reports progress only.
    events: tuple[Event, ...]
    #: Every change up to this store revision has been sent; ``None`` while the initial entries are being sent.
    revision: int | None
    #: What was there when the watch began, or has changed since ``after_revision``, ends here.
    caught_up: bool


def request(
    key: str | None,
    prefix: str | None,
    after_revision: int | None,
    initial: bool,
    previous: bool,
    progress_interval: Seconds | None,
    store_id: str,
) -> Any:
    """Makes the request of a watch."""
    if (key is None) == (prefix is None):
        raise ValueError("a watch needs a key or a prefix, and not both")
    return state_pb2.WatchRequest(
        key=key,
        prefix=prefix,
        after_revision=after_revision,
        initial=initial,
        previous=previous,
        progress_interval=(None if progress_interval is None else to_duration(progress_interval, "progress_interval")),
        store_id=store_id,
    )


class Position:
    """How far a watch has come, and the request that resumes it from there."""

    def __init__(self, watch_request: Any) -> None:
        self.request = watch_request
        self.revision: int | None = watch_request.after_revision if watch_request.HasField("after_revision") else None
        # Whether no past changes and no initial entries are left to receive.
        self.caught_up = self.revision is None and not watch_request.initial
        # Whether the stream is not the first one, and has not caught up yet.
        self._reopened = False

    def advance(self, response: Any) -> Message | None:
        """Takes one message; ``None`` if it has nothing new for the caller."""
        revision = None if self.request.initial and not response.caught_up else response.revision
        caught_up = response.caught_up and not self.caught_up
        nothing_new = self._reopened and not response.events and not caught_up and revision == self.revision
        if response.caught_up:
            self._reopened = False
            self.caught_up = True
        if revision is not None:
            self.revision = revision
            self.request.after_revision = revision
            self.request.initial = False
        if nothing_new:
            return None
        return Message(tuple(_event(event) for event in response.events), revision, caught_up)

    def can_resume(self) -> bool:
        """Among the initial entries there is no revision to resume after."""
        return not self.request.initial

    def reopen(self) -> Any:
        """Returns the request that goes on."""
        self._reopened = True
        return self.request


def _event(event: Any) -> Event:
    try:
        cause = Cause(event.cause)
    except ValueError:
        cause = Cause.OTHER
    entry = event.entry
    return Event(
        cause,
        entry.key,
        entry.revision,
        # The entry of a deleted key has no value.
        from_entry(entry) if entry.HasField("value") else None,
        from_entry(event.previous, entry.key) if event.HasField("previous") else None,
        event.previous_left_out,
    )
