//! The machine rejects a call of `soloist.v1.Machines`.

use soloist::v1::error::Reason;
use tonic::Code;

use super::refusal::Refusal;
use super::text::{METADATA_BYTES, Subject, cut, quoted};
use crate::machine::{Key, Name, Revision, StrandedKeys};
use crate::rpc::arguments::BadArgument;

/// `ResourceInfo.resource_type` of a machine.
const MACHINE_TYPE: &str = "soloist.v1.Machine";

pub(super) fn exists(machine: &Subject, revision: Revision) -> Refusal {
    Refusal::new(
        Code::AlreadyExists,
        Reason::MachineExists,
        format!("machine {} exists, at revision {revision}", machine.quoted),
    )
    .with("revision", revision)
    .resource(MACHINE_TYPE, &machine.name, "the machine exists")
}

pub(super) fn not_found(machine: &Subject) -> Refusal {
    Refusal::new(
        Code::NotFound,
        Reason::MachineNotFound,
        format!("machine {} does not exist", machine.quoted),
    )
    .resource(MACHINE_TYPE, &machine.name, "the machine does not exist")
}

pub(super) fn changed(machine: &Subject, expected: Revision, actual: Revision) -> Refusal {
    Refusal::new(
        Code::Aborted,
        Reason::ExpectationFailed,
        format!(
            "machine {} was expected to have revision {expected}, and has {actual}",
            machine.quoted
        ),
    )
    .violation("EXPECTATION", &machine.name, "revision")
    .with("test", "revision")
    .with("expected", expected)
    .with("actual", actual)
}

pub(super) fn entries_in_state(machine: &Subject, stranded: StrandedKeys) -> Refusal {
    let StrandedKeys {
        count,
        example,
        state,
    } = stranded;
    let count = match count {
        StrandedKeys::COUNT_MAX => format!("{count} or more"),
        count => count.to_string(),
    };
    let keys = if count == "1" { "key" } else { "keys" };
    let what = match &state {
        Some(state) => format!("in state {}", quoted(state)),
        None => "under that prefix".to_owned(),
    };
    Refusal::new(
        Code::FailedPrecondition,
        Reason::EntriesInState,
        format!(
            "machine {} would strand {count} {keys} {what}, such as {}",
            machine.quoted,
            quoted(&example)
        ),
    )
    .violation("MACHINE", &machine.name, "entries")
    .with("count", count)
    .with("example", cut(example.to_string(), METADATA_BYTES))
    .with("state", state.as_ref().map_or("", Name::as_str))
}

pub(super) fn prefix_taken(machine: &Subject, other: Name, key_prefix: &Key) -> Refusal {
    Refusal::new(
        Code::FailedPrecondition,
        Reason::PrefixTaken,
        format!(
            "the key_prefix of machine {} overlaps with {}, the key_prefix of machine {}",
            machine.quoted,
            quoted(key_prefix),
            quoted(&other)
        ),
    )
    .violation("MACHINE", &machine.name, "key_prefix")
    .with("machine", other)
    .with("key_prefix", cut(key_prefix.to_string(), METADATA_BYTES))
}

/// A mistake in the machine itself. Only the state can tell, because a state that keys are in need not be reachable.
pub(super) fn state_unreachable(state: &Name) -> Refusal {
    BadArgument {
        field: format!("machine.states[{}]", quoted(state)),
        reason: Reason::BadMachine,
        problem: "cannot be reached from initial, and no key is in it".into(),
        limit: None,
        actual: None,
        op: None,
    }
    .into()
}
