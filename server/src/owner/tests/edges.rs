//! Rare cases that were wrong once.

use super::*;

/// Closing a session is answered even if another call deletes the session's last key.
#[tokio::test(start_paused = true)]
async fn close_is_answered_when_another_call_deletes_the_last_key() {
    use crate::machine::Delete;
    let (handle, _owner) = start_default();
    let keys = (0..=SESSION_SLICE).map(|i| format!("k{i:05}"));
    let life = session_with(&handle, keys).await;
    // Both messages are in the mailbox before the owner runs, so they are in one batch.
    let close = handle.close_session(life, None, soon());
    let delete = handle.delete(
        Delete {
            key: Key::from(format!("k{SESSION_SLICE:05}")),
            expect: None,
        },
        None,
        soon(),
    );
    let both = async { tokio::join!(close, delete) };
    let (closed, deleted) = tokio::time::timeout(3600 * SECOND, both)
        .await
        .expect("close is answered within an hour; its deadline is a second");
    closed.unwrap();
    deleted.unwrap();
}

/// Watches that are awake, as watches of slow clients are, make no change slower.
#[tokio::test(start_paused = true)]
async fn slow_watches_cost_the_owner_nothing() {
    let (handle, _owner) = start_default();
    let frame = async || {
        let operations = (0..1000).map(|i| Operation::Write(write("a", i))).collect();
        let pending = handle
            .apply_each(plain(operations), Lists::new(), large_quota(), soon())
            .unwrap();
        let start = std::time::Instant::now();
        pending.answer().await.unwrap();
        // The owner wakes watches after the answer: call once more to wait for that.
        usage(&handle).await;
        start.elapsed()
    };
    // The quickest of several: other processes may take the core at any time.
    let quickest = async || {
        let mut times = Vec::new();
        for _ in 0..7 {
            times.push(frame().await);
        }
        times.into_iter().min().unwrap()
    };
    let without = quickest().await;
    let mut watches = Vec::new();
    for _ in 0..20_000 {
        // These watches never ask for a batch, so they never sleep.
        let watch = NewWatch {
            target: WatchTarget::Prefix(String::new()),
            from: WatchFrom::Now,
            shows: WatchShows::After,
        };
        let connection = handle.for_connection(quota());
        watches.push(connection.watch(watch, soon()).await.unwrap());
    }
    let with = quickest().await;
    assert!(with < without * 10, "without {without:?}, with {with:?}");
}

/// The owner checks for a replay before it checks the deadline, for plain frames too.
#[tokio::test(start_paused = true)]
async fn a_late_plain_frame_of_replays_is_answered_again() {
    use crate::machine::Fingerprint;
    let (handle, _owner) = start();
    let frame = |deadline| {
        let request = RequestId {
            id: "r".into(),
            fingerprint: Fingerprint(1),
        };
        handle.apply_each(
            plain_with_id(vec![Operation::Write(write("a", 1))], Some(request)),
            Lists::new(),
            quota(),
            deadline,
        )
    };
    frame(soon()).unwrap().answer().await.unwrap();
    let late = frame(Instant::now()).unwrap();
    // Let the owner start before the caller finds its deadline passed.
    tokio::task::yield_now().await;
    let late = late.answer().await;
    assert!(late.is_ok(), "{late:?}");
}

/// A sleeping watch whose key does not change is not lost, even if other keys change more than the history holds.
#[tokio::test(start_paused = true)]
async fn a_sleeping_watch_survives_changes_of_other_keys() {
    let (handle, _owner) = start_default();
    let frame = || {
        let large = Value::Bytes(vec![0; 1 << 20].into());
        let operations = (0..4)
            .map(|i| Operation::Write(write_value(&format!("blob{i}"), large.clone())))
            .collect();
        handle
            .apply_each(plain(operations), Lists::new(), quota(), soon())
            .unwrap()
    };
    frame().answer().await.unwrap();
    let new = NewWatch {
        target: WatchTarget::Key("lock".into()),
        from: WatchFrom::Now,
        shows: WatchShows::After,
    };
    let watching = handle.watch(new, soon()).await.unwrap();
    let next = handle.next_batch(&watching, quota(), soon()).await.unwrap();
    let NextBatch::Batch(batch, _) = next else {
        panic!("the quota is not used up")
    };
    assert_eq!(batch.has_more, HasMore::No);
    // Three frames that wait at once have 12 MiB, below every limit.
    let frames = [frame(), frame(), frame()];
    for pending in frames {
        pending.answer().await.unwrap();
    }
    handle.write(write("lock", 1), None, soon()).await.unwrap();
    watching.changed().await;
    let next = handle.next_batch(&watching, quota(), soon()).await;
    assert!(next.is_ok(), "{next:?}");
}

/// Many watches that wake at once leave room in the mailbox for calls.
#[tokio::test(start_paused = true)]
async fn woken_watches_leave_room_for_calls() {
    let (handle, _owner) = start(); // The mailbox holds 4 messages.
    let mut tasks = Vec::new();
    for _ in 0..50 {
        let handle = handle.clone();
        let new = NewWatch {
            target: WatchTarget::Prefix(String::new()),
            from: WatchFrom::Now,
            shows: WatchShows::After,
        };
        let watching = handle.watch(new, soon()).await.unwrap();
        tasks.push(tokio::spawn(async move {
            loop {
                let next = handle.next_batch(&watching, quota(), soon()).await.unwrap();
                let NextBatch::Batch(batch, _) = next else {
                    panic!()
                };
                if batch.has_more == HasMore::No {
                    watching.changed().await;
                }
            }
        }));
    }
    tokio::time::sleep(SECOND).await;
    let mut refused = 0;
    for i in 0..20 {
        refused += u32::from(handle.write(write("a", i), None, soon()).await.is_err());
        tokio::task::yield_now().await;
    }
    assert_eq!(refused, 0);
}

/// A sleeping watch is not lost when many large values expire together.
#[tokio::test(start_paused = true)]
async fn a_sleeping_watch_survives_expiry() {
    let (handle, _owner) = start_default();
    for i in 0..20 {
        let mut write = mortal(&format!("cache{i}"), 10 * SECOND);
        write.value = Some(Value::Bytes(vec![0; 1 << 20].into()));
        handle.write(write, None, soon()).await.unwrap();
    }
    let new = NewWatch {
        target: WatchTarget::Key("lock".into()),
        from: WatchFrom::Now,
        shows: WatchShows::After,
    };
    let watching = handle.watch(new, soon()).await.unwrap();
    handle.next_batch(&watching, quota(), soon()).await.unwrap();
    tokio::time::sleep(20 * SECOND).await;
    handle.write(write("lock", 1), None, soon()).await.unwrap();
    let next = handle.next_batch(&watching, quota(), soon()).await;
    assert!(next.is_ok(), "{next:?}");
}

/// Other calls have their turn between the slices of keys that end with a session.
#[tokio::test(start_paused = true)]
async fn other_calls_have_their_turn_between_slices() {
    let (handle, _owner) = start_default();
    let keys = (0..8 * SESSION_SLICE).map(|i| format!("k{i:05}"));
    let life = session_with(&handle, keys).await;
    let closed = tokio::spawn({
        let handle = handle.clone();
        async move { handle.close_session(life, None, soon()).await }
    });
    // When this task has its turn, the session is closed and some slices of its keys are gone, but not all.
    tokio::task::yield_now().await;
    let left = usage(&handle).await.key_count;
    assert!(left > 0, "{left}");
    closed.await.unwrap().unwrap();
    assert_eq!(usage(&handle).await.key_count, 0);
}
