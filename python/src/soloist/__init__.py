"""A client for Soloist, a gRPC state server: keys, counters, locks, elections, leases, and state machines.

::

    import soloist

    with soloist.connect("127.0.0.1:50051") as client:
        client.add("hits").value
        with client.lock("locks/printer") as lock:
            printer.print(page, token=lock.token)

``soloist.aio`` has the same for asyncio.
"""

from soloist.client import Client, Leadership, Lock, Session, Watch, connect
from soloist.errors import Error, LockLost, OutcomeUnknown, SessionLost
from soloist.flows import PrefixDeleted, Retry
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
from soloist.pipelining import FrameResult, Pipeline
from soloist.values import Condition, Entry, Machine, Seconds, State, Value
from soloist.watching import Cause, Event, Message

__all__ = [
    "Add",
    "Added",
    "Cause",
    "Client",
    "Condition",
    "Delete",
    "Deleted",
    "Entry",
    "Error",
    "Event",
    "FrameResult",
    "Leadership",
    "Lock",
    "LockLost",
    "Machine",
    "Message",
    "Operation",
    "OutcomeUnknown",
    "Pipeline",
    "PrefixDeleted",
    "Read",
    "Result",
    "Retry",
    "Seconds",
    "Session",
    "SessionLost",
    "State",
    "Transition",
    "Transitioned",
    "Value",
    "Watch",
    "Write",
    "Written",
    "connect",
]
