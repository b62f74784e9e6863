//! Expected answers, written shortly.

use super::*;

pub(super) fn added(
    value: i64,
    applied: i64,
    revision: Revision,
    create_revision: Revision,
) -> Result<Answer, Cause> {
    Ok(Answer::One(Outcome::Add(AddOutcome {
        revision,
        create_revision,
        value,
        applied,
        replayed: false,
    })))
}

pub(super) fn deleted(
    previous: impl Into<Option<Entry>>,
    revision: Revision,
) -> Result<Answer, Cause> {
    Ok(Answer::One(Outcome::Delete(DeleteOutcome {
        revision,
        previous: previous.into().map(Box::new),
        replayed: false,
    })))
}

pub(super) fn shows(entry: impl Into<Option<Entry>>, revision: Revision) -> Result<Answer, Cause> {
    let entry = entry.into();
    Ok(Answer::One(Outcome::Read(ReadOutcome { entry, revision })))
}

pub(super) fn wrote(revision: Revision, create_revision: Revision) -> Result<Answer, Cause> {
    replaced(None, revision, create_revision)
}

pub(super) fn replaced(
    previous: impl Into<Option<Entry>>,
    revision: Revision,
    create_revision: Revision,
) -> Result<Answer, Cause> {
    Ok(Answer::One(Outcome::Write(WriteOutcome {
        revision,
        create_revision,
        previous: previous.into().map(Box::new),
        replayed: false,
    })))
}

pub(super) fn moved_from(
    from: &str,
    revision: Revision,
    create_revision: Revision,
) -> Result<Answer, Cause> {
    Ok(Answer::One(Outcome::Transition(TransitionOutcome {
        revision,
        create_revision,
        from: from.into(),
        replayed: false,
    })))
}

/// The answer to an atomic frame with these outcomes.
pub(super) fn applied_all<const N: usize>(
    outcomes: [Result<Answer, Cause>; N],
) -> Result<Answer, Cause> {
    let outcomes = outcomes.map(outcome);
    Ok(Answer::All(AllOutcome {
        revision: *outcomes[0].clone().revision_mut(),
        answer_bytes: outcomes.iter().map(shown_bytes).sum(),
        outcomes: outcomes.into(),
        replayed: false,
    }))
}

pub(super) fn shown_bytes(outcome: &Outcome) -> usize {
    let entry = match outcome {
        Outcome::Read(read) => read.entry.as_ref(),
        Outcome::Write(write) => write.previous.as_deref(),
        Outcome::Delete(delete) => delete.previous.as_deref(),
        Outcome::Add(_) | Outcome::Transition(_) => None,
    };
    entry.map_or(0, |entry| entry.value.byte_len())
}

/// The answer to a frame that is not atomic. Each result comes with the key or id that a refusal names.
pub(super) fn applied_each<const N: usize>(
    revision: Revision,
    results: [(&str, Result<Answer, Cause>); N],
) -> Result<Answer, Cause> {
    let results = results.map(|(subject, answer)| match answer {
        Ok(answer) => Ok(outcome(Ok(answer))),
        Err(cause) => Err(Refused {
            index: None,
            subject: subject.into(),
            cause,
        }),
    });
    let shown = results.iter().flatten().map(shown_bytes).sum();
    Ok(Answer::Each(results.into(), revision, shown))
}

pub(super) fn outcome(answer: Result<Answer, Cause>) -> Outcome {
    match answer {
        Ok(Answer::One(outcome)) => outcome,
        other => panic!("{other:?} is not the answer to an operation"),
    }
}

pub(super) fn session(
    id: &str,
    ttl: u64,
    ends: u64,
    create_revision: Revision,
    key_count: usize,
) -> Session {
    Session {
        id: id.into(),
        ttl: ms(ttl),
        ends: at_ms(ends),
        create_revision,
        key_count,
    }
}

pub(super) fn opened(
    session: Session,
    taken_over: impl Into<Option<Revision>>,
) -> Result<Answer, Cause> {
    Ok(Answer::Opened(OpenOutcome {
        session,
        taken_over: taken_over.into(),
        replayed: false,
    }))
}

pub(super) fn closed(
    key_count: usize,
    revision: Revision,
    create_revision: Revision,
) -> Result<Answer, Cause> {
    Ok(Answer::Closed(CloseOutcome {
        key_count,
        revision,
        create_revision,
        replayed: false,
    }))
}

pub(super) fn defined(machine: Machine, revision: Revision) -> Result<Answer, Cause> {
    Ok(Answer::Machine(Machine {
        revision,
        ..machine
    }))
}

/// The same answer as a replay gets it.
pub(super) fn replayed(answer: Result<Answer, Cause>) -> Result<Answer, Cause> {
    let mut answer = answer.unwrap();
    *match &mut answer {
        Answer::One(Outcome::Write(outcome)) => &mut outcome.replayed,
        Answer::One(Outcome::Add(outcome)) => &mut outcome.replayed,
        Answer::One(Outcome::Transition(outcome)) => &mut outcome.replayed,
        Answer::One(Outcome::Delete(outcome)) => &mut outcome.replayed,
        Answer::All(outcome) => &mut outcome.replayed,
        Answer::Opened(outcome) => &mut outcome.replayed,
        Answer::Closed(outcome) => &mut outcome.replayed,
        Answer::DeletedPrefix(outcome) => &mut outcome.replayed,
        other => panic!("{other:?} is never replayed"),
    } = true;
    Ok(answer)
}

pub(super) fn mismatch(
    expected: Condition,
    actual: impl Into<Option<Entry>>,
) -> Result<Answer, Cause> {
    Err(Cause::ExpectationFailed(Box::new(Mismatch {
        expected,
        actual: actual.into(),
    })))
}

pub(super) fn refused_transition(
    from: &str,
    to: impl Into<Option<&'static str>>,
    allowed: &[&str],
) -> Box<RefusedTransition> {
    Box::new(RefusedTransition {
        machine: "m".into(),
        from: from.into(),
        to: to.into().map(Name::from),
        allowed: allowed.iter().map(|name| Name::from(*name)).collect(),
    })
}

pub(super) fn not_allowed(from: &str, to: &'static str, allowed: &[&str]) -> Result<Answer, Cause> {
    Err(Cause::TransitionRefused(refused_transition(
        from, to, allowed,
    )))
}

pub(super) fn not_final(from: &str, allowed: &[&str]) -> Result<Answer, Cause> {
    Err(Cause::StateNotFinal(refused_transition(
        from, None, allowed,
    )))
}

pub(super) fn stranded(
    count: usize,
    example: &str,
    state: impl Into<Option<&'static str>>,
) -> Result<Answer, Cause> {
    Err(Cause::EntriesInState(Box::new(StrandedKeys {
        count,
        example: example.into(),
        state: state.into().map(Name::from),
    })))
}

pub(super) fn unreachable_state(state: &str) -> Result<Answer, Cause> {
    Err(Cause::StateUnreachable {
        state: state.into(),
    })
}

pub(super) fn prefix_taken(machine: &str, key_prefix: &str) -> Result<Answer, Cause> {
    Err(Cause::PrefixTaken {
        machine: machine.into(),
        key_prefix: key_prefix.into(),
    })
}
