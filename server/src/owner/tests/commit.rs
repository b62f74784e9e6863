//! The owner with a journal whose commits the test controls: what may be shown before it is on disk, and what must
//! wait.

use std::future::Future;
use std::sync::mpsc as std_mpsc;

use super::*;
use crate::config::UNSYNCED_OPERATIONS_MAX;
use crate::journal::{AnswerWhen, Command, Event, Journal, LogBatch, QUEUE_CAPACITY, Space};
use crate::machine::{
    Add, Cause, Condition, CopySlice, Delete, List, ListShows, Rejection, SpaceLow, SpaceOf,
};

/// The journal's end of the two queues, driven by the test.
struct FakeJournal {
    commands: std_mpsc::Receiver<Command>,
    events: tokio::sync::mpsc::Sender<Event>,
}

impl FakeJournal {
    /// Returns the next command, which must come at once.
    async fn command(&mut self) -> Command {
        for _ in 0..100 {
            if let Ok(command) = self.commands.try_recv() {
                return command;
            }
            tokio::task::yield_now().await;
        }
        panic!("the owner sends no command");
    }

    async fn batch(&mut self) -> LogBatch {
        match self.command().await {
            Command::Commit(batch) => batch,
            other => panic!("expected a commit, got {other:?}"),
        }
    }

    async fn send(&mut self, event: Event) {
        self.events.send(event).await.unwrap();
        rest().await;
    }

    async fn committed(&mut self, seq: u64) {
        self.send(Event::Committed { seq, log_bytes: 0 }).await;
    }

    /// Commits the next batch.
    async fn commit(&mut self) -> LogBatch {
        let batch = self.batch().await;
        self.committed(batch.seq).await;
        batch
    }

    /// Takes the next command, which must ask for a confirmation.
    async fn asked(&mut self) {
        match self.command().await {
            Command::Confirm => {}
            other => panic!("expected a question, got {other:?}"),
        }
    }

    /// Confirms what the next command asks for.
    async fn confirm(&mut self) {
        self.asked().await;
        self.send(Event::Confirmed).await;
    }

    fn is_idle(&self) -> bool {
        matches!(self.commands.try_recv(), Err(std_mpsc::TryRecvError::Empty))
    }
}

/// Waits until all other tasks are idle.
async fn rest() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

type Ended = JoinHandle<Result<StateMachine, JournalLost>>;

fn start_with_journal(answers: AnswerWhen) -> (OwnerHandle, Ended, FakeJournal) {
    let (to, commands) = std_mpsc::sync_channel(QUEUE_CAPACITY);
    let (events, from) = tokio::sync::mpsc::channel(QUEUE_CAPACITY);
    let journal = Journal {
        commands: Box::new(to),
        events: from,
        seq: 0,
        answers,
        space: Space::Enough { room: u64::MAX },
        snapshot_log_bytes: 1_000,
    };
    let limits = OwnerLimits {
        mailbox: MailboxLimits {
            messages: 20_000,
            bytes: 1 << 30,
        },
        answer_bytes: ANSWER_BYTES_MAX,
        watches: 100,
    };
    let clock = Clock::set(Time::MIN);
    let (handle, owner) = spawn_with(machine(), Some(journal), clock, limits, None);
    (handle, owner, FakeJournal { commands, events })
}

/// A call in a task of its own.
struct Call<T>(JoinHandle<T>);

impl<T: Send + 'static> Call<T> {
    async fn of(call: impl Future<Output = T> + Send + 'static) -> Self {
        let call = tokio::spawn(call);
        rest().await;
        Self(call)
    }

    fn waits(&self) -> bool {
        !self.0.is_finished()
    }

    #[track_caller]
    fn answered(self) -> T {
        self.0
            .now_or_never()
            .expect("the call is answered")
            .expect("the call does not panic")
    }
}

macro_rules! call {
    ($handle:expr, $($call:tt)*) => {{
        let handle = $handle.clone();
        Call::of(async move { handle.$($call)*.await }).await
    }};
}

// These use the macro, so they must come after it.
mod disk;
mod group;
mod hand_off;
mod shown;

fn value(outcome: &ReadOutcome) -> Option<i64> {
    outcome.entry.as_ref().map(|entry| match entry.value {
        Value::Int(int) => int,
        _ => panic!("not an int"),
    })
}

