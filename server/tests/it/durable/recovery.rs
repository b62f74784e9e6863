//! What is there after the server was killed or shut down.

use std::fs;
use std::time::Duration;

use soloist::v1::machines_client::MachinesClient;
use soloist::v1::sessions_client::SessionsClient;
use soloist::v1::state_client::StateClient;
use soloist::v1::{
    self, AddRequest, BatchRequest, DefineMachineRequest, OpenSessionRequest, TransitionRequest,
    WatchRequest, WriteRequest,
};
use tonic::Code;
use tonic::transport::Channel;

use super::Durable;
use crate::support::{atomic, frame, int, pipeline, read, read_op, text, write, write_op};

#[tokio::test]
async fn a_deletion_by_prefix_survives_a_kill_with_its_answer() {
    let server = Durable::start(&[]).await;
    let mut state = server.state().await;
    for n in 0..5 {
        state.write(write(format!("t/{n}"), int(n))).await.unwrap();
    }
    state.write(write("kept", int(1))).await.unwrap();
    let delete = |page_token: &str, id: &str| v1::DeletePrefixRequest {
        prefix: "t/".into(),
        limit: 3,
        page_token: page_token.into(),
        request_id: id.into(),
        ..Default::default()
    };
    let first = state.delete_prefix(delete("", "1")).await.unwrap();
    let first = first.into_inner();
    assert_eq!((first.deleted_count, first.revision), (3, 7));

    let server = server.killed().await;
    let mut state = server.state().await;
    let again = state.delete_prefix(delete("", "1")).await.unwrap();
    let replayed = v1::DeletePrefixResponse {
        replayed: true,
        ..first.clone()
    };
    assert_eq!(again.into_inner(), replayed);
    let rest = delete(&first.next_page_token, "2");
    let rest = state.delete_prefix(rest).await.unwrap().into_inner();
    assert_eq!((rest.deleted_count, rest.next_page_token.as_str()), (2, ""));
    let server = server.killed().await;
    assert_eq!(server.info().await.key_count, 1);
}

/// A read behind a write of its stream is answered as of what is on disk, which may be before the write.
#[tokio::test]
async fn revisions_of_a_stream_do_not_go_back() {
    let server = Durable::start(&[]).await;
    let mut state = server.state().await;
    state.write(write("other", int(0))).await.unwrap();
    let (frames, mut answers) = pipeline(&mut state).await;
    const PAIRS: i64 = 80;
    for n in 0..PAIRS {
        let written = frame([write_op(write("k", int(n)))]);
        frames.send(written).await.unwrap();
        frames.send(frame([read_op("other")])).await.unwrap();
        frames.send(atomic([read_op("other")])).await.unwrap();
    }
    let mut last = 0;
    for answer in 0..3 * PAIRS {
        let answered = answers.message().await.unwrap().unwrap();
        let now = answered.revision;
        assert!(now >= last, "answer {answer}: {now} comes after {last}");
        last = now;
        if let Some(v1::op_result::Result::Read(read)) = &answered.results[0].result {
            assert_eq!(read.revision, now);
        }
    }
}

