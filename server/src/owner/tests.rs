//! The owner on paused time: backpressure, callers that leave, deadlines, drain, and the owner's death.

mod commit;
mod edges;
mod fairness;
mod heartbeat;

use std::convert::Infallible;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::task::JoinHandle;
use tokio::time::{Instant, advance};

use super::clock::Now;
use super::mailbox::mailbox;
use super::state::Owner;
use super::{
    CallError, Clock, ConnectionQuota, JournalLost, NewWatch, NextBatch, OpenWatch, OwnerHandle,
    OwnerLimits, Timer, Unknown, reply, spawn, spawn_with,
};
use crate::config::{DUE_KEYS_MAX, Limits, MailboxLimits};
use crate::machine::{
    Change, ChangeCause, EachOutcome, HasMore, Key, OnExisting, OpenSession, Operation,
    PlainFrames, Read, ReadOutcome, RequestId, SESSION_SLICE, SessionLife, SetLifetime,
    StateMachine, Time, Updates, Usage, Value, WatchFrom, WatchShows, WatchTarget, Write,
    WriteOptions, WriteOutcome,
};

const ANSWER_BYTES_MAX: usize = 1000;

const MAILBOX: MailboxLimits = MailboxLimits {
    messages: 4,
    bytes: 1000,
};

const SECOND: Duration = Duration::from_secs(1);

fn start() -> (OwnerHandle, JoinHandle<Result<StateMachine, JournalLost>>) {
    start_with(MAILBOX)
}

fn start_with(
    mailbox: MailboxLimits,
) -> (OwnerHandle, JoinHandle<Result<StateMachine, JournalLost>>) {
    spawn(machine(), Clock::set(Time::MIN), limits(mailbox))
}

fn limits(mailbox: MailboxLimits) -> OwnerLimits {
    OwnerLimits {
        mailbox,
        answer_bytes: ANSWER_BYTES_MAX,
        watches: 100,
    }
}

/// Starts an owner with a server's default limits.
fn start_default() -> (OwnerHandle, JoinHandle<Result<StateMachine, JournalLost>>) {
    let limits = OwnerLimits {
        mailbox: MailboxLimits::DEFAULT,
        answer_bytes: Limits::DEFAULT.max_answer_bytes,
        watches: Limits::DEFAULT.max_watches,
    };
    spawn(machine(), Clock::set(Time::MIN), limits)
}

fn machine() -> StateMachine {
    StateMachine::new(Limits::DEFAULT.store_limits())
}

fn soon() -> Instant {
    Instant::now() + SECOND
}

fn read(key: &str) -> Read {
    Read {
        key: key.into(),
        expect: None,
    }
}

fn write(key: &str, value: i64) -> Write {
    write_value(key, Value::Int(value))
}

fn write_value(key: &str, value: Value) -> Write {
    Write {
        key: Key::from(key),
        value: Some(value),
        options: None,
    }
}

fn quota() -> ConnectionQuota {
    ConnectionQuota::new(1500)
}

/// A quota with room for the outcomes of many operations.
fn large_quota() -> ConnectionQuota {
    ConnectionQuota::new(1 << 30)
}

fn overloaded(limit: usize, unit: &'static str) -> CallError {
    CallError::Overloaded { limit, unit }
}

async fn usage(handle: &OwnerHandle) -> Usage {
    handle.usage(soon()).await.unwrap().state
}

/// One plain frame.
fn plain(operations: Vec<Operation>) -> PlainFrames {
    plain_with_id(operations, None)
}

/// One plain frame, whose operations have this request id.
fn plain_with_id(operations: Vec<Operation>, request_id: Option<RequestId>) -> PlainFrames {
    let mut frames = PlainFrames::default();
    for operation in operations {
        frames.operation(operation, request_id.clone());
    }
    frames.end_frame();
    frames
}

/// The results of the operations of plain frames, of each frame.
type Lists = Vec<EachOutcome>;

