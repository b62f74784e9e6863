//! Faults that the tests must find, one at a time: `.ci/mutants` turns them on.
//!
//! They are compiled only with the feature `mutants`. The environment variable `SOLOIST_MUTANT` names the fault that is on.
//! A fault of the disk or of the journal's queues belongs to a test double (`journal/local/sim_disk.rs`,
//! `durability_tests/faulty_journal.rs`). Production code holds only the faults that no double can stand for.

/// Whether the fault `name` is on.
#[cfg(not(feature = "mutants"))]
#[inline]
pub(crate) const fn mutant(_name: &str) -> bool {
    false
}

/// Whether the fault `name` is on.
#[cfg(feature = "mutants")]
pub(crate) fn mutant(name: &str) -> bool {
    use std::sync::OnceLock;
    static CHOSEN: OnceLock<Option<String>> = OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| std::env::var("SOLOIST_MUTANT").ok());
    chosen.as_deref() == Some(name)
}
