"""All kinds of calls, with grpcio and threads."""
import queue
import sys

import grpc

from contract import ADDRESS, LARGE, OPTIONS, frame, pb, services, step, write

with grpc.insecure_channel(ADDRESS, OPTIONS) as channel:
    state = services.StateStub(channel)
    assert state.Write(write("1", int=42), timeout=30).revision == 1
    assert state.Read(pb.ReadRequest(key="1"), timeout=30).entry.value.int == 42

    # Each frame is sent when the one before it was answered.
    frames = queue.SimpleQueue()
    answers = state.Pipeline(iter(frames.get, None))
    for number in range(3):
        frames.put(frame(pb.Op(add=pb.AddRequest(key="sum", delta=1)), pb.Op(read=pb.ReadRequest(key="1"))))
        added, read = next(answers).results
        assert (added.add.value, read.read.entry.value.int) == (number + 1, 42)
    frames.put(None)
    assert list(answers) == [] and answers.code() is grpc.StatusCode.OK

    watch = state.Watch(pb.WatchRequest(key="watched"))
    assert not next(watch).events
    state.Write(write("watched", text="first"), timeout=30)
    assert next(watch).events[0].entry.value.text == "first"
    step("a watch is open, and quiet")
    sys.stdin.readline()
    state.Write(write("watched", text="second"), timeout=30)
    assert next(watch).events[0].entry.value.text == "second"
    watch.cancel()
    try:
        next(watch)
    except grpc.RpcError as error:
        assert error.code() is grpc.StatusCode.CANCELLED, error
    step("the watch was cancelled")
    sys.stdin.readline()

    watch = state.Watch(pb.WatchRequest(key="watched"), timeout=0.1)
    try:
        raise AssertionError([*watch])
    except grpc.RpcError as error:
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED, error

    state.Write(write("large", text=LARGE), timeout=30)
    assert state.Read(pb.ReadRequest(key="large"), timeout=30).entry.value.text == LARGE
    large = [frame(pb.Op(write=write("large", text=LARGE)), pb.Op(read=pb.ReadRequest(key="large")))] * 3
    for answer in state.Pipeline(iter(large), timeout=30):
        assert answer.results[1].read.entry.value.text == LARGE
step("done")
