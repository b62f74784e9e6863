//! What is rare, and was wrong once.

use super::*;

/// The closer of a session is answered also when a client takes away its last key.
#[tokio::test(start_paused = true)]
async fn close_is_answered_when_somebody_else_takes_the_last_key() {
    use crate::machine::Delete;
    let (handle, _owner) = start_default();
    let keys = (0..=SESSION_SLICE).map(|i| format!("k{i:05}"));
    let life = session_with(&handle, keys).await;
    // Both are in the mailbox before the owner runs: one batch.
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
        .expect("the closer is answered within an hour, its deadline being a second");
    closed.unwrap();
    deleted.unwrap();
}

/// Watches that are awake, as those of slow clients are, make no change dearer.
#[tokio::test(start_paused = true)]
async fn slow_watches_cost_the_owner_nothing() {
    let (handle, _owner) = start_default();
    let frame = async || {
        let operations = (0..1000).map(|i| Operation::Write(write("a", i))).collect();
        let pending = handle
            .apply_each(alone(operations), quota(), soon())
            .unwrap();
        let start = std::time::Instant::now();
        pending.answer().await.unwrap();
        // The wake comes after the answer; ask once more to wait for it.
        usage(&handle).await;
        start.elapsed()
    };
    // The quickest of some: others may take the core at any time.
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
        // They never ask for anything: never asleep.
        let watch = NewWatch {
            target: WatchTarget::Prefix(String::new()),
            from: WatchFrom::Now,
            shows: WatchShows::After,
        };
        watches.push(handle.watch(watch, soon()).await.unwrap());
    }
    let with = quickest().await;
    assert!(with < without * 10, "without {without:?}, with {with:?}");
}

/// The order of checks is replay, then deadline; also for the operations of a plain frame.
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
            vec![EachFrame {
                operations: vec![Operation::Write(write("a", 1))],
                request_ids: vec![(0, request)],
            }],
            quota(),
            deadline,
        )
    };
    frame(soon()).unwrap().answer().await.unwrap();
    let late = frame(Instant::now()).unwrap();
    // Let the owner take it before the caller gives up.
    tokio::task::yield_now().await;
    let late = late.answer().await;
    assert!(late.is_ok(), "{late:?}");
}

/// A watch that is up to date, and whose key does not change, is not lost when others write much in one go.
#[tokio::test(start_paused = true)]
async fn a_sleeping_watch_survives_what_does_not_concern_it() {
    let (handle, _owner) = start_default();
    let frame = || {
        let large = Value::Bytes(vec![0; 1 << 20].into());
        let operations = (0..4)
            .map(|i| Operation::Write(write_value(&format!("blob{i}"), large.clone())))
            .collect();
        handle
            .apply_each(alone(operations), quota(), soon())
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
        panic!("there is room")
    };
    assert_eq!(batch.has_more, HasMore::No);
    // Three frames that wait at once: 12 MiB, below every limit.
    let frames = [frame(), frame(), frame()];
    for pending in frames {
        pending.answer().await.unwrap();
    }
    handle.write(write("lock", 1), None, soon()).await.unwrap();
    watching.changed().await;
    let next = handle.next_batch(&watching, quota(), soon()).await;
    assert!(next.is_ok(), "{next:?}");
}

/// Many watches that wake at once leave room for calls.
#[tokio::test(start_paused = true)]
async fn woken_watches_leave_room_for_calls() {
    let (handle, _owner) = start(); // a mailbox of 4
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

/// The same, when twenty large values expire together.
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

/// A session that ends takes one slice a turn from other calls, however often watches are woken in between.
#[tokio::test(start_paused = true)]
async fn other_calls_have_their_turn_between_slices() {
    let (handle, _owner) = start_default();
    let keys = (0..8 * SESSION_SLICE).map(|i| format!("k{i:05}"));
    let life = session_with(&handle, keys).await;
    let closed = tokio::spawn({
        let handle = handle.clone();
        async move { handle.close_session(life, None, soon()).await }
    });
    // Close and its first slices are done when this one has its turn, but not all.
    tokio::task::yield_now().await;
    let left = usage(&handle).await.key_count;
    assert!(left > 0, "{left}");
    closed.await.unwrap().unwrap();
    assert_eq!(usage(&handle).await.key_count, 0);
}