#[tokio::test(start_paused = true)]
async fn answers_in_order() {
    let (handle, _owner) = start();
    let written = handle.write(write("a", 1), None, soon()).await.unwrap();
    assert_eq!(
        written,
        WriteOutcome {
            revision: 1,
            create_revision: 1,
            previous: None,
            replayed: false,
        }
    );
    let ReadOutcome { entry, revision } = handle.read(read("a"), soon()).await.unwrap();
    assert_eq!((entry.unwrap().value, revision), (Value::Int(1), 1));
}

#[tokio::test(start_paused = true)]
async fn a_full_mailbox_refuses_at_once() {
    let (handle, _owner) = start();
    // The owner's task does not run until this one waits.
    let one = || vec![Operation::Write(write("a", 1))];
    let waiting: Vec<_> = (0..4)
        .map(|_| {
            handle
                .apply_each(plain(one()), Lists::new(), quota(), soon())
                .unwrap()
        })
        .collect();
    let refused = handle.write(write("a", 1), None, soon());
    assert_eq!(refused.now_or_never(), Some(Err(overloaded(4, "messages"))));
    for pending in waiting {
        pending.answer().await.unwrap();
    }
    // There is room again, and the refused call left no trace.
    assert_eq!(usage(&handle).await.revision, 4);
}

