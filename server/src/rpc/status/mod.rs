//! The one table from the server's errors to gRPC: each variant of an error has a function that gives its code, reason, message,
//! metadata and details.
//!
//! Every error with Soloist's ErrorInfo is built here, except [`soloist::codec::bad_message`], which the codec needs. The
//! published rule is that nothing was applied, for every reason except OUTCOME_UNKNOWN.

mod access;
mod cluster;
mod history;
mod keys;
mod lifecycle;
mod limits;
mod machines;
mod refusal;
mod requests;
mod sessions;
mod text;

pub(crate) use access::{
    certificate_refused, credentials_missing, credentials_unknown, not_permitted,
};
pub(crate) use cluster::not_owner;
pub(crate) use history::store_changed;
pub(crate) use lifecycle::{draining, handler_panicked, stream_deadline, unfinished_message};
pub(crate) use limits::{backup_unread, message_too_large, too_many_frames};
pub(crate) use refusal::Refusal;
pub(crate) use requests::{bad_message, not_a_message, unknown_encoding, unknown_method};

use tonic::Status;

use crate::machine::{Cause, RejectedAt, Rejection, WatchError};
use crate::owner::{CallError, NoRoom};
use crate::rpc::arguments::BadArgument;
use text::Subject;

impl From<CallError> for Refusal {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Overloaded { limit, unit } => limits::overloaded(limit, unit),
            CallError::NotStarted => lifecycle::not_started(),
            CallError::NotConfirmed => lifecycle::not_confirmed(),
            CallError::OwnerLost => lifecycle::owner_lost(),
            CallError::HandedOff(owner) => lifecycle::handed_off(&owner),
            CallError::OutcomeUnknown { revision, why } => {
                lifecycle::outcome_unknown(revision, why)
            }
            CallError::DiskFull(low) => limits::disk_full(low),
            CallError::Rejected(rejection) => (*rejection).into(),
            CallError::RejectedAt(rejected) => rejected.into(),
            CallError::Watch(error) => error.into(),
            CallError::Copy(error) => limits::backup_too_slow(error.limit),
            CallError::TooManyOpen { what, limit } => limits::too_many_open(what, limit),
        }
    }
}

impl From<NoRoom> for Refusal {
    fn from(NoRoom { limit, actual }: NoRoom) -> Self {
        limits::no_room(limit, actual)
    }
}

impl From<RejectedAt> for Refusal {
    fn from(RejectedAt { index, rejection }: RejectedAt) -> Self {
        let refusal = Self::from(*rejection);
        match index {
            Some(index) => refusal.with("op", index),
            None => refusal,
        }
    }
}

impl From<WatchError> for Refusal {
    fn from(error: WatchError) -> Self {
        match error {
            WatchError::Compacted { oldest, actual } => history::compacted(oldest, actual),
            WatchError::Unknown { limit, actual } => history::unknown(limit, actual),
        }
    }
}

impl From<Rejection> for Refusal {
    fn from(Rejection { subject, cause }: Rejection) -> Self {
        let subject = &Subject::of(&subject);
        match cause {
            Cause::ExpectationFailed(mismatch) => keys::expectation_failed(subject, &mismatch),
            Cause::KeyExists { revision } => keys::exists(subject, revision),
            Cause::KeyNotFound => keys::not_found(subject),
            Cause::StateMismatch { expected, actual } => {
                keys::state_mismatch(subject, expected, actual)
            }
            Cause::TransitionRefused(refused) => keys::transition_refused(subject, *refused),
            Cause::StateNotFinal(refused) => keys::state_not_final(subject, *refused),
            Cause::NoMachine => keys::no_machine(subject),
            Cause::NotAnInt { kind } => keys::not_an_int(subject, kind),
            Cause::Overflow { value, delta } => keys::overflow(subject, value, delta),
            Cause::BoundReached {
                bound,
                limit,
                value,
                delta,
            } => keys::bound_reached(subject, bound, limit, value, delta),
            Cause::MachineExists { revision } => machines::exists(subject, revision),
            Cause::MachineNotFound => machines::not_found(subject),
            Cause::MachineChanged { expected, actual } => {
                machines::changed(subject, expected, actual)
            }
            Cause::EntriesInState(stranded) => machines::entries_in_state(subject, *stranded),
            Cause::PrefixTaken {
                machine,
                key_prefix,
            } => machines::prefix_taken(subject, machine, &key_prefix),
            Cause::StateUnreachable { state } => machines::state_unreachable(&state),
            Cause::SessionNotFound { id } => sessions::not_found(&id),
            Cause::SessionExists { create_revision } => sessions::exists(subject, create_revision),
            Cause::SessionTakenOver {
                id,
                expected,
                actual,
            } => sessions::taken_over(&id, expected, actual),
            Cause::RequestIdReused => requests::request_id_reused(subject),
            Cause::RequestIdsFull {
                limit,
                unit,
                retry_after,
            } => limits::request_ids_full(limit, unit, retry_after),
            Cause::TooMany { what, limit } => limits::too_many(what, limit),
            Cause::DiskFull(low) => limits::disk_low(low),
            Cause::StoreFull { limit, actual } => limits::store_full(limit, actual),
            Cause::AnswerTooLarge { limit, actual } => {
                limits::answer_too_large(subject, limit, actual)
            }
        }
    }
}

// tonic's handlers return a `Status`, so `?` must be able to make one.

impl From<CallError> for Status {
    fn from(error: CallError) -> Self {
        Refusal::from(error).into_status()
    }
}

impl From<BadArgument> for Status {
    fn from(bad: BadArgument) -> Self {
        Refusal::from(bad).into_status()
    }
}

#[cfg(test)]
mod tests;
