//! The owner where another process can take the store over: what may be shown before it is confirmed, and what must wait.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;
use crate::config::{COST_WAITING_CONNECTION_MAX, HELD_ANSWERS_LOOK_MIN, UNCONFIRMED_ANSWERS_MAX};
use crate::machine::Fingerprint;

/// Starts an owner in which key "k" is 1, committed at revision 1.
async fn with_key() -> (OwnerHandle, Ended, FakeJournal) {
    let (handle, owner, mut journal) = start_with_journal(AnswerWhen::Confirmed);
    let written = call!(handle, write(write("k", 1), request_id("first"), soon()));
    journal.commit().await;
    // The commit has compared the epoch: a change needs no other confirmation.
    written.answered().unwrap();
    assert!(journal.is_idle());
    (handle, owner, journal)
}

fn request_id(id: &str) -> Option<Box<RequestId>> {
    Some(Box::new(RequestId {
        id: id.into(),
        fingerprint: Fingerprint(1),
    }))
}

/// A write that is refused, because there is a key.
fn refused() -> Write {
    Write {
        options: Some(Box::new(WriteOptions {
            expect: Some(Condition::Exists(false)),
            ..WriteOptions::default()
        })),
        ..write("k", 0)
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_waits_for_a_confirmation_that_was_begun_after_it() {
    let (handle, _owner, mut journal) = with_key().await;
    let first = call!(handle, read(read("k"), soon()));
    journal.asked().await;
    // These are computed while a confirmation is under way, and share the next one.
    let second = call!(handle, read(read("k"), soon()));
    let third = call!(handle, read(read("l"), soon()));
    assert!(journal.is_idle(), "one confirmation is under way at a time");
    assert!(first.waits() && second.waits() && third.waits());
    journal.send(Event::Confirmed).await;
    assert_eq!(value(&first.answered().unwrap()), Some(1));
    assert!(second.waits() && third.waits());
    journal.confirm().await;
    second.answered().unwrap();
    third.answered().unwrap();
    assert!(journal.is_idle(), "nobody waits");
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_was_sent_later_confirms_too() {
    let (handle, _owner, mut journal) = with_key().await;
    let under_way = call!(handle, write(write("l", 1), None, soon()));
    let seq = journal.batch().await.seq;
    let shown = call!(handle, read(read("k"), soon()));
    journal.asked().await;
    let later = call!(handle, write(write("l", 2), None, soon()));
    // This batch was sent before the read was computed.
    journal.committed(seq).await;
    under_way.answered().unwrap();
    assert!(shown.waits());
    // And this one after it; the confirmation is lost for now.
    journal.commit().await;
    later.answered().unwrap();
    shown.answered().unwrap();
    // The confirmation that is under way is for none of those who wait now.
    let next = call!(handle, read(read("k"), soon()));
    journal.send(Event::Confirmed).await;
    assert!(next.waits());
    journal.confirm().await;
    next.answered().unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_waits_for_an_earlier_batch_waits_for_a_confirmation_as_well() {
    let (handle, _owner, mut journal) = with_key().await;
    let _under_way = call!(handle, write(write("k", 2), None, soon()));
    let seq = journal.batch().await.seq;
    let shown = call!(handle, write(refused(), None, soon()));
    assert!(journal.is_idle());
    journal.committed(seq).await;
    assert!(shown.waits());
    journal.confirm().await;
    assert!(matches!(shown.answered(), Err(CallError::Rejected(_))));

    // If its batch is sent later, that is enough.
    let _under_way = call!(handle, write(write("k", 3), None, soon()));
    let seq = journal.batch().await.seq;
    let _unsent = call!(handle, write(write("k", 4), None, soon()));
    let shown = call!(handle, write(refused(), None, soon()));
    journal.committed(seq).await;
    assert!(shown.waits());
    journal.commit().await;
    assert!(matches!(shown.answered(), Err(CallError::Rejected(_))));
    assert!(journal.is_idle());
}

/// Checks that a call is answered when it is confirmed, and not before.
macro_rules! is_confirmed {
    ($journal:ident, $($call:tt)*) => {{
        let call = call!($($call)*);
        assert!(call.waits(), stringify!($($call)*));
        $journal.confirm().await;
        call.answered()
    }};
}

#[tokio::test(start_paused = true)]
async fn whatever_shows_state_waits() {
    let (handle, _owner, mut journal) = with_key().await;
    let open = OpenSession {
        id: "s".into(),
        ttl: 60 * SECOND,
        on_existing: OnExisting::Refuse,
    };
    let opened = call!(handle, open_session(open, None, soon()));
    journal.commit().await;
    let life = SessionLife {
        id: "s".into(),
        create_revision: opened.answered().unwrap().session.create_revision,
    };
    is_confirmed!(journal, handle, read(read("k"), soon())).unwrap();
    is_confirmed!(journal, handle, read(read("missing"), soon())).unwrap();
    is_confirmed!(journal, handle, write(refused(), None, soon())).unwrap_err();
    let again = is_confirmed!(
        journal,
        handle,
        write(write("k", 1), request_id("first"), soon())
    );
    assert!(again.unwrap().replayed);
    is_confirmed!(journal, handle, renew_session(life, soon())).unwrap();
    is_confirmed!(journal, handle, list_sessions(None, 10, soon())).unwrap();
    is_confirmed!(journal, handle, get_machine("m".into(), soon())).unwrap_err();
    is_confirmed!(journal, handle, list_machines(None, 10, soon())).unwrap();
    is_confirmed!(journal, handle, usage(soon())).unwrap();
    let weak = handle.downgrade();
    is_confirmed!(journal, weak, machines_now(10)).unwrap();
    let list = List {
        prefix: String::new(),
        after: None,
        page_size: 10,
        page_bytes: 1_000,
        shows: ListShows::Entries,
    };
    is_confirmed!(journal, handle, list(list, soon())).unwrap();
    for operation in [Operation::Read(read("k")), Operation::Write(refused())] {
        let each = handle.apply_each(
            plain(vec![operation.clone()]),
            Lists::new(),
            quota(),
            soon(),
        );
        let each = Call::of(each.unwrap().answer()).await;
        let all = handle.apply_all(vec![operation], None, quota(), soon());
        let all = Call::of(all.unwrap().answer()).await;
        assert!(each.waits() && all.waits());
        journal.confirm().await;
        each.answered().unwrap();
        assert!(all.waits(), "it came while a confirmation was under way");
        journal.confirm().await;
        let _ = all.answered();
    }
    let new = |from| NewWatch {
        target: WatchTarget::Prefix(String::new()),
        from,
        shows: WatchShows::After,
    };
    is_confirmed!(journal, handle, watch(new(WatchFrom::Now), soon())).unwrap();
    is_confirmed!(journal, handle, watch(new(WatchFrom::After(99)), soon())).unwrap_err();
    let initial = is_confirmed!(journal, handle, watch(new(WatchFrom::Initial), soon())).unwrap();
    let first = next_batch(&handle, initial).await;
    assert!(first.waits());
    journal.confirm().await;
    first.answered();
    is_confirmed!(journal, handle, begin_backup(soon())).unwrap();
}

/// Asks for the next batch of a watch.
async fn next_batch(handle: &OwnerHandle, watching: OpenWatch) -> Call<(OpenWatch, Updates)> {
    let handle = handle.clone();
    Call::of(async move {
        match handle.next_batch(&watching, quota(), soon()).await {
            Ok(NextBatch::Batch(batch, _)) => (watching, batch.updates),
            other => panic!("{other:?}"),
        }
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn what_stays_true_does_not_wait() {
    let (handle, _owner, mut journal) = with_key().await;
    let new = NewWatch {
        target: WatchTarget::Prefix(String::new()),
        from: WatchFrom::Now,
        shows: WatchShows::After,
    };
    let watching = is_confirmed!(journal, handle, watch(new, soon())).unwrap();
    // There is nothing yet, and that there is nothing is confirmed.
    let nothing = next_batch(&handle, watching).await;
    assert!(nothing.waits());
    journal.confirm().await;
    let (watching, _) = nothing.answered();
    let _written = call!(handle, write(write("k", 2), None, soon()));
    journal.commit().await;
    let (_, updates) = next_batch(&handle, watching).await.answered();
    assert_eq!(updates.len(), 1, "the change is committed");

    let backup = is_confirmed!(journal, handle, begin_backup(soon())).unwrap();
    let slice = {
        let handle = handle.clone();
        Call::of(async move { handle.next_backup_slice(&backup, soon()).await }).await
    };
    slice.answered().unwrap();
    let weak = handle.downgrade();
    call!(weak, keys_in_states(10)).answered();
    let heartbeat = handle.heartbeat();
    assert!(call!(heartbeat, beat()).answered());
    assert!(journal.is_idle());
}

#[tokio::test(start_paused = true)]
async fn at_the_deadline_only_changes_have_an_unknown_outcome() {
    let (handle, _owner, mut journal) = with_key().await;
    let shown = call!(handle, read(read("k"), soon()));
    let refusal = call!(handle, write(refused(), None, soon()));
    let again = call!(handle, write(write("k", 1), request_id("first"), soon()));
    let change = call!(handle, write(write("k", 2), None, soon()));
    let behind = call!(handle, write(refused(), None, soon()));
    advance(2 * SECOND).await;
    rest().await;
    assert_eq!(shown.answered().err(), Some(CallError::NotConfirmed));
    assert_eq!(refusal.answered().err(), Some(CallError::NotConfirmed));
    assert_eq!(behind.answered().err(), Some(CallError::NotConfirmed));
    let unknown = |revision| {
        Some(CallError::OutcomeUnknown {
            revision,
            why: Unknown::Deadline,
        })
    };
    // An error would mean that nothing was applied.
    assert_eq!(again.answered().err(), unknown(None));
    assert_eq!(change.answered().err(), unknown(Some(2)));
    journal.confirm().await;
    journal.commit().await;
}

#[tokio::test(start_paused = true)]
async fn when_the_owner_ends_only_changes_have_an_unknown_outcome() {
    let (handle, owner, journal) = with_key().await;
    let shown = call!(handle, read(read("k"), soon()));
    let refusal = call!(handle, write(refused(), None, soon()));
    let again = call!(handle, write(write("k", 1), request_id("first"), soon()));
    let change = call!(handle, write(write("k", 2), None, soon()));
    let behind = call!(handle, write(refused(), None, soon()));
    journal
        .events
        .send(Event::Failed("fenced".into()))
        .await
        .unwrap();
    rest().await;
    assert_eq!(shown.answered().err(), Some(CallError::OwnerLost));
    assert_eq!(refusal.answered().err(), Some(CallError::OwnerLost));
    assert_eq!(behind.answered().err(), Some(CallError::OwnerLost));
    let unknown = |revision| {
        Some(CallError::OutcomeUnknown {
            revision,
            why: Unknown::OwnerEnded,
        })
    };
    assert_eq!(again.answered().err(), unknown(None));
    assert_eq!(change.answered().err(), unknown(Some(2)));
    let ended = owner.now_or_never().expect("the owner has ended").unwrap();
    assert_eq!(ended.err(), Some(JournalLost("fenced".into())));
}

#[tokio::test(start_paused = true)]
async fn answers_that_wait_are_limited_and_abandoned_ones_are_dropped() {
    let (handle, _owner, mut journal) = with_key().await;
    // A heartbeat is answered when the owner has handled all before it, and all other tasks have had their turn.
    let read_k = || {
        let handle = handle.clone();
        tokio::spawn(async move { handle.read(read("k"), soon()).await })
    };
    let first = read_k();
    journal.asked().await;
    let mut waiting: Vec<_> = std::iter::once(first).collect();
    while waiting.len() < UNCONFIRMED_ANSWERS_MAX {
        waiting.extend((0..10_000.min(UNCONFIRMED_ANSWERS_MAX - waiting.len())).map(|_| read_k()));
        handle.heartbeat().beat().await;
    }
    let full = Err(overloaded(
        UNCONFIRMED_ANSWERS_MAX,
        "answers not yet confirmed",
    ));
    assert_eq!(call!(handle, read(read("k"), soon())).answered(), full);
    // A change that was applied earlier must not be refused.
    let again = call!(handle, write(write("k", 1), request_id("first"), soon()));
    assert!(again.waits());
    // Half of the callers leave, among them the first, for which the confirmation is under way.
    let staying = waiting.split_off(UNCONFIRMED_ANSWERS_MAX / 2);
    for left in waiting {
        left.abort();
    }
    handle.heartbeat().beat().await;
    let mut more = call!(handle, read(read("k"), soon()));
    for _ in 0..HELD_ANSWERS_LOOK_MIN {
        if more.waits() {
            break;
        }
        more = call!(handle, read(read("k"), soon()));
    }
    assert!(more.waits(), "there is room again");
    journal.send(Event::Confirmed).await;
    handle.heartbeat().beat().await;
    assert!(
        more.waits() && again.waits(),
        "none was there when it was begun"
    );
    journal.confirm().await;
    handle.heartbeat().beat().await;
    for _ in 0..100 {
        rest().await;
    }
    more.answered().unwrap();
    assert!(again.answered().unwrap().replayed);
    for call in staying {
        call.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn long_answers_wait_a_few_at_a_time() {
    let (handle, _owner, mut journal) = with_key().await;
    let handle = handle.for_connection(quota());
    let list = || List {
        prefix: String::new(),
        after: None,
        page_size: COST_WAITING_CONNECTION_MAX / 2,
        page_bytes: 1_000,
        shows: ListShows::Entries,
    };
    let first = call!(handle, list(list(), soon()));
    let second = call!(handle, list(list(), soon()));
    let third = call!(handle, list(list(), soon()));
    journal.asked().await;
    // The commit confirms the first two, and they make room for the third.
    let written = call!(handle, write(write("l", 1), None, soon()));
    journal.commit().await;
    written.answered().unwrap();
    assert_eq!(first.answered().unwrap().revision, 1);
    assert_eq!(second.answered().unwrap().revision, 1);
    assert!(third.waits());
    journal.send(Event::Confirmed).await;
    journal.confirm().await;
    assert_eq!(third.answered().unwrap().revision, 2);
}

/// A call of the random program, and the step in which its answer was computed.
struct Waiting {
    computed: usize,
    /// The batch with its change, if it is one.
    batch: Option<u64>,
    call: Call<bool>,
}

/// What the journal was asked in which step, and how far it has come.
#[derive(Default)]
struct Asked {
    /// When the confirmation under way was begun.
    confirmation: Option<usize>,
    /// The batch under way, and when it was sent.
    batch: Option<(u64, usize)>,
    sent: u64,
    committed: u64,
    /// When the latest was begun of what has confirmed the epoch since.
    confirmed: Option<usize>,
}

impl Asked {
    fn take_commands(&mut self, journal: &FakeJournal, step: usize) {
        while let Ok(command) = journal.commands.try_recv() {
            match command {
                Command::Confirm => {
                    assert_eq!(self.confirmation.replace(step), None);
                }
                Command::Commit(batch) => {
                    assert_eq!(self.batch.replace((batch.seq, step)), None);
                    self.sent = batch.seq;
                }
                other => panic!("{other:?}"),
            }
        }
    }

    async fn confirm(&mut self, journal: &mut FakeJournal) {
        if let Some(begun) = self.confirmation.take() {
            self.confirmed = self.confirmed.max(Some(begun));
            journal.send(Event::Confirmed).await;
        }
    }

    async fn commit(&mut self, journal: &mut FakeJournal) {
        if let Some((seq, begun)) = self.batch.take() {
            self.confirmed = self.confirmed.max(Some(begun));
            self.committed = seq;
            journal.committed(seq).await;
        }
    }

    /// Whether a call may have been answered.
    fn permits(&self, call: &Waiting) -> bool {
        match call.batch {
            Some(seq) => seq <= self.committed,
            None => Some(call.computed) <= self.confirmed,
        }
    }
}

/// Begins a random call.
async fn begin(handle: &OwnerHandle, random: &mut StdRng, step: usize, sent: u64) -> Waiting {
    let later = Instant::now() + 1_000 * SECOND;
    let handle = handle.clone();
    let kind = random.random_range(0..5);
    let key = ["k", "l"][random.random_range(0..2)];
    let value = i64::try_from(step).unwrap();
    let call = async move {
        match kind {
            0 => handle.write(write(key, value), None, later).await.is_ok(),
            1 => handle.write(refused(), None, later).await.is_err(),
            2 => {
                let again = handle.write(write("k", 1), request_id("first"), later);
                again.await.unwrap().replayed
            }
            3 => handle.usage(later).await.is_ok(),
            _ => handle.read(read(key), later).await.is_ok(),
        }
    };
    Waiting {
        computed: step,
        batch: (kind == 0).then_some(sent + 1),
        call: Call::of(call).await,
    }
}

#[tokio::test(start_paused = true)]
async fn no_answer_leaves_before_a_confirmation_that_was_begun_after_it() {
    for seed in 0..40 {
        let (handle, _owner, mut journal) = with_key().await;
        let mut random = StdRng::seed_from_u64(seed);
        let mut waiting = Vec::new();
        let mut asked = Asked {
            sent: 1,
            committed: 1,
            ..Asked::default()
        };
        for step in 1..300 {
            match random.random_range(0..8) {
                0 => asked.confirm(&mut journal).await,
                1 => asked.commit(&mut journal).await,
                _ => waiting.push(begin(&handle, &mut random, step, asked.sent).await),
            }
            asked.take_commands(&journal, step);
            let mut answered = Vec::new();
            waiting.retain_mut(|call: &mut Waiting| {
                let is_answered = !call.call.waits();
                if is_answered {
                    assert!(asked.permits(call), "seed {seed}: too early in step {step}");
                    answered.push((&mut call.call.0).now_or_never());
                }
                !is_answered
            });
            assert!(answered.into_iter().all(|answer| answer.unwrap().unwrap()));
        }
        for step in 300..304 {
            asked.confirm(&mut journal).await;
            asked.commit(&mut journal).await;
            asked.take_commands(&journal, step);
        }
        assert!(waiting.into_iter().all(|waiting| waiting.call.answered()));
    }
}
