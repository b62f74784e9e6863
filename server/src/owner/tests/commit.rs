//! What is shown before it is on disk, and what waits: the owner beside a journal that does as it is told.

use std::future::Future;
use std::sync::mpsc as std_mpsc;

use super::*;
use crate::config::UNSYNCED_OPERATIONS_MAX;
use crate::journal::{AnswerWhen, Command, DiskSpace, Event, Journal, LogBatch, QUEUE_CAPACITY};
use crate::machine::{
    Add, Cause, Condition, CopySlice, Delete, DiskLow, List, ListShows, Rejection,
};

/// The other end of a journal.
struct FakeJournal {
    commands: std_mpsc::Receiver<Command>,
    events: tokio::sync::mpsc::Sender<Event>,
}

impl FakeJournal {
    /// The next command, which must come at once.
    async fn command(&mut self) -> Command {
        for _ in 0..100 {
            if let Ok(command) = self.commands.try_recv() {
                return command;
            }
            tokio::task::yield_now().await;
        }
        panic!("the owner sends nothing");
    }

    async fn segment(&mut self) -> LogBatch {
        match self.command().await {
            Command::Commit(segment) => segment,
            other => panic!("{other:?} is no segment"),
        }
    }

    async fn tell(&mut self, event: Event) {
        self.events.send(event).await.unwrap();
        rest().await;
    }

    async fn committed(&mut self, seq: u64) {
        self.tell(Event::Committed { seq, log_bytes: 0 }).await;
    }

    /// Commits what comes next.
    async fn commit(&mut self) -> LogBatch {
        let segment = self.segment().await;
        self.committed(segment.seq).await;
        segment
    }

    fn is_idle(&self) -> bool {
        matches!(self.commands.try_recv(), Err(std_mpsc::TryRecvError::Empty))
    }
}

/// Everybody else has done what there was to do.
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
        commands: to,
        events: from,
        seq: 0,
        answers,
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
    let (handle, owner) = spawn_with(machine(), Some(journal), clock, limits);
    (handle, owner, FakeJournal { commands, events })
}

/// A call that goes on by itself.
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
            .expect("it is answered")
            .expect("it does not panic")
    }
}

macro_rules! call {
    ($handle:expr, $($call:tt)*) => {{
        let handle = $handle.clone();
        Call::of(async move { handle.$($call)*.await }).await
    }};
}

// After the macro that it uses.
mod disk;

fn value(outcome: &ReadOutcome) -> Option<i64> {
    outcome.entry.as_ref().map(|entry| match entry.value {
        Value::Int(int) => int,
        _ => panic!("it is an int"),
    })
}

/// "k" is 1, on disk at revision 1.
async fn with_key_on_disk() -> (OwnerHandle, Ended, FakeJournal) {
    let (handle, owner, mut journal) = start_with_journal(AnswerWhen::Committed);
    let written = call!(handle, write(write("k", 1), None, soon()));
    journal.commit().await;
    written.answered().unwrap();
    (handle, owner, journal)
}

