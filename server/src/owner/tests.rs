//! The owner on paused time: backpressure, callers that leave, deadlines, drain, death.

use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::{Instant, advance};

use super::*;
use crate::machine::{
    Key, Operation, Read, ReadOutcome, Usage, Value, Write, WriteAnswer, WriteOutcome,
};

const ANSWER_BYTES_MAX: usize = 1000;

const MAILBOX: MailboxLimits = MailboxLimits {
    messages: 4,
    bytes: 1000,
};

const SECOND: Duration = Duration::from_secs(1);

fn start() -> (OwnerHandle, JoinHandle<StateMachine>) {
    spawn(StateMachine::new(u64::MAX), MAILBOX, ANSWER_BYTES_MAX)
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
        expect: None,
        value,
        answer: WriteAnswer::Revisions,
    }
}

fn unread() -> Unread {
    Unread::new(1500)
}

fn overloaded(limit: usize, unit: &'static str) -> CallError {
    CallError::Overloaded { limit, unit }
}

async fn usage(handle: &OwnerHandle) -> Usage {
    handle.usage(soon()).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn answers_in_order() {
    let (handle, _owner) = start();
    let written = handle.write(write("a", 1), soon()).await.unwrap();
    assert_eq!(
        written,
        WriteOutcome {
            revision: 1,
            create_revision: 1,
            previous: None
        }
    );
    let ReadOutcome { entry, revision } = handle.read(read("a"), soon()).await.unwrap();
    assert_eq!((entry.unwrap().value, revision), (Value::Int(1), 1));
}

#[tokio::test(start_paused = true)]
async fn a_full_mailbox_refuses_at_once() {
    let (handle, _owner) = start();
    // The owner's task has not run yet, and does not until this one waits.
    let one = || vec![Operation::Write(write("a", 1))];
    let waiting: Vec<_> = (0..4)
        .map(|_| handle.apply_each(one(), unread(), soon()).unwrap())
        .collect();
    let refused = handle.write(write("a", 1), soon());
    assert_eq!(refused.now_or_never(), Some(Err(overloaded(4, "messages"))));
    for pending in waiting {
        pending.answer().await.unwrap();
    }
    // Room again, and the refused one left no trace.
    assert_eq!(usage(&handle).await.revision, 4);
}

#[tokio::test(start_paused = true)]
async fn a_mailbox_full_of_bytes_refuses_at_once() {
    let (handle, _owner) = start();
    let large = |bytes| write_value("k", Value::Text("x".repeat(bytes).into()));
    let refused = handle.write(large(1000), soon());
    assert_eq!(refused.now_or_never(), Some(Err(overloaded(1000, "bytes"))));
    // What was refused does not count, what was done does not count any more.
    for _ in 0..3 {
        handle.write(large(999), soon()).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_left_unread_is_bounded() {
    let (handle, _owner) = start();
    let value = Value::Text("x".repeat(900).into());
    handle.write(write_value("k", value), soon()).await.unwrap();
    let unread = unread();
    let read = async || {
        let operations = vec![Operation::Read(read("k"))];
        let pending = handle
            .apply_each(operations, unread.clone(), soon())
            .unwrap();
        let (mut answer, held) = pending.answer().await.unwrap();
        (answer.results.pop().unwrap().is_ok(), held)
    };
    let (done, held) = read().await;
    assert!(done);
    let (done, _) = read().await;
    assert!(!done, "900 of 1,500 bytes are unread");
    drop(held);
    let (done, _) = read().await;
    assert!(done);
    // An answer that nobody waited for counts no more either.
    let operations = vec![Operation::Read(super::tests::read("k"))];
    drop(handle.apply_each(operations, unread.clone(), soon()));
    usage(&handle).await;
    assert_eq!(unread.room(), 1500);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_started_after_its_deadline() {
    let (handle, owner) = start();
    let waiting: Vec<_> = (0..4)
        .map(|n| {
            let operations = vec![Operation::Write(write(&n.to_string(), n))];
            handle.apply_all(operations, unread(), soon()).unwrap()
        })
        .collect();
    // The owner sleeps through the deadline of all of them, and wakes before their callers do.
    advance(SECOND).await;
    for pending in waiting {
        assert_eq!(pending.answer().await.err(), Some(CallError::NotStarted));
    }
    assert_eq!(usage(&handle).await.revision, 0, "0 of 4 applied");
    drop(handle);
    assert_eq!(owner.await.unwrap().usage().revision, 0);
}

#[tokio::test(start_paused = true)]
async fn a_caller_is_told_at_its_deadline_even_if_the_owner_is_stuck() {
    let (sender, mut mailbox) = mpsc::channel(4);
    let handle = OwnerHandle {
        mailbox: sender,
        waiting_bytes: WaitingBytes::default(),
        limits: MAILBOX,
    };
    let started = Instant::now();
    let answer = handle.write(write("a", 1), soon()).await;
    assert_eq!(answer, Err(CallError::NotStarted));
    assert_eq!(started.elapsed(), SECOND);

    // And when the owner comes to it at last, it leaves it alone.
    let mut owner = Owner {
        mailbox: mpsc::channel(1).1,
        waiting_bytes: WaitingBytes::default(),
        machine: StateMachine::new(u64::MAX),
        answer_bytes_max: ANSWER_BYTES_MAX,
    };
    let envelope = mailbox.recv().await.unwrap();
    owner.handle(envelope.message, started);
    assert_eq!(owner.machine.usage().revision, 0);
}

#[tokio::test(start_paused = true)]
async fn a_caller_whose_message_was_begun_waits_for_its_outcome() {
    let (reply, pending) = reply::reply::<u8>(soon());
    let mut answer = std::pin::pin!(pending.answer());
    let begun = Instant::now();
    advance(2 * SECOND).await;
    reply.answer::<Infallible>(begun, || {
        // The caller finds its deadline passed while the owner is at it.
        assert_eq!(answer.as_mut().now_or_never(), None);
        Ok(7)
    });
    assert_eq!(answer.await, Ok(7));
}

#[tokio::test(start_paused = true)]
async fn one_timer_serves_many_deadlines() {
    let started = Instant::now();
    let mut timer = Timer::default();
    // Earlier, later and equal to the one before.
    for seconds in [3, 1, 4, 4, 9] {
        let deadline = started + seconds * SECOND;
        let (_reply, mut pending) = reply::reply::<u8>(deadline);
        let answer = std::future::poll_fn(|cx| pending.poll_answer(cx, &mut timer)).await;
        assert_eq!(answer, Err(CallError::NotStarted));
        assert!(Instant::now() >= deadline);
        assert!(Instant::now() < started + 10 * SECOND);
    }
    // And an answer in time is taken.
    let (reply, mut pending) = reply::reply::<u8>(soon());
    reply.answer::<Infallible>(Instant::now(), || Ok(7));
    let answer = std::future::poll_fn(|cx| pending.poll_answer(cx, &mut timer)).await;
    assert_eq!(answer, Ok(7));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_started_for_a_caller_who_left() {
    let (handle, _owner) = start();
    let pending = handle.apply_each(vec![Operation::Write(write("a", 1))], unread(), soon());
    drop(pending);
    // Polled once, so that the message is in the mailbox, then dropped.
    assert!(handle.write(write("b", 1), soon()).now_or_never().is_none());
    assert_eq!(usage(&handle).await.revision, 0);
}

#[tokio::test(start_paused = true)]
async fn the_owner_works_off_its_mailbox_and_gives_the_state_back() {
    let (handle, owner) = start();
    let waiting: Vec<_> = (0..4)
        .map(|n| {
            handle
                .apply_each(vec![Operation::Write(write("a", n))], unread(), soon())
                .unwrap()
        })
        .collect();
    drop(handle);
    assert_eq!(owner.await.unwrap().usage().revision, 4);
    for pending in waiting {
        pending.answer().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn callers_learn_that_the_owner_died() {
    let (handle, owner) = start();
    let waiting = handle
        .apply_each(vec![Operation::Read(read("a"))], unread(), soon())
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
