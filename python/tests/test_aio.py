"""The client for asyncio."""

import asyncio
import unittest

import grpc

import soloist
import soloist.aio
from soloist import Add, Cause, Condition, Machine, Read, Write

from .support import Server


async def eventually(condition) -> None:
    for _ in range(3_000):
        if await condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("not within 30 s")


class Aio(unittest.IsolatedAsyncioTestCase):
    def setUp(self) -> None:
        self.server = Server()
        self.addCleanup(self.server.close)

    async def test_the_methods_are_those_of_the_client_for_threads(self) -> None:
        for one, other in [
            (soloist.Client, soloist.aio.Client),
            (soloist.Lock, soloist.aio.Lock),
            (soloist.Leadership, soloist.aio.Leadership),
        ]:
            names = {name for name in dir(one) if not name.startswith("_")}
            self.assertEqual(names - {name for name in dir(other)}, set())

    async def test_calls(self) -> None:
        async with soloist.aio.connect(self.server.address) as client:
            await client.write("a", "x", expect=Condition.missing())
            self.assertEqual((await client.read("a")).value, "x")
            self.assertEqual((await client.add("n", 2)).value, 2)
            self.assertEqual((await client.batch([Read("n"), Write("b", 1)]))[0].value, 2)
            self.assertEqual([entry.key async for entry in client.list(page_size=1)], ["a", "b", "n"])
            with self.assertRaises(soloist.Error) as caught:
                await client.write("a", 1, expect=Condition.missing())
            self.assertEqual(caught.exception.reason, "KEY_EXISTS")
            await client.define_machine(Machine("m", "m/", "one", {"one": ["two"], "two": []}))
            await client.write("m/1", 1)
            self.assertEqual((await client.transition("m/1", "two")).from_state, "one")
            self.assertEqual([machine.name async for machine in client.machines()], ["m"])
            await client.delete("m/1")
            await client.delete_machine("m")
            self.assertIsNone(await client.machine("m"))
            self.assertEqual((await client.delete_prefix("", every_key=True)).deleted_count, 3)

    async def test_a_change_survives_a_kill_and_is_applied_once(self) -> None:
        async with soloist.aio.connect(self.server.address, timeout=30) as client:
            done = 0

            async def count() -> None:
                nonlocal done
                while True:
                    await asyncio.shield(client.add("count"))
                    done += 1

            counting = asyncio.create_task(count())
            for _ in range(3):
                before = done
                while done < before + 20:
                    await asyncio.sleep(0.005)
                await asyncio.to_thread(self.server.restart)
            before = done
            while done == before:
                await asyncio.sleep(0.005)
            counting.cancel()
            await asyncio.gather(counting, return_exceptions=True)

            async def is_settled() -> bool:
                return (await client.read("count")).value in (done, done + 1)

            await eventually(is_settled)

    async def test_a_watch_goes_on_over_kills(self) -> None:
        async with soloist.aio.connect(self.server.address, timeout=30) as client:
            seen = []
            async with await client.watch(prefix="a", initial=True) as watch:
                events = aiter(watch)
                for number in range(30):
                    await client.write("a", number)
                    if number % 10 == 9:
                        await asyncio.to_thread(self.server.restart)
                    seen.append(await anext(events))
            self.assertEqual([event.entry.value for event in seen], list(range(30)))
            self.assertTrue(all(event.cause in (Cause.WRITTEN, Cause.INITIAL) for event in seen))

    async def test_locks_have_turns_in_order(self) -> None:
        async with soloist.aio.connect(self.server.address) as client:
            turns = []

            async def wait(number: int) -> None:
                async with client.lock("l") as lock:
                    turns.append((number, lock.token))

            async with client.lock("l", value="me") as lock:
                self.assertEqual((await client.leader("l")).value, "me")
                waiting = []
                for number in range(5):
                    waiting.append(asyncio.create_task(wait(number)))

                    async def has_a_place(places: int = number + 2) -> bool:
                        return len([entry async for entry in client.list("l/")]) == places

                    await eventually(has_a_place)
                self.assertEqual(turns, [])
                token = lock.token
            await asyncio.gather(*waiting)
            self.assertEqual([number for number, _ in turns], list(range(5)))
            self.assertTrue(token < turns[0][1] < turns[4][1])

    async def test_a_lost_lock_cancels_the_body(self) -> None:
        async with soloist.aio.connect(self.server.address) as client:
            with self.assertRaises(soloist.LockLost) as caught:
                async with client.lock("l", ttl=1) as lock:
                    async with client.session(10, id=lock.session.id, take_over=True):
                        await asyncio.sleep(60)
            self.assertEqual(caught.exception.reason, "SESSION_TAKEN_OVER")
            # The task goes on as usual.
            await asyncio.sleep(0)
            async with client.lock("l"):
                pass

    async def test_a_wait_that_ends_leaves_no_place(self) -> None:
        async with soloist.aio.connect(self.server.address) as client:
            async with client.lock("l"):
                with self.assertRaises(soloist.Error) as caught:
                    await client.lock("l", wait=0.1).acquire()
                self.assertIs(caught.exception.code, grpc.StatusCode.DEADLINE_EXCEEDED)
                waiting = asyncio.create_task(client.lock("l").acquire())

                async def has_a_place() -> bool:
                    return len([entry async for entry in client.list("l/")]) == 2

                await eventually(has_a_place)
                waiting.cancel()
                await asyncio.gather(waiting, return_exceptions=True)
                self.assertEqual(len([entry async for entry in client.list("l/")]), 1)

    async def test_leaders_follow_each_other(self) -> None:
        async with soloist.aio.connect(self.server.address) as client:
            leaders = client.observe("e")
            self.assertIsNone(await anext(leaders))
            async with client.elect("e", "a") as leadership:
                self.assertEqual((await anext(leaders)).value, "a")
                await leadership.proclaim("b")
                self.assertEqual((await anext(leaders)).value, "b")
            self.assertIsNone(await anext(leaders))
            await leaders.aclose()

    async def test_a_session_is_renewed_over_a_kill(self) -> None:
        async with soloist.aio.connect(self.server.address, timeout=30) as client:
            async with client.session(1) as session:
                with self.assertRaises(TimeoutError):
                    await asyncio.wait_for(session.wait_lost(), 1.5)
                await asyncio.to_thread(self.server.restart)
                with self.assertRaises(TimeoutError):
                    await asyncio.wait_for(session.wait_lost(), 1.5)
                self.assertTrue(session.is_alive)

    async def test_pipelines(self) -> None:
        async with soloist.aio.connect(self.server.address) as client:
            async with client.pipeline(in_flight=8) as pipeline:
                answers = await asyncio.gather(*(pipeline.frame([Add("n")]) for _ in range(100)))
                self.assertEqual([answer.results[0].value for answer in answers], list(range(1, 101)))
                refused = pipeline.frame([Read("x", Condition.exists())], atomic=True)
                with self.assertRaises(soloist.Error) as caught:
                    await refused
                self.assertEqual(caught.exception.reason, "KEY_NOT_FOUND")
            pipeline = client.pipeline()
            await pipeline.frame([Add("n")])
            await asyncio.to_thread(self.server.kill)
            with self.assertRaises(soloist.Error):
                while True:
                    await pipeline.frame([Add("n")])
            await pipeline.close()
            await asyncio.to_thread(self.server.start)


if __name__ == "__main__":
    unittest.main()