#[tokio::test(start_paused = true)]
async fn a_write_is_answered_when_it_is_on_disk() {
    let (handle, _owner, mut journal) = start_with_journal(AnswerWhen::Committed);
    let first = call!(handle, write(write("k", 1), None, soon()));
    let segment = journal.segment().await;
    assert_eq!(
        (segment.seq, segment.revision, segment.effects.len()),
        (1, 1, 1)
    );
    // Whatever comes while one is under way goes into the next.
    let second = call!(handle, write(write("k", 2), None, soon()));
    let third = call!(handle, write(write("l", 3), None, soon()));
    assert!(first.waits() && second.waits() && third.waits() && journal.is_idle());
    journal.committed(1).await;
    assert_eq!(first.answered().unwrap().revision, 1);
    assert!(second.waits() && third.waits());
    let segment = journal.segment().await;
    assert_eq!(
        (segment.seq, segment.revision, segment.effects.len()),
        (2, 3, 2)
    );
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
    // The first of them is on disk, and the others are under way.
    assert_eq!(shown("k").await, (Some(2), 2));
    assert_eq!(shown("l").await, (None, 2));
    journal.commit().await;
    assert_eq!(shown("k").await, (None, 4));
    assert_eq!(shown("l").await, (Some(1), 4));
    // And its condition is about what it shows.
    let _third = call!(handle, write(write("k", 3), None, soon()));
    let exists = Read {
        key: "k".into(),
        expect: Some(Box::new(Condition::Exists(false))),
    };
    assert!(call!(handle, read(exists, soon())).answered().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_tells_of_what_is_not_on_disk_waits() {
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
    // It adds nothing, and tells the value.
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
    // With nothing under way, a refusal comes at once.
    let refused = call!(handle, write(expecting(), None, soon()));
    assert!(refused.answered().is_err());
    assert!(journal.is_idle());
}

#[tokio::test(start_paused = true)]
async fn a_request_that_comes_again_waits_for_the_first() {
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
    // The effect and the answer are in one segment.
    assert_eq!(journal.commit().await.effects.len(), 2);
    assert!(!first.answered().unwrap().replayed);
    assert!(again.answered().unwrap().replayed);
}

#[tokio::test(start_paused = true)]
async fn a_frame_waits_for_what_it_shows() {
    let (handle, _owner, mut journal) = with_key_on_disk().await;
    let written = call!(handle, write(write("k", 2), None, soon()));
    let frame = async |operations: Vec<Operation>| {
        let handle = handle.clone();
        Call::of(async move {
            let pending = handle.apply_each(alone(operations), quota(), soon());
            let mut answers = pending.unwrap().answer().await.unwrap();
            answers.pop().unwrap().0
        })
        .await
    };
    let other = frame(vec![Operation::Read(read("other"))]).await.answered();
    assert_eq!(other.revision, 1);
    // It comes after what its own stream has written.
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
    // As a whole, likewise.
    let _third = call!(handle, write(write("k", 3), None, soon()));
    let all = |key: &'static str| {
        let operations = vec![Operation::Read(read(key))];
        let pending = handle.apply_all(operations, None, quota(), soon()).unwrap();
        Call::of(async move { pending.answer().await.unwrap().0.revision })
    };
    assert_eq!(all("other").await.answered(), 3);
    assert!(all("k").await.waits());
    // An answer that will be given again has to be on disk, whatever it shows.
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
async fn a_list_waits_if_anything_under_its_prefix_changes() {
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
async fn watches_are_shown_what_is_on_disk() {
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
    // It would begin at a revision that nobody may know of yet.
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

    // One that sleeps is woken when it is on disk.
    assert_eq!(next(&early).await, (vec![], 2));
    let _written = call!(handle, write(write("l", 1), None, soon()));
    let mut woken = Box::pin(early.changed());
    assert!(woken.as_mut().now_or_never().is_none());
    journal.commit().await;
    assert!(woken.as_mut().now_or_never().is_some());
}

/// Ten large values that are changed at once are more than is kept for watches, and must be shown all the same.
#[tokio::test(start_paused = true)]
async fn a_watch_is_shown_what_is_too_much_to_be_kept() {
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
    journal.segment().await;
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

/// What a machine's end does to a key that changes just then is not forgotten.
#[tokio::test(start_paused = true)]
async fn a_read_after_a_machine_is_deleted_shows_no_state() {
    use crate::machine::{DefineMachine, Machine, Purpose, State};
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
    // Under way, so that the next two come into one segment.
    let _other = call!(handle, write(write("other", 1), None, soon()));
    let _first = call!(handle, write(write("k", 1), None, soon()));
    let deleted = call!(handle, delete_machine("m".into(), soon()));
    journal.commit().await;
    let segment = journal.segment().await;
    let _second = call!(handle, write(write("k", 2), None, soon()));
    journal.committed(segment.seq).await;
    deleted.answered().unwrap();
    let shown = call!(handle, read(read("k"), soon())).answered().unwrap();
    let entry = shown.entry.unwrap();
    assert_eq!(
        (entry.value.clone(), entry.key_state()),
        (Value::Int(1), None)
    );
}

#[tokio::test(start_paused = true)]
async fn an_end_by_ttl_is_seen_when_it_is_on_disk() {
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
async fn without_waiting_for_the_disk_everything_is_shown_at_once() {
    let (handle, _owner, mut journal) = start_with_journal(AnswerWhen::Applied);
    let written = call!(handle, write(write("k", 1), None, soon()));
    assert_eq!(written.answered().unwrap().revision, 1);
    let shown = call!(handle, read(read("k"), soon())).answered().unwrap();
    assert_eq!((value(&shown), shown.revision), (Some(1), 1));
    assert_eq!(journal.segment().await.revision, 1);
}
