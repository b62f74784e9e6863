//! The owner gives the store to another node.

use super::*;
use crate::owner::HandOffError;

const SUCCESSOR: &str = "10.0.0.2:50051";

/// Takes the next command, which must hand off the store. Returns to which node, and the last revision.
async fn hand_off(journal: &mut FakeJournal) -> (Option<String>, i64) {
    match journal.command().await {
        Command::HandOff { to, revision, .. } => (to, revision),
        other => panic!("expected a handoff, got {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn the_owner_hands_off_when_everything_is_committed_and_ends() {
    let (handle, owner, mut journal) = start_with_journal(AnswerWhen::Confirmed);
    let first = call!(handle, write(write("k", 1), None, soon()));
    let second = call!(handle, write(write("k", 2), None, soon()));
    let shown = call!(handle, read(read("other"), soon()));
    let weak = handle.downgrade();
    let handing = call!(weak, hand_off(Some("b".into())));
    // It takes no more messages.
    let late = call!(handle, write(write("k", 3), None, soon()));
    let late_read = call!(handle, read(read("k"), soon()));
    let seq = journal.batch().await.seq;
    journal.asked().await;
    journal.committed(seq).await;
    first.answered().unwrap();
    assert!(second.waits() && late.waits());
    journal.commit().await;
    assert_eq!(second.answered().unwrap().revision, 2);
    // A confirmation after the handoff would find that another node owns the store.
    assert!(journal.is_idle(), "a confirmation is under way");
    journal.send(Event::Confirmed).await;
    assert_eq!(hand_off(&mut journal).await, (Some("b".into()), 2));
    assert!(handing.waits() && late.waits() && late_read.waits());
    let owner_is = SUCCESSOR.to_owned();
    journal.send(Event::HandedOff { owner: owner_is }).await;
    assert_eq!(handing.answered(), Ok(SUCCESSOR.to_owned()));
    shown.answered().unwrap();
    // Nobody has begun with these.
    let handed_off = || Some(CallError::HandedOff(SUCCESSOR.into()));
    assert_eq!(late.answered().err(), handed_off());
    assert_eq!(late_read.answered().err(), handed_off());
    let later = call!(handle, read(read("k"), soon()));
    assert_eq!(later.answered().err(), handed_off());
    let machine = owner.now_or_never().expect("the owner has ended");
    assert_eq!(machine.unwrap().unwrap().usage().revision, 2);
    assert_eq!(
        call!(weak, hand_off(None)).answered(),
        Err(HandOffError::OwnerLost)
    );
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_confirmation_is_answered_by_the_handoff() {
    let (handle, _owner, mut journal) = start_with_journal(AnswerWhen::Confirmed);
    let shown = call!(handle, read(read("k"), soon()));
    journal.asked().await;
    let next = call!(handle, read(read("k"), soon()));
    let weak = handle.downgrade();
    let _handing = call!(weak, hand_off(None));
    journal.send(Event::Confirmed).await;
    shown.answered().unwrap();
    hand_off(&mut journal).await;
    assert!(next.waits());
    let owner_is = SUCCESSOR.to_owned();
    journal.send(Event::HandedOff { owner: owner_is }).await;
    next.answered().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_refused_handoff_leaves_the_owner_as_it_was() {
    let (handle, _owner, mut journal) = start_with_journal(AnswerWhen::Confirmed);
    let weak = handle.downgrade();
    let handing = call!(weak, hand_off(None));
    let shown = call!(handle, read(read("k"), soon()));
    let written = call!(handle, write(write("k", 1), None, soon()));
    hand_off(&mut journal).await;
    let why = "no other node has the state".to_owned();
    journal.send(Event::HandOffRefused(why.clone())).await;
    assert_eq!(handing.answered(), Err(HandOffError::Refused(why)));
    journal.commit().await;
    written.answered().unwrap();
    shown.answered().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_fails_meanwhile_ends_the_owner() {
    let (handle, owner, mut journal) = start_with_journal(AnswerWhen::Confirmed);
    let weak = handle.downgrade();
    let handing = call!(weak, hand_off(None));
    let late = call!(handle, write(write("k", 1), None, soon()));
    hand_off(&mut journal).await;
    journal.send(Event::Failed("fenced".into())).await;
    assert_eq!(handing.answered(), Err(HandOffError::OwnerLost));
    assert_eq!(late.answered().err(), Some(CallError::OwnerLost));
    let ended = owner.now_or_never().expect("the owner has ended").unwrap();
    assert_eq!(ended.err(), Some(JournalLost("fenced".into())));
}

#[tokio::test(start_paused = true)]
async fn the_time_is_told_by_a_batch_without_changes() {
    let (handle, _owner, mut journal) = start_with_journal(AnswerWhen::Confirmed);
    let written = call!(handle, write(write("k", 1), None, soon()));
    let first = journal.commit().await;
    written.answered().unwrap();
    tokio::time::advance(Duration::from_secs(3_600)).await;
    handle.downgrade().tell_time().await;
    let told = journal.commit().await;
    assert!(told.effects.is_empty());
    assert_eq!((told.seq, told.revision), (first.seq + 1, first.revision));
    assert!(told.time >= first.time + Duration::from_secs(3_600));
    assert!(journal.is_idle(), "it is told once");
    let written = call!(handle, write(write("k", 2), None, soon()));
    journal.commit().await;
    written.answered().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_store_in_memory_is_handed_to_nobody() {
    let (handle, _owner) = start();
    let refused = handle.downgrade().hand_off(None).await;
    assert!(
        matches!(refused, Err(HandOffError::Refused(_))),
        "{refused:?}"
    );
    handle.write(write("k", 1), None, soon()).await.unwrap();
}