#[tokio::test(start_paused = true)]
async fn a_mailbox_full_of_bytes_refuses_at_once() {
    let (handle, _owner) = start();
    let large = |bytes| write_value("k", Value::Text("x".repeat(bytes).into()));
    let refused = handle.write(large(1000), None, soon());
    assert_eq!(refused.now_or_never(), Some(Err(overloaded(1000, "bytes"))));
    // Neither refused nor handled messages count any more.
    for _ in 0..3 {
        handle.write(large(999), None, soon()).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn one_connection_leaves_messages_in_the_mailbox_to_others() {
    let (handle, _owner) = start_with(MailboxLimits {
        messages: 8,
        bytes: 100_000,
    });
    let (greedy, second, modest) = (quota(), quota(), quota());
    let send = |connection: &ConnectionQuota| {
        let one = vec![Operation::Write(write("a", 1))];
        handle.apply_each(plain(one), Lists::new(), connection.clone(), soon())
    };
    // The owner's task does not run until this one waits.
    let mut waiting: Vec<_> = (0..4).map(|_| send(&greedy).unwrap()).collect();
    let refused = |limit| Some(overloaded(limit, "messages of one connection"));
    assert_eq!(send(&greedy).err(), refused(4));
    waiting.extend((0..2).map(|_| send(&second).unwrap()));
    assert_eq!(send(&second).err(), refused(2));
    waiting.push(send(&modest).unwrap());
    assert_eq!(send(&modest).err(), refused(1));
    // Any connection may take the last place. After it, a refusal blames the mailbox and not the connection.
    waiting.push(send(&quota()).unwrap());
    assert_eq!(send(&greedy).err(), Some(overloaded(8, "messages")));
    for pending in waiting {
        pending.answer().await.unwrap();
    }
    // Neither handled nor refused messages are left on the connection's quota.
    for _ in 0..2 {
        let waiting: Vec<_> = (0..4).map(|_| send(&greedy).unwrap()).collect();
        assert_eq!(send(&greedy).err(), refused(4));
        for pending in waiting {
            pending.answer().await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_connection_leaves_bytes_in_the_mailbox_to_others() {
    let (handle, _owner) = start_with(MailboxLimits {
        messages: 100,
        bytes: 10_000,
    });
    let greedy = quota();
    let send = |connection: &ConnectionQuota, bytes| {
        let value = Value::Text("x".repeat(bytes).into());
        let one = vec![Operation::Write(write_value("a", value))];
        handle.apply_each(plain(one), Lists::new(), connection.clone(), soon())
    };
    // A connection's first message may exceed its share.
    let first = send(&greedy, 6_000).unwrap();
    let refused = send(&greedy, 1).err();
    let Some(CallError::Overloaded { limit, unit }) = refused else {
        panic!("expected a refusal, got {refused:?}");
    };
    assert_eq!(unit, "bytes of one connection");
    let other = send(&quota(), limit / 2).unwrap();
    first.answer().await.unwrap();
    other.answer().await.unwrap();
    send(&greedy, 6_000).unwrap().answer().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn unread_answers_are_limited() {
    let (handle, _owner) = start();
    let value = Value::Text("x".repeat(900).into());
    handle
        .write(write_value("k", value), None, soon())
        .await
        .unwrap();
    let quota = quota();
    let read = async || {
        let operations = vec![Operation::Read(read("k"))];
        let pending = handle
            .apply_each(plain(operations), Lists::new(), quota.clone(), soon())
            .unwrap();
        let (mut answers, held) = pending.answer().await.unwrap();
        (answers[0].results.pop().unwrap().is_ok(), held)
    };
    let (done, held) = read().await;
    assert!(done);
    let (done, _) = read().await;
    assert!(!done, "900 of 1,500 bytes are unread");
    drop(held);
    let (done, _) = read().await;
    assert!(done);
    // An answer whose caller has left does not count either.
    let operations = vec![Operation::Read(super::tests::read("k"))];
    drop(handle.apply_each(plain(operations), Lists::new(), quota.clone(), soon()));
    usage(&handle).await;
    assert_eq!(quota.free_bytes(), 1500);
}

/// The outcomes of an atomic frame count, and those of a replay: neither shows up in the values of the operations.
#[tokio::test]
async fn frames_need_room_for_their_outcomes() {
    let (handle, _owner) = start();
    let long = || Value::Text("x".repeat(900).into());
    handle
        .write(write_value("k", long()), None, soon())
        .await
        .unwrap();
    let reads = || vec![Operation::Read(read("absent")); 10];
    let named = || {
        Some(Box::new(RequestId {
            id: "id".into(),
            fingerprint: crate::machine::Fingerprint(1),
        }))
    };
    let quota = ConnectionQuota::new(1000);
    let all = async |operations, request_id| {
        let pending = handle.apply_all(operations, request_id, quota.clone(), soon());
        let answer = pending.unwrap().answer().await;
        answer.map(|(outcome, held)| (outcome.replayed, held))
    };
    let shows_k = || vec![Operation::Read(read("k"))];
    let no_room = Some(overloaded(1000, "bytes of one connection"));
    for (first, again, replays) in [
        ((reads(), None), (reads(), None), false),
        ((shows_k(), named()), (shows_k(), named()), true),
    ] {
        let (_, held) = all(first.0, first.1).await.unwrap();
        let (operations, request_id) = again.clone();
        assert_eq!(all(operations, request_id).await.err(), no_room);
        drop(held);
        let (replayed, _) = all(again.0, again.1).await.unwrap();
        assert_eq!(replayed, replays);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_started_after_its_deadline() {
    let (handle, owner) = start();
    let waiting: Vec<_> = (0..4)
        .map(|n| {
            let operations = vec![Operation::Write(write(&n.to_string(), n))];
            handle.apply_all(operations, None, quota(), soon()).unwrap()
        })
        .collect();
    // The owner runs only after all deadlines, and before the callers do.
    advance(SECOND).await;
    for pending in waiting {
        assert_eq!(pending.answer().await.err(), Some(CallError::NotStarted));
    }
    assert_eq!(usage(&handle).await.revision, 0, "0 of 4 applied");
    drop(handle);
    assert_eq!(owner.await.unwrap().unwrap().usage().revision, 0);
}

#[tokio::test(start_paused = true)]
async fn a_caller_is_told_at_its_deadline_even_if_the_owner_is_stuck() {
    let (sender, mut mailbox) = mailbox(MAILBOX);
    let handle = OwnerHandle::new(sender);
    let started = Instant::now();
    let answer = handle.write(write("a", 1), None, soon()).await;
    assert_eq!(answer, Err(CallError::NotStarted));
    assert_eq!(started.elapsed(), SECOND);

    // When the owner takes the message at last, it does not start with it.
    let mut owner = Owner::new(machine(), None, &limits(MAILBOX), None);
    let mut batch = Vec::new();
    mailbox.recv_many(&mut batch).await;
    let now = Now {
        instant: started,
        time: Time::MIN,
    };
    for envelope in batch {
        owner.dispatch(envelope.message, now);
    }
    assert_eq!(owner.machine.usage().revision, 0);
}

#[tokio::test(start_paused = true)]
async fn a_caller_whose_message_was_started_waits_for_its_outcome() {
    let (reply, pending) = reply::reply::<u8>(soon());
    let mut answer = std::pin::pin!(pending.answer());
    let begun = Instant::now();
    advance(2 * SECOND).await;
    reply.answer::<Infallible>(begun, || {
        // The caller's deadline passes while the owner handles the message.
        assert_eq!(answer.as_mut().now_or_never(), None);
        Ok(7)
    });
    assert_eq!(answer.await, Ok(7));
}

#[tokio::test(start_paused = true)]
async fn one_timer_serves_many_deadlines() {
    let started = Instant::now();
    let mut timer = Timer::default();
    // Each deadline is earlier or later than the one before, or equal to it.
    for seconds in [3, 1, 4, 4, 9] {
        let deadline = started + seconds * SECOND;
        let (_reply, mut pending) = reply::reply::<u8>(deadline);
        let answer = std::future::poll_fn(|cx| pending.poll_answer(cx, &mut timer)).await;
        assert_eq!(answer, Err(CallError::NotStarted));
        assert!(Instant::now() >= deadline);
        assert!(Instant::now() < started + 10 * SECOND);
    }
    // An answer before the deadline arrives.
    let (reply, mut pending) = reply::reply::<u8>(soon());
    reply.answer::<Infallible>(Instant::now(), || Ok(7));
    let answer = std::future::poll_fn(|cx| pending.poll_answer(cx, &mut timer)).await;
    assert_eq!(answer, Ok(7));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_started_for_a_caller_who_left() {
    let (handle, _owner) = start();
    let pending = handle.apply_each(
        plain(vec![Operation::Write(write("a", 1))]),
        Lists::new(),
        quota(),
        soon(),
    );
    drop(pending);
    // The call is polled once, so that its message is in the mailbox, and then dropped.
    assert!(
        handle
            .write(write("b", 1), None, soon())
            .now_or_never()
            .is_none()
    );
    assert_eq!(usage(&handle).await.revision, 0);
}

#[tokio::test(start_paused = true)]
async fn the_owner_works_off_its_mailbox_and_returns_the_state() {
    let (handle, owner) = start();
    let waiting: Vec<_> = (0..4)
        .map(|n| {
            handle
                .apply_each(
                    plain(vec![Operation::Write(write("a", n))]),
                    Lists::new(),
                    quota(),
                    soon(),
                )
                .unwrap()
        })
        .collect();
    drop(handle);
    assert_eq!(owner.await.unwrap().unwrap().usage().revision, 4);
    for pending in waiting {
        pending.answer().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn callers_learn_that_the_owner_died() {
    let (handle, owner) = start();
    let waiting = handle
        .apply_each(
            plain(vec![Operation::Read(read("a"))]),
            Lists::new(),
            quota(),
            soon(),
        )
        .unwrap();
    owner.abort();
    assert_eq!(waiting.answer().await.err(), Some(CallError::OwnerLost));
    handle.closed().await;
    assert_eq!(
        handle.read(read("a"), soon()).await,
        Err(CallError::OwnerLost)
    );
    assert!(owner.await.is_err());
}

fn mortal(key: &str, ttl: Duration) -> Write {
    live(key, SetLifetime::Ttl(ttl))
}

fn live(key: &str, lifetime: SetLifetime) -> Write {
    Write {
        options: Some(Box::new(WriteOptions {
            lifetime,
            ..WriteOptions::default()
        })),
        ..write(key, 1)
    }
}

/// Opens session `s`, and writes `keys`, which end with it.
async fn session_with(handle: &OwnerHandle, keys: impl Iterator<Item = String>) -> SessionLife {
    let open = OpenSession {
        id: "s".into(),
        ttl: 60 * SECOND,
        on_existing: OnExisting::Refuse,
    };
    let opened = handle.open_session(open, None, soon()).await.unwrap();
    for key in keys {
        let lifetime = SetLifetime::Session {
            id: "s".into(),
            create_revision: None,
        };
        handle
            .write(live(&key, lifetime), None, soon())
            .await
            .unwrap();
    }
    SessionLife {
        id: "s".into(),
        create_revision: opened.session.create_revision,
    }
}

async fn watch(handle: &OwnerHandle, from: WatchFrom) -> OpenWatch {
    let new = NewWatch {
        target: WatchTarget::Prefix(String::new()),
        from,
        shows: WatchShows::After,
    };
    handle.watch(new, soon()).await.unwrap()
}

/// Waits for the next changes that a watch shows; returns their keys and causes.
async fn changes(handle: &OwnerHandle, watching: &OpenWatch) -> Vec<(String, ChangeCause)> {
    loop {
        let next = handle.next_batch(watching, quota(), soon()).await.unwrap();
        let NextBatch::Batch(batch, _) = next else {
            panic!("{next:?}");
        };
        let Updates::Changes(changes) = batch.updates else {
            panic!("{:?}", batch.updates);
        };
        if !changes.is_empty() {
            let told = |change: Change| (change.key.to_string(), change.cause);
            return changes.into_iter().map(told).collect();
        }
        if batch.has_more == HasMore::No {
            watching.changed().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn keys_expire_without_a_call_and_not_before_their_time() {
    let (handle, _owner) = start();
    let started = Instant::now();
    let watching = watch(&handle, WatchFrom::Now).await;
    for (key, seconds) in [("b", 2), ("a", 1)] {
        let write = mortal(key, seconds * SECOND);
        handle.write(write, None, soon()).await.unwrap();
    }
    let expected = |key: &str, cause| vec![(key.to_owned(), cause)];
    let written = changes(&handle, &watching).await;
    assert_eq!(written.len(), 2);
    // No call makes it happen: the paused clock moves on to the next timer, which is the owner's alarm.
    assert_eq!(
        changes(&handle, &watching).await,
        expected("a", ChangeCause::Expired)
    );
    assert!(started.elapsed() >= SECOND && started.elapsed() < SECOND + Duration::from_millis(5));
    assert_eq!(
        changes(&handle, &watching).await,
        expected("b", ChangeCause::Expired)
    );
    assert!(started.elapsed() >= 2 * SECOND);
    assert_eq!(usage(&handle).await.key_count, 0);
}

#[tokio::test(start_paused = true)]
async fn many_keys_that_expire_together_leave_room_for_calls() {
    let (handle, _owner) = start_with(MailboxLimits::DEFAULT);
    let count = 20 * DUE_KEYS_MAX;
    for key in 0..count {
        let write = mortal(&key.to_string(), SECOND);
        handle.write(write, None, soon()).await.unwrap();
    }
    advance(2 * SECOND).await;
    // All keys are due, but a call need not wait until all have expired.
    let after_a_slice = usage(&handle).await.key_count;
    assert!((1..count).contains(&after_a_slice), "{after_a_slice}");
    while usage(&handle).await.key_count > 0 {}
}

#[tokio::test(start_paused = true)]
async fn a_session_is_closed_when_its_last_key_is_gone() {
    let (handle, _owner) = start_with(MailboxLimits::DEFAULT);
    let count = 3 * SESSION_SLICE;
    let life = session_with(&handle, (0..count).map(|key| key.to_string())).await;
    let before = usage(&handle).await.revision;
    let closed = handle.close_session(life, None, soon()).await.unwrap();
    assert_eq!((closed.key_count, closed.revision), (count, before + 1));
    let after = usage(&handle).await;
    assert_eq!((after.key_count, after.revision), (0, before + 3));
}

#[tokio::test(start_paused = true)]
async fn a_replay_is_answered_even_after_its_deadline() {
    let (handle, _owner) = start();
    let request_id = || {
        Some(Box::new(RequestId {
            id: "id".into(),
            fingerprint: crate::machine::Fingerprint(1),
        }))
    };
    let write = || vec![Operation::Write(write("a", 1))];
    let all = |request_id| {
        handle
            .apply_all(write(), request_id, quota(), soon())
            .unwrap()
    };
    let (first, _) = all(request_id()).answer().await.unwrap();
    // Both messages are still in the mailbox when their deadline passes.
    let (again, fresh) = (all(request_id()), all(None));
    advance(SECOND).await;
    tokio::task::yield_now().await;
    let (again, _) = again.answer().await.unwrap();
    assert_eq!((again.revision, again.replayed), (first.revision, true));
    assert_eq!(fresh.answer().await.err(), Some(CallError::NotStarted));
}

#[tokio::test(start_paused = true)]
async fn open_watches_are_limited_and_dropped_ones_do_not_count() {
    let (handle, _owner) = start();
    // One connection alone would get half of them.
    let connection = || handle.for_connection(quota());
    let mut open = Vec::new();
    for _ in 0..100 {
        open.push(watch(&connection(), WatchFrom::Now).await);
    }
    let new = || NewWatch {
        target: WatchTarget::Key("k".into()),
        from: WatchFrom::Initial,
        shows: WatchShows::After,
    };
    let refused = connection().watch(new(), soon()).await.err();
    assert_eq!(
        refused,
        Some(CallError::TooManyOpen {
            what: "watches",
            limit: 100
        })
    );
    open.truncate(40);
    assert_eq!(handle.usage(soon()).await.unwrap().watch_count, 40);
    for _ in 40..100 {
        open.push(connection().watch(new(), soon()).await.unwrap());
    }
    assert!(connection().watch(new(), soon()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_change_wakes_only_watches_of_its_key() {
    let (handle, _owner) = start();
    let target = |target| NewWatch {
        target,
        from: WatchFrom::Now,
        shows: WatchShows::After,
    };
    let of_key = |key: &str| target(WatchTarget::Key(key.into()));
    let of_prefix = |prefix: &str| target(WatchTarget::Prefix(prefix.into()));
    let mut all = Vec::new();
    for (new, wakes) in [
        (of_key("a/1"), true),
        (of_key("a/2"), false),
        (of_key("a"), false),
        (of_prefix("a/"), true),
        (of_prefix(""), true),
        (of_prefix("a/1"), true),
        (of_prefix("a/1/"), false),
        (of_prefix("b"), false),
        // A prefix with a character of two bytes.
        (of_prefix("a/\u{e9}"), false),
    ] {
        let watching = handle.watch(new.clone(), soon()).await.unwrap();
        // There is nothing to show, so the watch sleeps.
        handle.next_batch(&watching, quota(), soon()).await.unwrap();
        all.push((new, watching, wakes));
    }
    handle.write(write("a/1", 1), None, soon()).await.unwrap();
    usage(&handle).await;
    for (new, watching, wakes) in &all {
        let woken = watching.changed().now_or_never().is_some();
        assert_eq!(woken, *wakes, "{new:?}");
    }
}
