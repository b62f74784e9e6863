"""All kinds of calls, with grpcio and asyncio."""
import asyncio
import sys

import grpc

from contract import ADDRESS, LARGE, OPTIONS, frame, pb, services, step, write


async def told_to_go_on():
    await asyncio.to_thread(sys.stdin.readline)


async def main():
    async with grpc.aio.insecure_channel(ADDRESS, OPTIONS) as channel:
        state = services.StateStub(channel)
        assert (await state.Write(write("1", int=42), timeout=30)).revision == 1
        reads = [state.Read(pb.ReadRequest(key="1"), timeout=30) for _ in range(100)]
        assert [answer.entry.value.int for answer in await asyncio.gather(*reads)] == [42] * 100

        # Each frame is sent when the one before it was answered.
        pipeline = state.Pipeline()
        for number in range(3):
            await pipeline.write(
                frame(pb.Op(add=pb.AddRequest(key="sum", delta=1)), pb.Op(read=pb.ReadRequest(key="1")))
            )
            added, read = (await pipeline.read()).results
            assert (added.add.value, read.read.entry.value.int) == (number + 1, 42)
        await pipeline.done_writing()
        assert await pipeline.read() is grpc.aio.EOF
        assert await pipeline.code() is grpc.StatusCode.OK

        watch = state.Watch(pb.WatchRequest(key="watched"))
        assert not (await watch.read()).events
        await state.Write(write("watched", text="first"), timeout=30)
        assert (await watch.read()).events[0].entry.value.text == "first"
        step("a watch is open, and quiet")
        await told_to_go_on()
        await state.Write(write("watched", text="second"), timeout=30)
        assert (await watch.read()).events[0].entry.value.text == "second"
        assert watch.cancel()
        assert await watch.code() is grpc.StatusCode.CANCELLED
        step("the watch was cancelled")
        await told_to_go_on()

        watch = state.Watch(pb.WatchRequest(key="watched"), timeout=0.1)
        try:
            raise AssertionError([answer async for answer in watch])
        except grpc.aio.AioRpcError as error:
            assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED, error

        await state.Write(write("large", text=LARGE), timeout=30)
        reads = [state.Read(pb.ReadRequest(key="large"), timeout=30) for _ in range(5)]
        assert {answer.entry.value.text for answer in await asyncio.gather(*reads)} == {LARGE}
        large = [frame(pb.Op(write=write("large", text=LARGE)), pb.Op(read=pb.ReadRequest(key="large")))] * 3
        async for answer in state.Pipeline(iter(large), timeout=30):
            assert answer.results[1].read.entry.value.text == LARGE
    step("done")


asyncio.run(main())
