//! What one connection asks for, however much it is, leaves room and time to the others.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::config::{BACKUPS_MAX, COST_WAITING_CONNECTION_MAX, COST_WAITING_MAX};
use crate::machine::{Delete, DeleteMachine, DeletePrefix, KeysLeft, List, ListShows};

type Call = fn(OwnerHandle, Instant) -> Pin<Box<dyn Future<Output = ()> + Send>>;

fn list_of(page_size: usize) -> List {
    List {
        prefix: String::new(),
        after: None,
        page_size,
        page_bytes: 1 << 20,
        shows: ListShows::Entries,
    }
}

/// Makes `calls` calls on each of several connections, all at once. Returns how many of them have been answered.
async fn greedy(
    handle: &OwnerHandle,
    (connections, calls): (usize, usize),
    call: Call,
) -> Arc<AtomicUsize> {
    let answered = Arc::<AtomicUsize>::default();
    for _ in 0..connections {
        let connection = handle.for_connection(ConnectionQuota::new(64 << 20));
        for _ in 0..calls {
            let (connection, answered) = (connection.clone(), Arc::clone(&answered));
            tokio::spawn(async move {
                call(connection, Instant::now() + 3_600 * SECOND).await;
                answered.fetch_add(1, Ordering::Relaxed);
            });
        }
    }
    answered
}

/// Makes a call, in a task of its own as all calls are. Returns how many others had been answered when it was.
async fn answered_before(
    answered: &Arc<AtomicUsize>,
    call: impl Future<Output = ()> + Send + 'static,
) -> usize {
    let answered = Arc::clone(answered);
    let call = tokio::spawn(async move {
        call.await;
        answered.load(Ordering::Relaxed)
    });
    call.await.unwrap()
}

/// A small call finds a bounded amount of work ahead of it, whatever calls others have made at once.
#[tokio::test(start_paused = true)]
async fn a_small_call_does_not_wait_for_all_costly_ones() {
    let calls: [(&str, usize, Call); 8] = [
        ("List", 1000, |owner, deadline| {
            Box::pin(async move { drop(owner.list(list_of(1000), deadline).await.unwrap()) })
        }),
        ("Batch", 100, |owner, deadline| {
            let operations = (0..100).map(|_| Operation::Read(read("a"))).collect();
            Box::pin(async move { drop(owner.batch(operations, None, deadline).await.unwrap()) })
        }),
        ("DeletePrefix", 1000, |owner, deadline| {
            let delete = DeletePrefix {
                prefix: "none".into(),
                after: None,
                limit: 1000,
            };
            Box::pin(async move {
                drop(owner.delete_prefix(delete, None, deadline).await.unwrap());
            })
        }),
        ("ListSessions", 1000, |owner, deadline| {
            Box::pin(async move {
                drop(owner.list_sessions(None, 1000, deadline).await.unwrap());
            })
        }),
        ("ListMachines", 1000, |owner, deadline| {
            Box::pin(async move {
                drop(owner.list_machines(None, 1000, deadline).await.unwrap());
            })
        }),
        ("GetMachine", 1000, |owner, deadline| {
            Box::pin(async move {
                assert!(owner.get_machine("none".into(), deadline).await.is_err());
            })
        }),
        ("DeleteMachine", 1000, |owner, deadline| {
            let delete = DeleteMachine {
                revision: None,
                name: "none".into(),
                keys: KeysLeft::InAnyState,
            };
            Box::pin(async move { assert!(owner.delete_machine(delete, deadline).await.is_err()) })
        }),
        ("Write", 128, |owner, deadline| {
            let write = write_value("large", Value::Bytes(vec![0; 128 << 10].into()));
            Box::pin(async move { drop(owner.write(write, None, deadline).await.unwrap()) })
        }),
    ];
    for (name, cost, call) in calls {
        let (handle, _owner) = start_default();
        let answered = greedy(&handle, (8, 100), call).await;
        let modest = handle.for_connection(quota());
        // Begun last, so its message follows those of all others that need not wait.
        let small = async move { drop(modest.read(read("a"), soon()).await.unwrap()) };
        let before = answered_before(&answered, small).await;
        let most = COST_WAITING_MAX / cost;
        assert!(before <= most, "{name}: {before} before, {most} allowed");
        // All of them are answered in the end.
        while answered.load(Ordering::Relaxed) < 8 * 100 {
            tokio::task::yield_now().await;
        }
    }
}

/// A connection with one costly call does not wait for all costly calls of others, but for a turn of each.
#[tokio::test(start_paused = true)]
async fn connections_with_costly_calls_take_turns() {
    const CONNECTIONS: usize = 20;
    let (handle, _owner) = start_default();
    let call: Call = |owner, deadline| {
        Box::pin(async move { drop(owner.list(list_of(1000), deadline).await.unwrap()) })
    };
    let answered = greedy(&handle, (CONNECTIONS, 100), call).await;
    let modest = handle.for_connection(quota());
    let list = async move { drop(modest.list(list_of(1000), soon()).await.unwrap()) };
    let before = answered_before(&answered, list).await;
    let most = CONNECTIONS * COST_WAITING_CONNECTION_MAX / 1000 + COST_WAITING_MAX / 1000;
    assert!(before <= most, "{before} before, {most} allowed");
}