/// Starts an owner in which key "k" is 1, on disk at revision 1.
async fn with_key_on_disk() -> (OwnerHandle, Ended, FakeJournal) {
    let (handle, owner, mut journal) = start_with_journal(AnswerWhen::Committed);
    let written = call!(handle, write(write("k", 1), None, soon()));
    journal.commit().await;
    written.answered().unwrap();
    (handle, owner, journal)
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_does_not_wait_for_the_disk() {
    let (handle, _owner, mut journal) = start_with_journal(AnswerWhen::Committed);
    let write = handle.write(write("a", 1), None, soon());
    let beat = async {
        journal.batch().await;
        handle.heartbeat().beat().await
    };
    let (written, is_alive) = tokio::join!(write, beat);
    assert!(is_alive);
    written.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_write_is_answered_when_it_is_on_disk() {
    let (handle, _owner, mut journal) = start_with_journal(AnswerWhen::Committed);
    let first = call!(handle, write(write("k", 1), None, soon()));
    let batch = journal.batch().await;
    assert_eq!((batch.seq, batch.revision, batch.effects.len()), (1, 1, 1));
    // Changes that come while a batch is being committed go into the next batch.
    let second = call!(handle, write(write("k", 2), None, soon()));
    let third = call!(handle, write(write("l", 3), None, soon()));
    assert!(first.waits() && second.waits() && third.waits() && journal.is_idle());
    journal.committed(1).await;
    assert_eq!(first.answered().unwrap().revision, 1);
    assert!(second.waits() && third.waits());
    let batch = journal.batch().await;
    assert_eq!((batch.seq, batch.revision, batch.effects.len()), (2, 3, 2));
    assert!(second.waits() && third.waits());
    journal.committed(2).await;
    assert_eq!(second.answered().unwrap().revision, 2);
    assert_eq!(third.answered().unwrap().revision, 3);
}

#[tokio::test(start_paused = true)]
async fn a_read_shows_what_is_on_disk_and_waits_for_nothing() {
    let (handle, _owner, mut journal) = with_key_on_disk().await;
    let shown = async |key: &'static str| {
        let outcome = call!(handle, read(read(key), soon())).answered().unwrap();
        (value(&outcome), outcome.revision)
    };
    let _second = call!(handle, write(write("k", 2), None, soon()));
    let _new = call!(handle, write(write("l", 1), None, soon()));
    assert_eq!(shown("k").await, (Some(1), 1));
    assert_eq!(shown("l").await, (None, 1));
    assert_eq!(shown("other").await, (None, 1));
    let delete = Delete {
        key: "k".into(),
        expect: None,
    };
    let _gone = call!(handle, delete(delete, None, soon()));
    journal.commit().await;
    // The first of the changes is on disk; the journal is committing the others.
    assert_eq!(shown("k").await, (Some(2), 2));
    assert_eq!(shown("l").await, (None, 2));
    journal.commit().await;
    assert_eq!(shown("k").await, (None, 4));
    assert_eq!(shown("l").await, (Some(1), 4));
    // The read's condition is checked against the entry that the read shows.
    let _third = call!(handle, write(write("k", 3), None, soon()));
    let exists = Read {
        key: "k".into(),
        expect: Some(Box::new(Condition::Exists(false))),
    };
    assert!(call!(handle, read(exists, soon())).answered().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_shows_an_uncommitted_change_waits() {
    let (handle, _owner, mut journal) = with_key_on_disk().await;
    let _second = call!(handle, write(write("k", 2), None, soon()));
    let expecting = || Write {
        options: Some(Box::new(WriteOptions {
            expect: Some(Condition::Revision(1)),
            ..WriteOptions::default()
        })),
        ..write("k", 3)
    };
    let refused = call!(handle, write(expecting(), None, soon()));
    // Adding 0 changes nothing, and shows the value.
    let nothing = Add {
        key: "k".into(),
        delta: 0,
        options: None,
    };
    let added = call!(handle, add(nothing, None, soon()));
    let missing = Delete {
        key: "missing".into(),
        expect: None,
    };
    let deleted = call!(handle, delete(missing, None, soon()));
    assert!(refused.waits() && added.waits() && deleted.waits());
    journal.commit().await;
    assert!(matches!(
        refused.answered(),
        Err(CallError::Rejected(rejection)) if matches!(*rejection, Rejection { cause: Cause::ExpectationFailed(_), .. })
    ));
    assert_eq!(added.answered().unwrap().value, 2);
    assert_eq!(deleted.answered().unwrap().revision, 2);
    // With everything committed, a refusal comes at once.
    let refused = call!(handle, write(expecting(), None, soon()));
    assert!(refused.answered().is_err());
    assert!(journal.is_idle());
}

#[tokio::test(start_paused = true)]
async fn a_replay_waits_for_the_first_request() {
    let (handle, _owner, mut journal) = start_with_journal(AnswerWhen::Committed);
    let request_id = || {
        Some(Box::new(RequestId {
            id: "r".into(),
            fingerprint: crate::machine::Fingerprint(1),
        }))
    };
    let first = call!(handle, write(write("k", 1), request_id(), soon()));
    let again = call!(handle, write(write("k", 1), request_id(), soon()));
    assert!(first.waits() && again.waits());
    // The change and the saved answer are in one batch.
    assert_eq!(journal.commit().await.effects.len(), 2);
    assert!(!first.answered().unwrap().replayed);
    assert!(again.answered().unwrap().replayed);
}

#[tokio::test(start_paused = true)]
async fn a_frame_waits_for_the_changes_that_it_shows() {
    let (handle, _owner, mut journal) = with_key_on_disk().await;
    let written = call!(handle, write(write("k", 2), None, soon()));
    let frame = async |operations: Vec<Operation>| {
        let handle = handle.clone();
        Call::of(async move {
            let pending = handle.apply_each(plain(operations), Lists::new(), quota(), soon());
            let (mut answers, _) = pending.unwrap().answer().await.unwrap();
            answers.pop().unwrap()
        })
        .await
    };
    let other = frame(vec![Operation::Read(read("other"))]).await.answered();
    assert_eq!(other.revision, 1);
    // This frame comes after a write of its own stream, so it must show it.
    let changing = frame(vec![
        Operation::Read(read("other")),
        Operation::Read(read("k")),
    ])
    .await;
    let mixed = frame(vec![
        Operation::Write(write("l", 1)),
        Operation::Read(read("other")),
    ])
    .await;
    assert!(changing.waits() && mixed.waits());
    journal.commit().await;
    written.answered().unwrap();
    let changing = changing.answered();
    assert_eq!(changing.revision, 2);
    assert!(mixed.waits());
    journal.commit().await;
    assert_eq!(mixed.answered().revision, 3);
    // Atomic frames behave the same.
    let _third = call!(handle, write(write("k", 3), None, soon()));
    let all = |key: &'static str| {
        let operations = vec![Operation::Read(read(key))];
        let pending = handle.apply_all(operations, None, quota(), soon()).unwrap();
        Call::of(async move { pending.answer().await.unwrap().0.revision })
    };
    assert_eq!(all("other").await.answered(), 3);
    assert!(all("k").await.waits());
    // An answer with a request id must be on disk itself, because a replay gets it again.
    let request_id = RequestId {
        id: "r".into(),
        fingerprint: crate::machine::Fingerprint(1),
    };
    let operations = vec![Operation::Read(read("other"))];
    let pending = handle.apply_all(operations, Some(Box::new(request_id)), quota(), soon());
    let pending = pending.unwrap();
    let remembered = Call::of(async move { pending.answer().await.unwrap().0 }).await;
    assert!(remembered.waits());
    journal.commit().await;
    journal.commit().await;
    assert_eq!(remembered.answered().revision, 4);
}

#[tokio::test(start_paused = true)]
async fn a_list_waits_for_uncommitted_changes_under_its_prefix() {
    let (handle, _owner, mut journal) = with_key_on_disk().await;
    let list = |prefix: &str| List {
        prefix: prefix.into(),
        after: None,
        page_size: 10,
        page_bytes: 1_000,
        shows: ListShows::Entries,
    };
    let _written = call!(handle, write(write("l", 2), None, soon()));
    let settled = call!(handle, list(list("k"), soon())).answered().unwrap();
    assert_eq!((settled.entries.len(), settled.revision), (1, 1));
    let all = call!(handle, list(list(""), soon()));
    assert!(all.waits());
    journal.commit().await;
    let all = all.answered().unwrap();
    assert_eq!((all.entries.len(), all.revision), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn watches_show_only_what_is_on_disk() {
    let (handle, _owner, mut journal) = with_key_on_disk().await;
    let watch = |from| NewWatch {
        target: WatchTarget::Prefix(String::new()),
        from,
        shows: WatchShows::After,
    };
    let next = async |watching: &OpenWatch| match handle.next_batch(watching, quota(), soon()).await
    {
        Ok(NextBatch::Batch(batch, _)) => match batch.updates {
            Updates::Changes(changes) => {
                let revisions: Vec<_> = changes.iter().map(|change| change.revision).collect();
                (revisions, batch.revision)
            }
            Updates::Initial(entries) => (
                entries.iter().map(|(_, e)| e.revision).collect(),
                batch.revision,
            ),
        },
        other => panic!("{other:?}"),
    };
    let early = call!(handle, watch(watch(WatchFrom::Now), soon()));
    let early = early.answered().unwrap();
    assert_eq!(next(&early).await, (vec![], 1));
    let mut woken = Box::pin(early.changed());
    assert!(woken.as_mut().now_or_never().is_none());

    let _written = call!(handle, write(write("k", 2), None, soon()));
    let late = call!(handle, watch(watch(WatchFrom::Now), soon()));
    let initial = call!(handle, watch(watch(WatchFrom::Initial), soon()));
    let after = call!(handle, watch(watch(WatchFrom::After(0)), soon()));
    // These watches would start at a revision that nobody may know of yet.
    assert!(late.waits() && initial.waits() && after.waits());
    assert!(
        woken.as_mut().now_or_never().is_none(),
        "nothing is shown yet"
    );
    assert_eq!(next(&early).await, (vec![], 1));
    journal.commit().await;
    assert_eq!(next(&early).await, (vec![2], 2));
    assert_eq!(late.answered().unwrap().revision, Some(2));
    assert_eq!(next(&initial.answered().unwrap()).await, (vec![2], 0));
    assert_eq!(next(&after.answered().unwrap()).await, (vec![1, 2], 2));

    // A sleeping watch is woken when the change is on disk.
    assert_eq!(next(&early).await, (vec![], 2));
    let _written = call!(handle, write(write("l", 1), None, soon()));
    let mut woken = Box::pin(early.changed());
    assert!(woken.as_mut().now_or_never().is_none());
    journal.commit().await;
    assert!(woken.as_mut().now_or_never().is_some());
}

/// Uncommitted changes may exceed the history's limit, and must still be shown to watches.
#[tokio::test(start_paused = true)]
async fn a_watch_shows_uncommitted_changes_beyond_the_history_limit() {
    let (handle, _owner, mut journal) = with_key_on_disk().await;
    let watch = NewWatch {
        target: WatchTarget::Key("k".into()),
        from: WatchFrom::Now,
        shows: WatchShows::After,
    };
    let watching = call!(handle, watch(watch, soon())).answered().unwrap();
    let next = handle.next_batch(&watching, quota(), soon()).await;
    assert!(matches!(next, Ok(NextBatch::Batch(..))));
    let mut waiting = vec![call!(handle, write(write("k", 2), None, soon()))];
    journal.batch().await;
    for n in 0..20 {
        let large = write_value(&format!("l{n}"), Value::Text("x".repeat(1 << 20).into()));
        waiting.push(call!(handle, write(large, None, soon())));
    }
    journal.committed(2).await;
    journal.commit().await;
    for call in waiting {
        call.answered().unwrap();
    }
    match handle.next_batch(&watching, quota(), soon()).await {
        Ok(NextBatch::Batch(batch, _)) => assert!(
            matches!(&batch.updates, Updates::Changes(changes) if changes.len() == 1),
            "{batch:?}"
        ),
        other => panic!("{other:?}"),
    }
}

/// Deleting a machine also removes the state of its keys that have uncommitted changes.
#[tokio::test(start_paused = true)]
async fn a_read_after_a_machine_is_deleted_shows_no_state() {
    use crate::machine::{DefineMachine, DeleteMachine, KeysLeft, Machine, Purpose, State};
    let (handle, _owner, mut journal) = start_with_journal(AnswerWhen::Committed);
    let machine = Machine {
        name: "m".into(),
        key_prefix: "k".into(),
        initial: "only".into(),
        states: [("only".into(), State::default())].into(),
        revision: 0,
    };
    let define = DefineMachine {
        machine,
        expect: None,
        purpose: Purpose::Define,
    };
    let defined = call!(handle, define_machine(define, soon()));
    journal.commit().await;
    defined.answered().unwrap();
    // The journal is committing this one, so the next two go into one batch.
    let _other = call!(handle, write(write("other", 1), None, soon()));
    let _first = call!(handle, write(write("k", 1), None, soon()));
    let delete = DeleteMachine {
        revision: None,
        name: "m".into(),
        keys: KeysLeft::InFinalStates,
    };
    let deleted = call!(handle, delete_machine(delete, soon()));
    journal.commit().await;
    let batch = journal.batch().await;
    let _second = call!(handle, write(write("k", 2), None, soon()));
    journal.committed(batch.seq).await;
    deleted.answered().unwrap();
    let shown = call!(handle, read(read("k"), soon())).answered().unwrap();
    let entry = shown.entry.unwrap();
    assert_eq!(
        (entry.value.clone(), entry.key_state()),
        (Value::Int(1), None)
    );
}

/// However many keys time out while the disk is slow, a call that changes something finds room.
#[tokio::test(start_paused = true)]
async fn what_is_due_leaves_room_for_calls() {
    use crate::machine::{DefineMachine, Machine, Purpose, State, Timeout};
    let (handle, _owner, mut journal) = start_with_journal(AnswerWhen::Committed);
    let to = |next: &str| State {
        timeout: Some(Timeout {
            after: SECOND,
            next: next.into(),
        }),
        ..State::default()
    };
    let machine = Machine {
        name: "m".into(),
        key_prefix: "m".into(),
        initial: "a".into(),
        states: [("a".into(), to("b")), ("b".into(), to("a"))].into(),
        revision: 0,
    };
    let define = DefineMachine {
        machine,
        expect: None,
        purpose: Purpose::Define,
    };
    let defined = call!(handle, define_machine(define, soon()));
    journal.commit().await;
    defined.answered().unwrap();
    let key = |n: usize| Operation::Write(write(&format!("m{n}"), 1));
    let keys = (0..2 * UNSYNCED_OPERATIONS_MAX).map(key);
    let frames = plain(keys.collect());
    let _created = handle
        .apply_each(frames, Lists::new(), large_quota(), soon())
        .unwrap();
    rest().await;
    journal.commit().await;

    advance(SECOND).await;
    rest().await;
    let first = journal.batch().await;
    rest().await;
    let written = call!(handle, write(write("other", 1), None, soon()));
    journal.committed(first.seq).await;
    journal.commit().await;
    written.answered().unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_expiry_is_shown_when_it_is_on_disk() {
    let (handle, _owner, mut journal) = start_with_journal(AnswerWhen::Committed);
    let mortal = Write {
        options: Some(Box::new(WriteOptions {
            lifetime: SetLifetime::Ttl(SECOND),
            ..WriteOptions::default()
        })),
        ..write("k", 1)
    };
    let written = call!(handle, write(mortal, None, soon()));
    journal.commit().await;
    written.answered().unwrap();
    advance(2 * SECOND).await;
    rest().await;
    let shown = call!(handle, read(read("k"), soon())).answered().unwrap();
    assert_eq!(value(&shown), Some(1));
    journal.commit().await;
    let shown = call!(handle, read(read("k"), soon())).answered().unwrap();
    assert_eq!((value(&shown), shown.revision), (None, 2));
}

#[tokio::test(start_paused = true)]
async fn with_answers_at_once_everything_is_shown_at_once() {
    let (handle, _owner, mut journal) = start_with_journal(AnswerWhen::Applied);
    let written = call!(handle, write(write("k", 1), None, soon()));
    assert_eq!(written.answered().unwrap().revision, 1);
    let shown = call!(handle, read(read("k"), soon())).answered().unwrap();
    assert_eq!((value(&shown), shown.revision), (Some(1), 1));
    assert_eq!(journal.batch().await.revision, 1);
}
