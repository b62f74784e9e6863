//! Requests with a request id, and the outcomes that a replay of them gets.

use std::time::Duration;

use bytes::Bytes;

use super::messages::applied_request::Outcome as SavedOutcome;
use super::messages::{
    AllOutcome, AppliedRequest, CloseOutcome, DeletePrefixOutcome, Entry, OpenOutcome,
    OpenedSession, Outcome, OutcomeKind,
};
use super::{Damaged, duration_nanos, from_nanos, lacks, to_nanos};
use crate::machine::{
    self, AddOutcome, DeleteOutcome, ReadOutcome, Revision, TransitionOutcome, WriteOutcome,
};

impl From<&machine::AppliedRequest> for AppliedRequest {
    fn from(applied: &machine::AppliedRequest) -> Self {
        let machine::AppliedRequest {
            at,
            request_id,
            outcome,
        } = applied;
        let outcome = match outcome {
            machine::SavedOutcome::One(outcome) => SavedOutcome::One(outcome.into()),
            machine::SavedOutcome::All(all) => SavedOutcome::All(AllOutcome {
                outcomes: all.outcomes.iter().map(Outcome::from).collect(),
                revision: all.revision,
                answer_bytes: all.answer_bytes as u64,
            }),
            machine::SavedOutcome::Opened(opened) => SavedOutcome::Opened(OpenOutcome {
                session: Some(OpenedSession {
                    id: opened.session.id.to_string(),
                    ttl: duration_nanos(opened.session.ttl),
                    create_revision: opened.session.create_revision,
                }),
                ends: to_nanos(opened.session.ends),
                taken_over: opened.taken_over,
            }),
            machine::SavedOutcome::Closed(closed) => SavedOutcome::Closed(CloseOutcome {
                key_count: closed.key_count as u64,
                revision: closed.revision,
                create_revision: closed.create_revision,
            }),
            machine::SavedOutcome::DeletedPrefix(deleted) => {
                SavedOutcome::DeletedPrefix(DeletePrefixOutcome {
                    deleted_count: deleted.deleted_count as u64,
                    kept_count: deleted.kept_count as u64,
                    more_after: deleted.more_after.as_ref().map(ToString::to_string),
                    revision: deleted.revision,
                })
            }
        };
        Self {
            at: to_nanos(*at),
            request_id: request_id.id.to_string(),
            fingerprint: Bytes::copy_from_slice(&request_id.fingerprint.0.to_le_bytes()),
            outcome: Some(outcome),
        }
    }
}

impl TryFrom<AppliedRequest> for machine::AppliedRequest {
    type Error = Damaged;

    fn try_from(applied: AppliedRequest) -> Result<Self, Damaged> {
        let fingerprint = applied.fingerprint.as_ref().try_into();
        let fingerprint = fingerprint.map_err(|_| lacks("fingerprint"))?;
        let outcome = match applied.outcome.ok_or_else(|| lacks("outcome"))? {
            SavedOutcome::One(outcome) => machine::SavedOutcome::One(outcome.try_into()?),
            SavedOutcome::All(all) => {
                let outcomes = all.outcomes.into_iter().map(TryInto::try_into);
                machine::SavedOutcome::All(machine::AllOutcome {
                    outcomes: outcomes.collect::<Result<_, _>>()?,
                    revision: all.revision,
                    answer_bytes: all.answer_bytes as usize,
                    replayed: false,
                })
            }
            SavedOutcome::Opened(opened) => {
                let session = opened.session.ok_or_else(|| lacks("session"))?;
                machine::SavedOutcome::Opened(machine::OpenOutcome {
                    session: machine::Session {
                        id: session.id.into(),
                        ttl: Duration::from_nanos(session.ttl),
                        ends: from_nanos(opened.ends),
                        create_revision: session.create_revision,
                        key_count: 0,
                    },
                    taken_over: opened.taken_over,
                    replayed: false,
                })
            }
            SavedOutcome::Closed(closed) => machine::SavedOutcome::Closed(machine::CloseOutcome {
                key_count: closed.key_count as usize,
                revision: closed.revision,
                create_revision: closed.create_revision,
                replayed: false,
            }),
            SavedOutcome::DeletedPrefix(deleted) => {
                machine::SavedOutcome::DeletedPrefix(machine::DeletePrefixOutcome {
                    deleted_count: deleted.deleted_count as usize,
                    kept_count: deleted.kept_count as usize,
                    more_after: deleted.more_after.map(Into::into),
                    revision: deleted.revision,
                    replayed: false,
                })
            }
        };
        Ok(Self {
            at: from_nanos(applied.at),
            request_id: machine::RequestId {
                id: applied.request_id.into(),
                fingerprint: machine::Fingerprint(u128::from_le_bytes(fingerprint)),
            },
            outcome,
        })
    }
}

impl From<&machine::Outcome> for Outcome {
    fn from(outcome: &machine::Outcome) -> Self {
        let previous = |entry: &Option<Box<machine::Entry>>| entry.as_deref().map(Entry::from);
        let of = |kind: OutcomeKind, revision: Revision| Self {
            kind: kind.into(),
            revision,
            ..Self::default()
        };
        match outcome {
            machine::Outcome::Read(read) => Self {
                entry: read.entry.as_ref().map(Entry::from),
                ..of(OutcomeKind::Read, read.revision)
            },
            machine::Outcome::Write(write) => Self {
                create_revision: write.create_revision,
                entry: previous(&write.previous),
                ..of(OutcomeKind::Write, write.revision)
            },
            machine::Outcome::Add(add) => Self {
                create_revision: add.create_revision,
                value: add.value,
                applied: add.applied,
                ..of(OutcomeKind::Add, add.revision)
            },
            machine::Outcome::Transition(transition) => Self {
                create_revision: transition.create_revision,
                from: transition.from.to_string(),
                ..of(OutcomeKind::Transition, transition.revision)
            },
            machine::Outcome::Delete(delete) => Self {
                entry: previous(&delete.previous),
                ..of(OutcomeKind::Delete, delete.revision)
            },
        }
    }
}

impl TryFrom<Outcome> for machine::Outcome {
    type Error = Damaged;

    fn try_from(outcome: Outcome) -> Result<Self, Damaged> {
        let kind = outcome.kind();
        let Outcome {
            revision,
            create_revision,
            entry,
            value,
            applied,
            from,
            ..
        } = outcome;
        let entry: Option<machine::Entry> = entry.map(TryInto::try_into).transpose()?;
        let replayed = false;
        Ok(match kind {
            OutcomeKind::Unspecified => return Err(lacks("outcome")),
            OutcomeKind::Read => Self::Read(ReadOutcome { entry, revision }),
            OutcomeKind::Write => Self::Write(WriteOutcome {
                revision,
                create_revision,
                previous: entry.map(Box::new),
                replayed,
            }),
            OutcomeKind::Add => Self::Add(AddOutcome {
                revision,
                create_revision,
                value,
                applied,
                replayed,
            }),
            OutcomeKind::Transition => Self::Transition(TransitionOutcome {
                revision,
                create_revision,
                from: from.into(),
                replayed,
            }),
            OutcomeKind::Delete => Self::Delete(DeleteOutcome {
                revision,
                previous: entry.map(Box::new),
                replayed,
            }),
        })
    }
}
