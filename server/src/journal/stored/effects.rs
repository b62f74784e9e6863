//! What happened to the state.

use super::messages::effect::Kind;
use super::messages::{Change, ChangeCause, Effect, Entry, MachineDeleted, SessionEnded};
use super::{Damaged, lacks};
use crate::machine;

impl From<&machine::Effect> for Effect {
    fn from(effect: &machine::Effect) -> Self {
        Self {
            kind: Some(match effect {
                machine::Effect::Changed(change) => Kind::Changed(change.into()),
                machine::Effect::SessionOpened(opened) => Kind::SessionOpened(opened.into()),
                machine::Effect::SessionEnded { id, revision } => {
                    Kind::SessionEnded(SessionEnded {
                        id: id.to_string(),
                        revision: *revision,
                    })
                }
                machine::Effect::MachineDefined(machine) => Kind::MachineDefined(machine.into()),
                machine::Effect::MachineDeleted { name, revision } => {
                    Kind::MachineDeleted(MachineDeleted {
                        name: name.to_string(),
                        revision: *revision,
                    })
                }
                machine::Effect::RequestApplied(applied) => Kind::RequestApplied(applied.into()),
            }),
        }
    }
}

impl TryFrom<Effect> for machine::Effect {
    type Error = Damaged;

    fn try_from(effect: Effect) -> Result<Self, Damaged> {
        Ok(match effect.kind.ok_or_else(|| lacks("effect"))? {
            Kind::Changed(changed) => Self::Changed(changed.try_into()?),
            Kind::SessionOpened(opened) => Self::SessionOpened(opened.into()),
            Kind::SessionEnded(ended) => Self::SessionEnded {
                id: ended.id.into(),
                revision: ended.revision,
            },
            Kind::MachineDefined(machine) => Self::MachineDefined(machine.into()),
            Kind::MachineDeleted(deleted) => Self::MachineDeleted {
                name: deleted.name.into(),
                revision: deleted.revision,
            },
            Kind::RequestApplied(applied) => Self::RequestApplied(applied.try_into()?),
        })
    }
}

impl From<&machine::Change> for Change {
    fn from(change: &machine::Change) -> Self {
        Self {
            key: change.key.to_string(),
            revision: change.revision,
            cause: ChangeCause::from(change.cause).into(),
            entry: change.entry.as_ref().map(Entry::from),
        }
    }
}

impl From<machine::ChangeCause> for ChangeCause {
    fn from(cause: machine::ChangeCause) -> Self {
        match cause {
            machine::ChangeCause::Written => Self::Written,
            machine::ChangeCause::Transitioned => Self::Transitioned,
            machine::ChangeCause::Deleted => Self::Deleted,
            machine::ChangeCause::Expired => Self::Expired,
            machine::ChangeCause::SessionEnded => Self::SessionEnded,
            machine::ChangeCause::TimedOut => Self::TimedOut,
        }
    }
}

impl TryFrom<Change> for machine::Change {
    type Error = Damaged;

    fn try_from(change: Change) -> Result<Self, Damaged> {
        let cause = match change.cause() {
            ChangeCause::Unspecified => return Err(lacks("cause")),
            ChangeCause::Written => machine::ChangeCause::Written,
            ChangeCause::Transitioned => machine::ChangeCause::Transitioned,
            ChangeCause::Deleted => machine::ChangeCause::Deleted,
            ChangeCause::Expired => machine::ChangeCause::Expired,
            ChangeCause::SessionEnded => machine::ChangeCause::SessionEnded,
            ChangeCause::TimedOut => machine::ChangeCause::TimedOut,
        };
        Ok(Self {
            key: change.key.into(),
            revision: change.revision,
            cause,
            entry: change.entry.map(TryInto::try_into).transpose()?,
            previous: None,
            keeps: machine::Keeps::NoPrevious,
        })
    }
}
