//! What shares a commit.

use std::array;

use tokio::time::advance;

use super::*;
use crate::config::GROUPED_COMMIT_MIN;

const COMMIT: Duration = Duration::from_millis(2);
/// The step of timers.
const TICK: Duration = Duration::from_millis(1);

type Writes<const N: usize> = [Call<Result<WriteOutcome, CallError>>; N];

async fn writes<const N: usize>(handle: &OwnerHandle, from: i64) -> Writes<N> {
    let numbers: [i64; N] = array::from_fn(|at| from + i64::try_from(at).unwrap());
    let mut calls = Vec::new();
    for number in numbers {
        calls.push(call!(
            handle,
            write(write(&format!("k{number}"), number), None, soon())
        ));
    }
    calls.try_into().ok().unwrap()
}

/// Commits a batch of so many changes after some time.
async fn commit_after(journal: &mut FakeJournal, took: Duration, changes: usize) {
    let batch = journal.batch().await;
    assert_eq!(batch.effects.len(), changes);
    advance(took).await;
    journal.committed(batch.seq).await;
}

#[tokio::test(start_paused = true)]
async fn changes_wait_for_those_of_the_callers_that_a_commit_has_answered() {
    let (handle, _owner, mut journal) = start_with_journal(AnswerWhen::Confirmed);
    let [first] = writes(&handle, 0).await;
    // Those that come while the first is committed are one batch, which is not sent at once: one caller has an answer.
    let _three = writes::<3>(&handle, 1).await;
    commit_after(&mut journal, COMMIT, 1).await;
    first.answered().unwrap();
    assert!(journal.is_idle());
    let _first_again = writes::<1>(&handle, 4).await;
    commit_after(&mut journal, COMMIT, 4).await;
    // Now all of them are waited for.
    let _two = writes::<2>(&handle, 5).await;
    assert!(journal.is_idle());
    let _two_more = writes::<2>(&handle, 7).await;
    commit_after(&mut journal, COMMIT, 4).await;
}

#[tokio::test(start_paused = true)]
async fn changes_wait_no_longer_than_a_commit_takes() {
    let (handle, _owner, mut journal) = start_with_journal(AnswerWhen::Confirmed);
    let _first = writes::<1>(&handle, 0).await;
    let mut batch = journal.batch().await;
    let mut waits = Vec::new();
    // Nobody who has an answer comes back: others do, at their own times.
    for round in 1..10 {
        let _new = writes::<2>(&handle, 2 * round).await;
        advance(COMMIT).await;
        journal.committed(batch.seq).await;
        let sent = journal.commands.try_recv().ok();
        waits.push(sent.is_none());
        batch = match sent {
            Some(Command::Commit(batch)) => batch,
            Some(other) => panic!("{other:?}"),
            None => {
                advance(COMMIT - TICK).await;
                assert!(journal.is_idle());
                advance(TICK).await;
                journal.batch().await
            }
        };
        assert_eq!(batch.effects.len(), 2);
    }
    let in_vain = [true, false, true, false, false, false, true, false, false];
    assert_eq!(waits, in_vain);
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_takes_no_time_has_no_wait_after_it() {
    let (handle, _owner, mut journal) = start_with_journal(AnswerWhen::Confirmed);
    let _many = writes::<8>(&handle, 0).await;
    let short = GROUPED_COMMIT_MIN - Duration::from_micros(1);
    commit_after(&mut journal, short, 1).await;
    commit_after(&mut journal, short, 7).await;
    let _one = writes::<1>(&handle, 8).await;
    commit_after(&mut journal, short, 1).await;
}
