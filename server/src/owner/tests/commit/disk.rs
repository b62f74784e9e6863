//! The owner with a disk that is slow, full or gone; snapshots; and the owner's end.

use super::*;
use crate::config::GROUP_WAIT_MAX;

#[tokio::test(start_paused = true)]
async fn an_answer_not_on_disk_at_the_deadline_is_an_unknown_outcome() {
    let (handle, _owner, mut journal) = with_key_on_disk().await;
    let written = call!(handle, write(write("k", 2), None, soon()));
    let refused = Write {
        options: Some(Box::new(WriteOptions {
            expect: Some(Condition::Exists(false)),
            ..WriteOptions::default()
        })),
        ..write("k", 0)
    };
    let refused = call!(handle, write(refused, None, soon()));
    let operations = vec![Operation::Write(write("k", 3))];
    let framed = handle.apply_all(operations, None, quota(), soon()).unwrap();
    let mut timer = Timer::default();
    let mut framed = framed;
    let framed = Call::of(std::future::poll_fn(move |cx| {
        framed
            .poll_answer(cx, &mut timer)
            .map(|answer| answer.err())
    }))
    .await;
    advance(SECOND / 2).await;
    assert!(written.waits() && framed.waits());
    advance(SECOND).await;
    rest().await;
    let unknown = |revision| CallError::OutcomeUnknown {
        revision,
        why: Unknown::Deadline,
    };
    assert_eq!(written.answered(), Err(unknown(Some(2))));
    assert_eq!(refused.answered(), Err(CallError::NotConfirmed));
    assert_eq!(framed.answered(), Some(unknown(Some(3))));
    journal.commit().await;
    // What came meanwhile waits for more.
    advance(GROUP_WAIT_MAX).await;
    journal.commit().await;
    let outcome = handle.read(read("k"), soon()).await.unwrap();
    assert_eq!(value(&outcome), Some(3), "the write took effect");
}

#[tokio::test(start_paused = true)]
async fn held_calls_get_an_error_when_the_journal_fails() {
    let (handle, owner, mut journal) = with_key_on_disk().await;
    let written = call!(handle, write(write("k", 2), None, soon()));
    let second = call!(handle, write(write("k", 3), None, soon()));
    let usage = call!(handle, usage(soon()));
    journal.batch().await;
    journal.send(Event::Failed("no disk".into())).await;
    for (call, revision) in [(written, 2), (second, 3)] {
        let unknown = CallError::OutcomeUnknown {
            revision: Some(revision),
            why: Unknown::OwnerEnded,
        };
        assert_eq!(call.answered(), Err(unknown));
    }
    // What changed nothing has no outcome that could be open.
    assert_eq!(usage.answered(), Err(CallError::OwnerLost));
    let ended = owner.now_or_never().expect("the owner has ended").unwrap();
    assert_eq!(ended.err(), Some(JournalLost("no disk".into())));
    assert_eq!(
        handle.read(read("k"), soon()).await.err(),
        Some(CallError::OwnerLost)
    );
}

#[tokio::test(start_paused = true)]
async fn the_owner_ends_when_the_journal_is_gone() {
    let (_handle, owner, journal) = with_key_on_disk().await;
    drop(journal);
    rest().await;
    assert!(
        owner
            .now_or_never()
            .expect("the owner has ended")
            .unwrap()
            .is_err()
    );
}

