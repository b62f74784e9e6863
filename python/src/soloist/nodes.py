"""The addresses of one store, and which of them is in use.

One node owns the store, and the others say which. A client keeps to one node until that says that another is the
owner, or does not answer. Then it goes on with the owner, or with the next address.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Sequence
from typing import Any

import grpc

from soloist.channel import Target
from soloist.errors import Error, OutcomeUnknown
from soloist.v1 import admin_pb2_grpc, machines_pb2_grpc, sessions_pb2_grpc, state_pb2_grpc

# What tells a node that does not own the store to say who does, instead of sending the call on.
_DIRECT = (("soloist-direct", "1"),)


class Node:
    """A server, and the channel to it."""

    def __init__(self, target: Target, channel: Any) -> None:
        self.target = target
        self.channel = channel
        self.stubs: dict[str, Any] = {
            "State": state_pb2_grpc.StateStub(channel),
            "Sessions": sessions_pb2_grpc.SessionsStub(channel),
            "Machines": machines_pb2_grpc.MachinesStub(channel),
            "Admin": admin_pb2_grpc.AdminStub(channel),
        }


class Nodes:
    """The nodes of a store. Threads may share it.

    ``connect`` makes a channel, which connects when it is used.
    """

    def __init__(self, targets: Sequence[Target], connect: Callable[[Target], Any]) -> None:
        self._targets = list(targets)
        self._connect = connect
        self._lock = threading.Lock()
        # The place in the list of the target that was last taken from it.
        self._index = 0
        self._known: dict[str, Node] = {}
        self._node = self._at(self._targets[0])

    @property
    def others(self) -> int:
        """How many addresses there are besides the one in use."""
        return len(self._targets) - 1

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What each call says to the node."""
        return _DIRECT if self.others else ()

    def current(self) -> Node:
        """The node in use."""
        with self._lock:
            return self._node

    def learn(self, node: Node, error: Error) -> None:
        """Goes on elsewhere if the error of a call says that this node, which is in use, is not the owner."""
        is_silent = error.reason is None and error.code in (
            grpc.StatusCode.UNAVAILABLE,
            grpc.StatusCode.DEADLINE_EXCEEDED,
        )
        if not self.others or not (is_silent or error.reason in ("NOT_OWNER", "DRAINING", "OWNER_LOST")):
            return
        with self._lock:
            if node is not self._node:
                return
            owner = error.metadata.get("owner", "") if error.reason == "NOT_OWNER" else ""
            # With the same settings: nothing leads from TLS to a connection without it.
            target = dataclasses.replace(node.target, address=owner)
            if not _is_address(owner) or target.address == node.target.address:
                self._index = (self._index + 1) % len(self._targets)
                target = self._targets[self._index]
            self._node = self._at(target)

    def channels(self) -> list[Any]:
        """All channels that were made."""
        with self._lock:
            return [node.channel for node in self._known.values()]

    def _at(self, target: Target) -> Node:
        node = self._known.get(target.address)
        if node is None:
            node = self._known[target.address] = Node(target, self._connect(target))
        return node


def _is_address(text: str) -> bool:
    host, colon, port = text.rpartition(":")
    return bool(host and colon and port.isdecimal()) and not set(text) & set("/@, ")


class Search:
    """Where a call goes that was not begun: elsewhere at once, until all nodes were asked."""

    def __init__(self, others: int) -> None:
        # Each node may name another.
        self._most = 2 * others
        self._left = self._most

    def goes_on(self, error: Error) -> bool:
        """Whether the call found no owner, and goes to another node."""
        is_elsewhere = error.reason == "NOT_OWNER" or (
            error.reason is None and error.code is grpc.StatusCode.UNAVAILABLE and not isinstance(error, OutcomeUnknown)
        )
        if not is_elsewhere or self._left == 0:
            return False
        self._left -= 1
        return True

    def begin_again(self) -> None:
        """All nodes may be asked again, because some time has passed."""
        self._left = self._most