/// Watches that catch up, thousands of them, do not make a small call wait either.
#[tokio::test(start_paused = true)]
async fn a_small_call_does_not_wait_for_all_watches_that_are_behind() {
    let (handle, _owner) = start_default();
    let answered = greedy(&handle, (8, 100), |owner, deadline| {
        Box::pin(async move {
            let new = NewWatch {
                target: WatchTarget::Prefix(String::new()),
                from: WatchFrom::Initial,
                shows: WatchShows::After,
            };
            let watching = owner.watch(new, deadline).await.unwrap();
            let quota = ConnectionQuota::new(1 << 20);
            let next = owner.next_batch(&watching, quota, deadline).await.unwrap();
            assert!(matches!(next, NextBatch::Batch(..)));
        })
    })
    .await;
    // When the watches are open, all of them ask for their first batch at once.
    while usage_watches(&handle).await < 8 * 100 {}
    let small = async move { drop(handle.read(read("a"), soon()).await.unwrap()) };
    let before = answered_before(&answered, small).await;
    assert!(before < 100, "{before} before");
}

async fn usage_watches(handle: &OwnerHandle) -> usize {
    handle.usage(soon()).await.unwrap().watch_count
}

/// Large values of one connection wait for each other. They used to be refused when they filled the mailbox, and so was
/// everybody else's.
#[tokio::test(start_paused = true)]
async fn large_values_of_one_connection_leave_bytes_in_the_mailbox_to_others() {
    let (handle, _owner) = start_default();
    let large = |key: &str| write_value(key, Value::Bytes(vec![0; 1 << 20].into()));
    let one = handle.for_connection(ConnectionQuota::new(64 << 20));
    let mut writes = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let (one, write) = (one.clone(), large("a"));
        writes.spawn(async move { one.write(write, None, soon()).await });
    }
    let (other, write) = (
        handle.for_connection(ConnectionQuota::new(2 << 20)),
        large("b"),
    );
    writes.spawn(async move { other.write(write, None, soon()).await });
    for written in writes.join_all().await {
        written.unwrap();
    }
}

/// A call that waits for its turn is not begun after its deadline, and leaves its place to others.
#[tokio::test(start_paused = true)]
async fn a_costly_call_that_gets_no_turn_ends_at_its_deadline() {
    let (handle, _owner) = start_default();
    let gate = crate::owner::gate::Gate::default();
    let (first, second) = (quota(), quota());
    let deadline = soon();
    let mut places = Vec::new();
    for _ in 0..2 {
        let cost = (COST_WAITING_CONNECTION_MAX / 2, 0);
        places.push(gate.enter(&first, cost, deadline).await.unwrap());
    }
    let refused = gate.enter(&first, (100, 0), deadline).await.err();
    assert_eq!(refused, Some(CallError::NotStarted));
    assert_eq!(Instant::now(), deadline);
    // Its bytes are charged while it waits, and given back.
    assert_eq!(first.held_bytes(), 0);
    assert!(gate.enter(&first, (100, 1501), soon()).await.is_err());
    gate.enter(&second, (100, 0), soon()).await.unwrap();
    places.pop();
    gate.enter(&first, (100, 0), soon()).await.unwrap();
    drop(handle);
}

#[tokio::test(start_paused = true)]
async fn one_connection_leaves_watches_to_others() {
    // Of 100 watches.
    let (handle, _owner) = start();
    let new = || NewWatch {
        target: WatchTarget::Key(Key::from("a")),
        from: WatchFrom::Now,
        shows: WatchShows::After,
    };
    let too_many = |limit| {
        Some(CallError::TooManyOpen {
            what: "watches of one connection",
            limit,
        })
    };
    let greedy = handle.for_connection(quota());
    let mut open = Vec::new();
    for _ in 0..50 {
        open.push(greedy.watch(new(), soon()).await.unwrap());
    }
    assert_eq!(greedy.watch(new(), soon()).await.err(), too_many(50));
    // However many are greedy, there is one left for another.
    for greedy in (0..40).map(|_| handle.for_connection(quota())) {
        while let Ok(watch) = greedy.watch(new(), soon()).await {
            open.push(watch);
        }
        if open.len() == 99 {
            break;
        }
    }
    let modest = handle.for_connection(quota());
    let last = modest.watch(new(), soon()).await.unwrap();
    drop((open, last));
    assert!(greedy.watch(new(), soon()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn one_connection_leaves_a_backup_to_others() {
    let (handle, _owner) = start();
    let (one, other) = (
        handle.for_connection(quota()),
        handle.for_connection(quota()),
    );
    let backup = one.begin_backup(soon()).await.unwrap();
    let refused = one.begin_backup(soon()).await.err();
    let too_many = CallError::TooManyOpen {
        what: "backups of one connection",
        limit: BACKUPS_MAX - 1,
    };
    assert_eq!(refused, Some(too_many));
    other.begin_backup(soon()).await.unwrap();
    drop(backup);
    one.begin_backup(soon()).await.unwrap();
}

/// Small calls do not wait, whatever the room for costly ones is.
#[tokio::test(start_paused = true)]
async fn small_calls_need_no_turn() {
    let (handle, _owner) = start();
    let delete = Delete {
        key: Key::from("a"),
        expect: None,
    };
    let all = async {
        tokio::join!(
            handle.read(read("a"), soon()),
            handle.write(write("a", 1), None, soon()),
            handle.list(list_of(16), soon()),
        )
    };
    let (read, written, listed) = all.await;
    read.unwrap();
    written.unwrap();
    listed.unwrap();
    handle.delete(delete, None, soon()).await.unwrap();
}