#[tokio::test]
async fn everything_is_there_after_a_kill() {
    let server = Durable::start(&[]).await;
    let mut state = server.state().await;
    let mut sessions = SessionsClient::new(server.channel().await);
    let mut machines = MachinesClient::new(server.channel().await);
    let of_state = |next: &[&str]| v1::machine::State {
        next: next.iter().map(|next| (*next).into()).collect(),
        ..Default::default()
    };
    let machine = v1::Machine {
        name: "conn".into(),
        key_prefix: "conn/".into(),
        initial: "idle".into(),
        states: [
            ("idle".into(), of_state(&["closing"])),
            ("closing".into(), of_state(&[])),
        ]
        .into(),
        ..Default::default()
    };
    let define = DefineMachineRequest {
        machine: Some(machine),
        ..Default::default()
    };
    machines.define_machine(define).await.unwrap();
    let open = OpenSessionRequest {
        id: "holder".into(),
        ttl: Some(prost_types::Duration {
            seconds: 60,
            nanos: 0,
        }),
        ..Default::default()
    };
    let session = sessions.open_session(open).await.unwrap().into_inner();
    let locked = WriteRequest {
        lifetime: Some(v1::write_request::Lifetime::Session("holder".into())),
        ..write("lock", int(1))
    };
    state.write(locked).await.unwrap();
    let mortal = WriteRequest {
        lifetime: Some(v1::write_request::Lifetime::Ttl(prost_types::Duration {
            seconds: 600,
            nanos: 0,
        })),
        ..write("mortal", text("soon gone"))
    };
    state.write(mortal).await.unwrap();
    state.write(write("conn/1", int(0))).await.unwrap();
    let moved = TransitionRequest {
        key: "conn/1".into(),
        to: "closing".into(),
        ..Default::default()
    };
    state.transition(moved).await.unwrap();
    let add = AddRequest {
        key: "counter".into(),
        delta: 5,
        request_id: "once".into(),
        ..Default::default()
    };
    let added = state.add(add.clone()).await.unwrap().into_inner();
    let batch = BatchRequest {
        ops: vec![write_op(write("a", int(1))), write_op(write("b", int(2)))],
        request_id: "both".into(),
    };
    let batched = state.batch(batch.clone()).await.unwrap().into_inner();
    let before = server.info().await;
    let entries = async |state: &mut StateClient<Channel>| {
        let list = v1::ListRequest::default();
        state.list(list).await.unwrap().into_inner().entries
    };
    let listed = entries(&mut state).await;
    assert_eq!(listed.len(), 6);

    let server = server.killed().await;
    let after = server.info().await;
    assert_eq!(after.store_id, before.store_id);
    assert_eq!((before.epoch, after.epoch), (1, 2));
    assert!(
        after.revision > before.revision,
        "revisions that may have been used are skipped"
    );
    assert_eq!(after.durability, "sync");
    let mut state = server.state().await;
    assert_eq!(entries(&mut state).await, listed);
    let again = state.add(add).await.unwrap().into_inner();
    assert_eq!(
        again,
        v1::AddResponse {
            replayed: true,
            ..added
        }
    );
    let again = state.batch(batch).await.unwrap().into_inner();
    assert_eq!((again.replayed, again.revision), (true, batched.revision));
    // The session is the same one, and its ttl has started again.
    let mut sessions = SessionsClient::new(server.channel().await);
    let living = sessions
        .list_sessions(v1::ListSessionsRequest::default())
        .await
        .unwrap()
        .into_inner()
        .sessions;
    assert_eq!(living.len(), 1);
    assert_eq!(living[0].create_revision, session.create_revision);
    let (first, second) = (session.expire_time.unwrap(), living[0].expire_time.unwrap());
    let later = second.seconds - first.seconds;
    assert!((0..60).contains(&later), "{later} s later");
    assert_eq!(living[0].key_count, 1);
    // The machine still refuses moves that it does not allow.
    let back = TransitionRequest {
        key: "conn/1".into(),
        to: "idle".into(),
        ..Default::default()
    };
    let refused = state.transition(back).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn a_shutdown_in_order_skips_no_revisions() {
    let server = Durable::start(&[]).await;
    server
        .state()
        .await
        .write(write("k", int(1)))
        .await
        .unwrap();
    let before = server.info().await;
    let server = server.restarted().await;
    let after = server.info().await;
    assert_eq!(after.revision, before.revision);
    assert_eq!(after.store_id, before.store_id);
}

#[tokio::test]
async fn a_watch_resumes_after_restarts_and_snapshots() {
    let mut server = Durable::start(&["--snapshot-log-bytes", "20000"]).await;
    let mut seen = Vec::new();
    let mut resume_after = 0;
    let value = |round: i32, n: i32| text(format!("{round}-{n:-<500}"));
    for round in 0..6 {
        let mut state = server.state().await;
        for n in 0..40 {
            let request = write(n.to_string(), value(round, n));
            state.write(request).await.unwrap();
        }
        server = server.killed().await;
        let mut state = server.state().await;
        let request = WatchRequest {
            target: Some(v1::watch_request::Target::Prefix(String::new())),
            after_revision: Some(resume_after),
            previous: true,
            ..Default::default()
        };
        let mut messages = state.watch(request).await.unwrap().into_inner();
        loop {
            let message = messages.message().await.unwrap().unwrap();
            for event in message.events.iter().filter(|_| round > 0) {
                assert!(event.previous.is_some() != event.previous_left_out);
            }
            let entries = message.events.into_iter().map(|event| event.entry.unwrap());
            seen.extend(entries.map(|entry| entry.value.unwrap()));
            if message.caught_up {
                resume_after = message.revision;
                break;
            }
        }
    }
    let expected = (0..6).flat_map(|round| (0..40).map(move |n| value(round, n)));
    assert!(
        seen == expected.collect::<Vec<_>>(),
        "each change once, in order"
    );
    // A kill may have come before the snapshot of its round. The log goes on growing until both snapshots are there.
    let snapshot = server.dir.path().join("snapshot-b.redb");
    let mut state = server.state().await;
    let second_snapshot = async {
        while fs::metadata(&snapshot).unwrap().len() == 0 {
            state.write(write("k", value(6, 0))).await.unwrap();
        }
    };
    let made = tokio::time::timeout(Duration::from_secs(30), second_snapshot).await;
    made.expect("a second snapshot is made");
}

#[tokio::test]
async fn changes_answered_early_may_be_lost_and_then_the_store_id_changes() {
    for mode in ["interval=60000", "none"] {
        let server = Durable::start(&["--durability", mode]).await;
        server
            .state()
            .await
            .write(write("k", int(1)))
            .await
            .unwrap();
        let before = server.info().await;
        assert_eq!(before.durability, mode);
        assert!(
            before.loss_window.contains("loses"),
            "{}",
            before.loss_window
        );
        let server = server.killed().await;
        let after = server.info().await;
        assert_ne!(after.store_id, before.store_id);
        assert!(after.revision > before.revision + (1 << 39));
        // A shutdown in order loses nothing.
        server
            .state()
            .await
            .write(write("k", int(2)))
            .await
            .unwrap();
        let before = server.info().await;
        let server = server.restarted().await;
        let after = server.info().await;
        assert_eq!(after.store_id, before.store_id);
        assert_eq!(after.revision, before.revision);
        let outcome = server.state().await.read(read("k")).await.unwrap();
        assert_eq!(outcome.into_inner().entry.unwrap().value, Some(int(2)));
    }
    let server = Durable::start(&["--durability", "interval=10"]).await;
    server
        .state()
        .await
        .write(write("k", int(1)))
        .await
        .unwrap();
    // The change is on disk after the interval; this waits much longer.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let server = server.killed().await;
    let outcome = server.state().await.read(read("k")).await.unwrap();
    assert!(outcome.into_inner().entry.is_some());
}
