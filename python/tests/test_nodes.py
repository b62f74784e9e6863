"""Several addresses of one store: nodes that do not own it, or are gone."""

import asyncio
import contextlib
import socket
import threading
import unittest
from collections.abc import Iterator
from concurrent import futures

import grpc
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

import soloist
import soloist.aio
from soloist.channel import Target

from .support import Server


def not_owner(owner: str) -> bytes:
    info = error_details_pb2.ErrorInfo(reason="NOT_OWNER", domain="soloist.v1", metadata={"owner": owner, "epoch": "7"})
    detail = any_pb2.Any()
    detail.Pack(info)
    message = "another node owns the store"
    return status_pb2.Status(code=code_pb2.UNAVAILABLE, message=message, details=[detail]).SerializeToString()


class Standby(grpc.GenericRpcHandler):
    """A node that does not own the store, and names an owner."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.calls = 0
        self.direct = 0
        self._lock = threading.Lock()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        with self._lock:
            self.calls += 1
            self.direct += ("soloist-direct", "1") in details.invocation_metadata
        owner = self.owner

        def refuse(_: object, context: grpc.ServicerContext) -> bytes:
            context.set_trailing_metadata((("grpc-status-details-bin", not_owner(owner)),))
            context.abort(grpc.StatusCode.UNAVAILABLE, "another node owns the store")
            return b""

        return grpc.unary_unary_rpc_method_handler(refuse)


@contextlib.contextmanager
def standby(owner: str) -> Iterator[tuple[str, Standby]]:
    node = Standby(owner)
    server = grpc.server(futures.ThreadPoolExecutor(4), handlers=[node])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}", node
    finally:
        server.stop(None).wait()


def nobody() -> str:
    """An address at which nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{bound.getsockname()[1]}"


NO_RETRY = soloist.Retry(max_attempts=1)


class SeveralAddresses(unittest.TestCase):
    def test_a_call_finds_the_owner_wherever_it_begins_and_without_retries(self) -> None:
        with Server() as server, standby(server.address) as (knowing, _), standby("") as (ignorant, _):
            gone = nobody()
            with standby(gone) as (mistaken, _):
                for targets in [
                    f"{server.address},{knowing}",
                    # The owner is followed even if it is not in the list.
                    f"{knowing},{gone}",
                    f"http://{gone},{knowing}",
                    f"{ignorant},{server.address}",
                    f"{mistaken},{server.address}",
                    f"{ignorant},{gone},{server.address}",
                ]:
                    with self.subTest(targets), soloist.connect(targets, retry=NO_RETRY) as client:
                        client.write("k", 1)
                        with client.watch(key="k", resume=False) as watch:
                            client.add("k", 1)
                            self.assertEqual(next(iter(watch)).entry.value, 2)
                        with client.pipeline() as pipeline:
                            answer = pipeline.frame([soloist.Add("k", 1)])
                            self.assertEqual(answer.result().results[0].value, 3)
                        with client.lock("l"):
                            pass

    def test_the_same_with_asyncio(self) -> None:
        async def run(targets: str) -> None:
            async with soloist.aio.connect(targets, retry=NO_RETRY) as client:
                await client.write("k", 1)
                async with await client.watch(key="k", resume=False) as watch:
                    await client.add("k", 1)
                    async for event in watch:
                        self.assertEqual(event.entry.value, 2)
                        break
            async with soloist.aio.connect(targets, retry=NO_RETRY) as client, client.pipeline() as pipeline:
                answer = await pipeline.frame([soloist.Add("k", 1)])
                self.assertEqual(answer.results[0].value, 3)

        with Server() as server, standby(server.address) as (knowing, _), standby("") as (ignorant, _):
            for targets in [f"{knowing},{nobody()}", f"{ignorant},{nobody()},{server.address}"]:
                with self.subTest(targets):
                    asyncio.run(run(targets))

    def test_the_owner_is_remembered_and_asked_to_say_so_itself(self) -> None:
        with (
            Server() as server,
            standby(server.address) as (address, node),
            soloist.connect(f"{address},{server.address}") as client,
        ):
            for _ in range(5):
                client.add("k", 1)
            self.assertEqual((node.calls, node.direct), (1, 1))

    def test_a_single_address_is_left_to_send_calls_on(self) -> None:
        with (
            Server() as server,
            standby(server.address) as (address, node),
            soloist.connect(address, retry=NO_RETRY) as client,
        ):
            with self.assertRaises(soloist.Error) as caught:
                client.write("k", 1)
            self.assertEqual((caught.exception.reason, node.calls, node.direct), ("NOT_OWNER", 1, 0))

    def test_without_an_owner_a_call_ends_and_with_retries_waits_for_one(self) -> None:
        with standby("") as (one, node), standby("") as (other, _):
            with soloist.connect(f"{one},{other}", retry=NO_RETRY) as client:
                with self.assertRaises(soloist.Error) as caught:
                    client.write("k", 1)
                self.assertEqual((caught.exception.reason, caught.exception.applied), ("NOT_OWNER", False))
            with Server() as server, soloist.connect(f"{one},{other}") as client:
                threading.Timer(0.2, lambda: setattr(node, "owner", server.address)).start()
                client.write("k", 1)

    def test_calls_and_watches_go_on_at_another_node_when_the_owner_dies(self) -> None:
        with Server() as server, standby(server.address) as (address, _):
            with soloist.connect(f"{server.address},{address}") as client:
                client.write("k", 0)
                with client.watch(key="k") as watch:
                    events = iter(watch)
                    for number in range(1, 4):
                        server.restart()
                        client.add("k", 1)
                        self.assertEqual(next(events).entry.value, number)


class Addresses(unittest.TestCase):
    def test_the_first_scheme_is_that_of_all(self) -> None:
        def parsed(targets: str) -> list[tuple[str, bool]]:
            return [(target.address, target.tls) for target in Target.parse_all(targets)]

        self.assertEqual(parsed("a:1"), [("a:1", False)])
        self.assertEqual(parsed("a:1, b:2,a:1"), [("a:1", False), ("b:2", False)])
        self.assertEqual(parsed("https://a:1,b:2"), [("a:1", True), ("b:2", True)])
        self.assertEqual(parsed("unix:/a,b"), [("unix:/a,b", False)])
        for wrong in ["a:1,", "a:1,https://b:2", "https://a:1,http://b:2", "a:1,unix:/b"]:
            with self.subTest(wrong), self.assertRaises(ValueError):
                parsed(wrong)