#[tokio::test(start_paused = true)]
async fn changes_not_yet_on_disk_are_limited() {
    let (handle, _owner, mut journal) = with_key_on_disk().await;
    let mut waiting = Vec::new();
    for n in 0..UNSYNCED_OPERATIONS_MAX / 8 {
        let operations = (0..8)
            .map(|m| Operation::Write(write(&format!("{n}-{m}"), 1)))
            .collect();
        let pending = handle.apply_each(plain(operations), Lists::new(), quota(), soon());
        waiting.push(pending.unwrap());
    }
    rest().await;
    let refused = call!(handle, write(write("k", 2), None, soon()));
    assert_eq!(
        refused.answered(),
        Err(overloaded(
            UNSYNCED_OPERATIONS_MAX,
            "changes not yet on disk"
        ))
    );
    // Reads are still answered.
    let shown = call!(handle, read(read("k"), soon())).answered().unwrap();
    assert_eq!(value(&shown), Some(1));
    journal.commit().await;
    journal.commit().await;
    for pending in waiting {
        pending.answer().await.unwrap();
    }
    let written = call!(handle, write(write("k", 2), None, soon()));
    journal.commit().await;
    written.answered().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_connection_leaves_room_for_the_changes_of_others() {
    let (handle, _owner, mut journal) = with_key_on_disk().await;
    let greedy = quota();
    let frame = |name: &str| {
        let operations = (0..8).map(|m| Operation::Write(write(&format!("{name}-{m}"), 1)));
        plain(operations.collect())
    };
    let mut waiting = Vec::new();
    for n in 0..=UNSYNCED_OPERATIONS_MAX / 16 {
        let pending =
            handle.apply_each(frame(&n.to_string()), Lists::new(), greedy.clone(), soon());
        waiting.push(pending.unwrap());
        rest().await;
    }
    let refused = handle.apply_each(frame("more"), Lists::new(), greedy.clone(), soon());
    assert_eq!(
        refused.unwrap().answer().await.err(),
        Some(overloaded(
            UNSYNCED_OPERATIONS_MAX / 2 - 8,
            "changes of one connection not yet on disk"
        ))
    );
    let all = |name: &str| frame(name).into_operations();
    let refused = handle.apply_all(all("more"), None, greedy.clone(), soon());
    assert!(refused.unwrap().answer().await.is_err());
    // Others, and what is no change, find room.
    let others = handle.apply_each(frame("others"), Lists::new(), quota(), soon());
    let other = handle.apply_all(all("other"), None, quota(), soon());
    rest().await;
    journal.commit().await;
    journal.commit().await;
    for pending in waiting {
        pending.answer().await.unwrap();
    }
    others.unwrap().answer().await.unwrap();
    other.unwrap().answer().await.unwrap();
    // What is on disk does not count any more.
    let again = handle.apply_each(frame("more"), Lists::new(), greedy, soon());
    rest().await;
    journal.commit().await;
    again.unwrap().answer().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn little_room_on_the_disk_limits_what_waits_for_it() {
    let (handle, _owner, mut journal) = with_key_on_disk().await;
    let long = |key| Write {
        value: Some(Value::Bytes(vec![0; 100_000].into())),
        ..write(key, 0)
    };
    journal
        .send(Event::Space(Space::Enough { room: 300_000 }))
        .await;
    let a = call!(handle, write(long("a"), None, soon()));
    let b = call!(handle, write(long("b"), None, soon()));
    let refused = call!(handle, write(write("k", 2), None, soon()));
    assert_eq!(
        refused.answered(),
        Err(overloaded(150_000, "bytes of changes not yet on disk"))
    );
    journal.commit().await;
    journal.commit().await;
    a.answered().unwrap();
    b.answered().unwrap();
    let written = call!(handle, write(write("k", 2), None, soon()));
    journal.commit().await;
    written.answered().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_refuses_all_changes() {
    let (handle, _owner, mut journal) = with_key_on_disk().await;
    let low = SpaceLow {
        of: SpaceOf::Disk,
        free: 1,
        least: 2,
        files: 3,
    };
    let full = Space::Full(SpaceLow {
        of: SpaceOf::Disk,
        free: 1,
        least: 2,
        files: 3,
    });
    let delete = || Delete {
        key: "missing".into(),
        expect: None,
    };
    journal.send(Event::Space(full)).await;
    let refused = call!(handle, write(write("k", 2), None, soon()));
    assert_eq!(refused.answered(), Err(CallError::DiskFull(low)));
    let refused = call!(handle, delete(delete(), None, soon()));
    assert_eq!(refused.answered(), Err(CallError::DiskFull(low)));
    assert!(call!(handle, read(read("k"), soon())).answered().is_ok());

    journal
        .send(Event::Space(Space::Low(SpaceLow {
            of: SpaceOf::Disk,
            free: 1,
            least: 2,
            files: 3,
        })))
        .await;
    let refused = call!(handle, write(write("k", 2), None, soon())).answered();
    let Err(CallError::Rejected(rejection)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(rejection.cause, Cause::DiskFull(low));
    assert!(
        call!(handle, delete(delete(), None, soon()))
            .answered()
            .is_ok()
    );

    journal
        .send(Event::Space(Space::Enough { room: u64::MAX }))
        .await;
    let written = call!(handle, write(write("k", 2), None, soon()));
    journal.commit().await;
    written.answered().unwrap();
}

#[tokio::test(start_paused = true)]
async fn reads_do_not_wait_for_a_full_disk_and_replays_do() {
    let (handle, _owner, mut journal) = with_key_on_disk().await;
    let request_id = || {
        Some(Box::new(RequestId {
            id: "r".into(),
            fingerprint: crate::machine::Fingerprint(1),
        }))
    };
    let under_way = call!(handle, write(write("k", 2), request_id(), soon()));
    journal.batch().await;
    journal
        .send(Event::Space(Space::Full(SpaceLow {
            of: SpaceOf::Disk,
            free: 1,
            least: 2,
            files: 3,
        })))
        .await;
    let full = CallError::DiskFull(SpaceLow {
        of: SpaceOf::Disk,
        free: 1,
        least: 2,
        files: 3,
    });
    // A call that only reads is refused, instead of waiting for a commit that does not come.
    let usage = call!(handle, usage(soon()));
    assert_eq!(usage.answered().err(), Some(full));
    // A replay must wait: an error would mean that nothing was applied.
    let again = call!(handle, write(write("k", 2), request_id(), soon()));
    assert!(again.waits());
    journal
        .send(Event::Space(Space::Enough { room: u64::MAX }))
        .await;
    journal.committed(2).await;
    assert!(!under_way.answered().unwrap().replayed);
    assert!(again.answered().unwrap().replayed);
}

#[tokio::test(start_paused = true)]
async fn abandoned_answers_are_not_held() {
    let (handle, _owner, mut journal) = with_key_on_disk().await;
    let _under_way = call!(handle, write(write("k", 2), None, soon()));
    let payload = std::sync::Arc::<str>::from("x".repeat(100));
    for _ in 0..3 {
        for _ in 0..2_000 {
            // The refusal is held, and has the expected value in it.
            let expecting = Write {
                options: Some(Box::new(WriteOptions {
                    expect: Some(Condition::Value(Value::Text(payload.clone()))),
                    ..WriteOptions::default()
                })),
                ..write("k", 0)
            };
            let handle = handle.clone();
            tokio::spawn(async move { handle.write(expecting, None, soon()).await });
        }
        rest().await;
        advance(2 * SECOND).await;
        rest().await;
    }
    let held = std::sync::Arc::strong_count(&payload);
    assert!(held < 5_000, "{held} of 6,000");
    journal.commit().await;
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_shows_the_state_at_its_start() {
    let (handle, _owner, mut journal) = with_key_on_disk().await;
    let written = call!(handle, write(write("l", 1), None, soon()));
    let batch = journal.batch().await;
    journal
        .send(Event::Committed {
            seq: batch.seq,
            log_bytes: 1_000,
        })
        .await;
    written.answered().unwrap();
    let Command::Snapshot {
        head,
        seq,
        mut slices,
        ..
    } = journal.command().await
    else {
        panic!("a snapshot is due");
    };
    assert_eq!((head.revision, seq), (2, 2));
    let _later = call!(handle, write(write("l", 2), None, soon()));
    let mut keys = Vec::new();
    loop {
        journal.send(Event::NextSlice).await;
        match slices.try_recv().unwrap() {
            CopySlice::Entries(entries) => keys.extend(entries),
            CopySlice::Requests(_) => {}
            CopySlice::End => break,
        }
    }
    let keys: Vec<_> = keys
        .iter()
        .map(|(key, entry)| (key.as_str(), entry.revision))
        .collect();
    assert_eq!(keys, [("k", 1), ("l", 2)]);
    journal.send(Event::SnapshotEnded { made: true }).await;
    journal.commit().await;
    assert!(journal.is_idle(), "no second snapshot is due");
}

#[tokio::test(start_paused = true)]
async fn the_owner_ends_when_everything_is_on_disk() {
    let (handle, owner, mut journal) = with_key_on_disk().await;
    let first = call!(handle, write(write("k", 2), None, soon()));
    let second = call!(handle, write(write("k", 3), None, soon()));
    drop(handle);
    let seq = journal.batch().await.seq;
    journal.committed(seq).await;
    first.answered().unwrap();
    assert!(second.waits() && !owner.is_finished());
    journal.commit().await;
    second.answered().unwrap();
    let Command::Close { revision, .. } = journal.command().await else {
        panic!("expected a close");
    };
    assert_eq!(revision, 3);
    assert!(!owner.is_finished());
    journal.send(Event::Closed).await;
    let machine = owner.now_or_never().unwrap().unwrap().unwrap();
    assert_eq!(machine.usage().revision, 3);
}
