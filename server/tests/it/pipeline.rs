//! Pipeline: the order of answers, atomic frames, deadlines, and streams that end with an error.

use std::time::Duration;

use soloist::v1::condition::Test;
use soloist::v1::op_result::Result as OpResult;
use soloist::v1::{self, PipelineRequest, WriteRequest};
use tonic::{Code, Request};

use crate::support::{
    TestServer, assert_refused, assert_rpc_refused, atomic, expect, frame, int, pipeline, read,
    read_op, text, write, write_op,
};

fn results(response: v1::PipelineResponse) -> Vec<OpResult> {
    assert_eq!(response.error, None);
    let results = response.results.into_iter();
    results.map(|result| result.result.unwrap()).collect()
}

#[tokio::test]
async fn frames_are_applied_and_answered_in_order() {
    const FRAMES: i64 = 1000;
    const IN_FLIGHT: i64 = 100;
    let server = TestServer::start();
    let (frames, mut answers) = pipeline(&mut server.state().await).await;
    let send = async |n| {
        let ops = [write_op(write("k", int(n))), read_op("k")];
        frames.send(frame(ops)).await.unwrap();
    };
    for n in 0..IN_FLIGHT {
        send(n).await;
    }
    for n in 0..FRAMES {
        let answer = answers.message().await.unwrap().unwrap();
        let OpResult::Read(seen) = results(answer).pop().unwrap() else {
            panic!("the second operation is a read");
        };
        assert_eq!(seen.entry.unwrap().value, Some(int(n)));
        if n + IN_FLIGHT < FRAMES {
            send(n + IN_FLIGHT).await;
        }
    }
    drop(frames);
    assert_eq!(
        answers.message().await.unwrap(),
        None,
        "the stream ends in order"
    );
}

/// Frames that arrive together go to the owner as one message. Clients must not notice.
#[tokio::test]
async fn frames_that_arrive_together_are_answered_one_by_one() {
    let server = TestServer::start();
    let timed = PipelineRequest {
        timeout: Some(prost_types::Duration {
            seconds: 5,
            nanos: 0,
        }),
        ..frame([write_op(write("k", int(4)))])
    };
    let with_request_id = frame([write_op(WriteRequest {
        request_id: "r".into(),
        ..write("k", int(5))
    })]);
    let bad = || frame([read_op("")]);
    let many = frame(std::iter::repeat_n(read_op("k"), 300));
    // A frame, the revision of its answer (none if it is refused), and the last value in its answer.
    let cases = [
        (frame([write_op(write("k", int(1)))]), Some(1), None),
        (frame([read_op("k")]), Some(1), Some(1)),
        (bad(), None, None),
        (
            frame([write_op(write("k", int(2))), read_op("k")]),
            Some(2),
            Some(2),
        ),
        (
            atomic([write_op(write("k", int(3))), read_op("k")]),
            Some(3),
            Some(3),
        ),
        (frame([read_op("k")]), Some(3), Some(3)),
        (timed, Some(4), None),
        (frame([read_op("k")]), Some(4), Some(4)),
        (with_request_id.clone(), Some(5), None),
        (with_request_id, Some(5), None),
        (many, Some(5), Some(5)),
        (frame([read_op("k")]), Some(5), Some(5)),
        (bad(), None, None),
    ];
    let frames: Vec<_> = cases.iter().map(|(frame, ..)| frame.clone()).collect();
    let mut state = server.state().await;
    // All at once, so that the client sends them in one piece.
    let answers = state.pipeline(futures_util::stream::iter(frames)).await;
    let mut answers = answers.unwrap().into_inner();
    for (index, (_, revision, shown)) in cases.into_iter().enumerate() {
        let answer = answers.message().await.unwrap().unwrap();
        match revision {
            Some(revision) => {
                assert_eq!(answer.revision, revision, "frame {index}");
                let last = results(answer).pop();
                let value = match last {
                    Some(OpResult::Read(seen)) => seen.entry.unwrap().value,
                    _ => None,
                };
                assert_eq!(value, shown.map(int), "frame {index}");
            }
            None => assert_rpc_refused(
                &answer.error.unwrap(),
                Code::InvalidArgument,
                "BAD_KEY",
                &[
                    ("field", "ops[0].read.key"),
                    ("limit", "1"),
                    ("actual", "0"),
                    ("op", "0"),
                ],
            ),
        }
    }
    assert_eq!(answers.message().await.unwrap(), None);
}

