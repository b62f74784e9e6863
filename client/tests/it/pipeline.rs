//! Pipelines: order, frames in flight, refusals in their place, and the end of the stream.

use std::time::Duration;

use soloist_client::{
    Code, Condition, Frame, FrameReply, OpReply, Outcome, PipelineSendError, Read, Reason, Value,
    Write,
};
use soloist_server::config::Config;

use crate::support::TestServer;

/// The value that the last operation of a frame has read.
fn last_read(reply: FrameReply) -> Option<Value> {
    match reply.results.unwrap().pop() {
        Some(Ok(OpReply::Read(read))) => read.value().cloned(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn replies_come_in_the_order_of_the_frames() {
    let server = TestServer::start();
    let client = server.client().await;
    let (sender, mut receiver) = client.pipeline().await.unwrap().split();

    // More frames than may be in flight, so that the sender has to wait for the receiver.
    const FRAMES: i64 = 2_000;
    let sending = tokio::spawn(async move {
        for number in 0..FRAMES {
            let frame = Frame::new().op(Write::new("a", number)).op(Read::new("a"));
            sender.send(frame).await.unwrap();
        }
    });
    for number in 0..FRAMES {
        let reply = receiver.recv().await.unwrap().unwrap();
        assert_eq!(reply.revision, number + 1);
        assert_eq!(last_read(reply), Some(Value::Int(number)));
    }
    assert!(receiver.recv().await.unwrap().is_none());
    sending.await.unwrap();
}

#[tokio::test]
async fn a_refused_operation_has_its_error_in_its_place() {
    let server = TestServer::start();
    let mut pipeline = server.client().await.pipeline().await.unwrap();
    let frame = || {
        Frame::new()
            .op(Write::new("a", 1))
            .op(Write::new("a", 2).expect(Condition::Missing))
            .op(Read::new("a"))
    };

    pipeline.send(frame()).unwrap();
    let reply = pipeline.recv().await.unwrap().unwrap();
    let results = reply.results.unwrap();
    assert!(matches!(&results[0], Ok(OpReply::Write(written)) if written.revision == 1));
    let error = results[1].as_ref().unwrap_err();
    assert_eq!(error.reason(), Some(Reason::KeyExists));
    assert_eq!(error.outcome(), Outcome::NotApplied);
    assert!(matches!(&results[2], Ok(OpReply::Read(read)) if read.value() == Some(&1.into())));

    // An atomic frame is refused as a whole, and the stream goes on.
    pipeline.send(frame().atomic()).unwrap();
    pipeline.send(Frame::new().op(Read::new("a"))).unwrap();
    let error = pipeline.recv().await.unwrap().unwrap().results.unwrap_err();
    assert_eq!(error.code(), Code::AlreadyExists);
    assert_eq!(error.metadata("op"), Some("1"));
    assert_eq!(
        last_read(pipeline.recv().await.unwrap().unwrap()),
        Some(1.into())
    );
}

#[tokio::test]
async fn a_frame_without_operations_is_refused() {
    let server = TestServer::start();
    let mut pipeline = server.client().await.pipeline().await.unwrap();
    pipeline
        .send(Frame::new().timeout(Duration::from_secs(1)))
        .unwrap();
    let error = pipeline.recv().await.unwrap().unwrap().results.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::NoOperation));
}

#[tokio::test]
async fn frames_in_flight_are_limited() {
    let server = TestServer::start();
    let client = server.client().await;
    let mut pipeline = client.pipeline().frames_in_flight(2).await.unwrap();
    let frame = || Frame::new().op(Read::new("a"));
    pipeline.send(frame()).unwrap();
    pipeline.send(frame()).unwrap();
    assert_eq!(pipeline.send(frame()), Err(PipelineSendError::Full));
    pipeline.recv().await.unwrap().unwrap();
    pipeline.send(frame()).unwrap();
}

#[tokio::test]
async fn beyond_the_limit_of_the_server_frames_are_refused_in_their_place() {
    let mut config = Config::default();
    config.limits.max_frames_in_flight = 4;
    let server = TestServer::with(config);
    let mut pipeline = server.client().await.pipeline().await.unwrap();
    for _ in 0..200 {
        pipeline.send(Frame::new().op(Write::new("a", 1))).unwrap();
    }
    let mut applied = 0;
    for _ in 0..200 {
        match pipeline.recv().await.unwrap().unwrap().results {
            Ok(_) => applied += 1,
            Err(error) => {
                assert_eq!(error.reason(), Some(Reason::Overloaded));
                assert!(error.is_retryable());
                assert!(error.retry_delay().is_some());
            }
        }
    }
    let info = server.client().await.info().await.unwrap();
    assert_eq!(info.revision, applied);
}

#[tokio::test]
async fn a_draining_server_answers_and_ends_the_stream() {
    let server = TestServer::start();
    let mut pipeline = server.client().await.pipeline().await.unwrap();
    pipeline.send(Frame::new().op(Write::new("a", 1))).unwrap();
    pipeline.recv().await.unwrap().unwrap();
    server.drain();
    let error = pipeline.recv().await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::Draining));
    assert!(error.is_retryable());
    let sent = pipeline.send(Frame::new().op(Read::new("a")));
    assert_eq!(sent, Err(PipelineSendError::Closed));
}