#[tokio::test]
async fn a_refused_operation_is_answered_in_its_place() {
    let server = TestServer::start();
    let (frames, mut answers) = pipeline(&mut server.state().await).await;
    let never = WriteRequest {
        expect: expect(Test::Exists(true)),
        ..write("a", int(1))
    };
    let ops = [write_op(never), write_op(write("a", int(2))), read_op("a")];
    frames.send(frame(ops)).await.unwrap();
    let answer = answers.message().await.unwrap().unwrap();
    assert_eq!(answer.revision, 1);
    let results = results(answer);
    let [
        OpResult::Error(refused),
        OpResult::Write(_),
        OpResult::Read(read),
    ] = &results[..]
    else {
        panic!("{results:?}");
    };
    assert_rpc_refused(refused, Code::NotFound, "KEY_NOT_FOUND", &[]);
    assert_eq!(read.entry.as_ref().unwrap().value, Some(int(2)));

    // The stream goes on after a refusal.
    frames.send(frame([read_op("a")])).await.unwrap();
    assert!(answers.message().await.unwrap().is_some());
}

#[tokio::test]
async fn an_atomic_frame_is_all_or_nothing() {
    let server = TestServer::start();
    let (frames, mut answers) = pipeline(&mut server.state().await).await;
    let guard = v1::Op {
        op: Some(v1::op::Op::Read(v1::ReadRequest {
            expect: expect(Test::Exists(true)),
            ..read("guard")
        })),
    };
    let guarded = || {
        atomic([
            write_op(write("a", int(1))),
            guard.clone(),
            write_op(write("b", int(2))),
        ])
    };
    frames.send(guarded()).await.unwrap();
    let refused = answers.message().await.unwrap().unwrap();
    assert!(refused.results.is_empty());
    assert_rpc_refused(
        &refused.error.unwrap(),
        Code::NotFound,
        "KEY_NOT_FOUND",
        &[("op", "1")],
    );
    frames
        .send(frame([read_op("a"), write_op(write("guard", int(0)))]))
        .await
        .unwrap();
    let OpResult::Read(a) = &results(answers.message().await.unwrap().unwrap())[0] else {
        panic!("a read");
    };
    assert_eq!(a.entry, None, "undone");

    frames.send(guarded()).await.unwrap();
    let done = answers.message().await.unwrap().unwrap();
    assert_eq!(done.revision, 2, "one revision for all operations");
    for result in results(done) {
        match result {
            OpResult::Write(write) => assert_eq!(write.revision, 2),
            OpResult::Read(read) => assert_eq!(read.revision, 2),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn bad_frames_are_refused() {
    let server = TestServer::with(|config| {
        config.limits.max_batch_ops = 3;
        config.limits.max_value_bytes = 10;
        config.limits.max_key_bytes = 10;
        config.limits.max_batch_bytes = 20;
    });
    let (frames, mut answers) = pipeline(&mut server.state().await).await;
    let wait = |seconds, nanos| PipelineRequest {
        timeout: Some(prost_types::Duration { seconds, nanos }),
        ..frame([read_op("a")])
    };
    let large = || write_op(write("0123456789", text("0123456789")));
    for (frame, reason, metadata) in [
        (frame([]), "NO_OPERATION", &[("field", "ops")][..]),
        (
            frame([read_op("a"), v1::Op { op: None }]),
            "NO_OPERATION",
            &[("field", "ops[1]"), ("op", "1")],
        ),
        (
            frame((0..4).map(|_| read_op("a"))),
            "TOO_MANY_OPERATIONS",
            &[("field", "ops"), ("limit", "3"), ("actual", "4")],
        ),
        (
            frame([read_op("a"), write_op(write("", int(1)))]),
            "BAD_KEY",
            &[
                ("field", "ops[1].write.key"),
                ("limit", "1"),
                ("actual", "0"),
                ("op", "1"),
            ],
        ),
        (
            frame([write_op(write("a", text("01234567890")))]),
            "VALUE_TOO_LARGE",
            &[
                ("field", "ops[0].write.value.text"),
                ("limit", "10"),
                ("actual", "11"),
                ("op", "0"),
            ],
        ),
        (
            atomic([large(), read_op("a")]),
            "BATCH_TOO_LARGE",
            &[("field", "ops"), ("limit", "20"), ("actual", "21")],
        ),
        (
            wait(-5, 0),
            "BAD_DURATION",
            &[("field", "timeout"), ("actual", "-5s")],
        ),
        (
            wait(i64::MIN, i32::MIN),
            "BAD_DURATION",
            &[
                ("field", "timeout"),
                (
                    "actual",
                    "-9223372036854775808 seconds and -2147483648 nanoseconds",
                ),
            ],
        ),
        (
            wait(1, 1_000_000_000),
            "BAD_DURATION",
            &[
                ("field", "timeout"),
                ("actual", "1 seconds and 1000000000 nanoseconds"),
            ],
        ),
    ] {
        frames.send(frame).await.unwrap();
        let answer = answers.message().await.unwrap().unwrap();
        assert!(answer.results.is_empty());
        assert_rpc_refused(
            &answer.error.unwrap(),
            Code::InvalidArgument,
            reason,
            metadata,
        );
    }
    // Frames at the limits are accepted.
    for frame in [atomic([large()]), wait(0, 0), wait(i64::MAX, 999_999_999)] {
        frames.send(frame).await.unwrap();
        let answer = answers.message().await.unwrap().unwrap();
        assert_eq!(results(answer).len(), 1);
    }
    // A frame with a timeout too short to begin is not begun.
    frames.send(wait(0, 1)).await.unwrap();
    let answer = answers.message().await.unwrap().unwrap();
    assert_rpc_refused(
        &answer.error.unwrap(),
        Code::DeadlineExceeded,
        "NOT_STARTED",
        &[],
    );
}

#[tokio::test]
async fn the_answer_to_a_frame_fits_into_a_message() {
    let server = TestServer::start();
    let mut client = server.state().await;
    client
        .write(write("k", text("x".repeat(1 << 20))))
        .await
        .unwrap();
    let (frames, mut answers) = pipeline(&mut client).await;
    frames
        .send(frame((0..5).map(|_| read_op("k"))))
        .await
        .unwrap();
    // The client takes messages of up to 4 MiB.
    let results = results(answers.message().await.unwrap().unwrap());
    for (index, result) in results.into_iter().enumerate() {
        match result {
            OpResult::Read(_) => assert!(index < 2),
            OpResult::Error(refused) => assert_rpc_refused(
                &refused,
                Code::ResourceExhausted,
                "ANSWER_TOO_LARGE",
                &[("limit", "2097152"), ("actual", "3145728")],
            ),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn the_deadline_of_a_stream_ends_it() {
    let server = TestServer::start();
    let mut client = server.state().await;
    let (sender, mut frames) = tokio::sync::mpsc::channel::<PipelineRequest>(1);
    let mut request = Request::new(futures_util::stream::poll_fn(move |cx| {
        frames.poll_recv(cx)
    }));
    request
        .metadata_mut()
        .insert("grpc-timeout", "200m".parse().unwrap());
    let mut answers = client.pipeline(request).await.unwrap().into_inner();
    sender.send(frame([read_op("a")])).await.unwrap();
    let ended = loop {
        match answers.message().await {
            Ok(answer) => assert!(answer.is_some(), "the stream must end with a status"),
            Err(ended) => break ended,
        }
    };
    assert!(
        !ended.message().contains("nothing was applied"),
        "{ended:?}"
    );
    assert_refused(&ended, Code::DeadlineExceeded, "NOT_STARTED", &[]);
}

#[tokio::test]
async fn a_stream_without_a_deadline_outlives_the_longest_deadline() {
    let server = TestServer::with(|config| config.limits.max_deadline = Duration::from_millis(20));
    let (frames, mut answers) = pipeline(&mut server.state().await).await;
    // The test is that nothing happens, so there is no event to wait for.
    let silent = tokio::time::timeout(Duration::from_millis(100), answers.message()).await;
    assert!(silent.is_err(), "{silent:?}");
    frames.send(frame([read_op("a")])).await.unwrap();
    assert!(answers.message().await.unwrap().is_some());
}

#[tokio::test]
async fn a_message_that_is_too_large_ends_the_stream_after_the_answers_before_it() {
    let server = TestServer::start();
    let (frames, mut answers) = pipeline(&mut server.state().await).await;
    frames
        .send(frame([write_op(write("a", int(1)))]))
        .await
        .unwrap();
    let huge = text("x".repeat(5 << 20));
    frames
        .send(frame([write_op(write("b", huge))]))
        .await
        .unwrap();
    assert_eq!(results(answers.message().await.unwrap().unwrap()).len(), 1);
    let ended = answers.message().await.unwrap_err();
    assert_eq!(ended.code(), Code::ResourceExhausted, "{ended:?}");
    use tonic_types::StatusExt as _;
    let details = ended.get_error_details();
    let info = details.error_info().unwrap();
    assert_eq!(info.reason, "MESSAGE_TOO_LARGE");
    assert_eq!(info.metadata["limit"], "4259840");
}

#[tokio::test]
async fn repeated_request_ids_are_answered_as_before() {
    let server = TestServer::start();
    let mut client = server.state().await;
    let (frames, mut answers) = pipeline(&mut client).await;
    let mut ask = async |frame: PipelineRequest| {
        frames.send(frame).await.unwrap();
        answers.message().await.unwrap().unwrap()
    };
    let add = |key: &str, request_id: &str| v1::Op {
        op: Some(v1::op::Op::Add(v1::AddRequest {
            key: key.into(),
            delta: 1,
            request_id: request_id.into(),
            ..Default::default()
        })),
    };
    let sum = |result: OpResult| {
        let OpResult::Add(added) = result else {
            panic!("{result:?}")
        };
        (added.value, added.revision, added.replayed)
    };

    // Operations of a frame that is not atomic have request ids of their own, which may repeat within the frame.
    let mut alone = Vec::new();
    for _ in 0..2 {
        let answer = ask(frame([add("a", "1"), add("a", ""), add("a", "1")])).await;
        alone.extend(results(answer).into_iter().map(sum));
    }
    let first = (1, 1, false);
    let again = (1, 1, true);
    let expected = [first, (2, 2, false), again, again, (3, 3, false), again];
    assert_eq!(alone, expected);

    // An atomic frame has one request id, and its answer says whether it is a replay. The results in it do not. A Batch with
    // the same operations is the same request.
    let transfer = |request_id: &str| PipelineRequest {
        request_id: request_id.into(),
        ..atomic([add("a", ""), add("b", "")])
    };
    let first = ask(transfer("2")).await;
    assert_eq!((first.revision, first.replayed), (4, false));
    let mut expected = first.clone();
    expected.replayed = true;
    assert_eq!(ask(transfer("2")).await, expected);
    let as_batch = v1::BatchRequest {
        ops: transfer("2").ops,
        request_id: "2".into(),
    };
    let batch = client.batch(as_batch).await.unwrap().into_inner();
    assert_eq!((batch.results, batch.replayed), (first.results, true));

    // Request ids where none is allowed.
    let mut on_a_plain_frame = frame([add("a", "")]);
    on_a_plain_frame.request_id = "3".into();
    for (frame, metadata) in [
        (on_a_plain_frame, &[("field", "request_id")][..]),
        (
            atomic([add("a", "3")]),
            &[("field", "ops[0].add.request_id"), ("op", "0")],
        ),
    ] {
        let refused = ask(frame).await.error.unwrap();
        assert_rpc_refused(&refused, Code::InvalidArgument, "BAD_REQUEST_ID", metadata);
    }
    // A used request id with other content.
    let mut other = transfer("2");
    other.ops.pop();
    let refused = ask(other).await.error.unwrap();
    assert_eq!(
        Code::from(refused.code),
        Code::InvalidArgument,
        "{refused:?}"
    );
    let unchanged = client.read(read("a")).await.unwrap().into_inner();
    assert_eq!(unchanged.revision, 4);
}
