//! What a worker does next: the steps of each workload, and how often each comes.

use crate::plan::choices::Ratio;
use crate::plan::mix::{Mix, NamedWorkload};

/// A kind of thing to do next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Step {
    Read,
    Write,
    /// A Write of a key that is not there yet.
    Insert,
    /// A Read, and then a Write if nobody else was faster.
    Modify,
    CompareAndSet,
    Add,
    Delete,
    Transition,
    Scan,
    Batch,
    Renew,
    /// A Write of the time at which it was to start.
    Stamp,
}

/// What a worker does, and how often each.
pub(crate) fn steps(mix: Mix, worker: u64) -> Vec<(Step, f64)> {
    let script = match mix {
        Mix::ReadersAndWriters { readers, .. } => {
            return match worker < readers {
                true => vec![(Step::Read, 1.0)],
                false => vec![(Step::Write, 1.0)],
            };
        }
        Mix::Ratio(Ratio { reads, writes }) => {
            return vec![(Step::Read, reads), (Step::Write, writes)];
        }
        Mix::Named(script) => script,
    };
    match script {
        NamedWorkload::A => vec![(Step::Read, 0.5), (Step::Write, 0.5)],
        NamedWorkload::B => vec![(Step::Read, 0.95), (Step::Write, 0.05)],
        NamedWorkload::C => vec![(Step::Read, 1.0)],
        NamedWorkload::D => vec![(Step::Read, 0.95), (Step::Insert, 0.05)],
        NamedWorkload::E => vec![(Step::Scan, 0.95), (Step::Insert, 0.05)],
        NamedWorkload::F => vec![(Step::Read, 0.5), (Step::Modify, 0.5)],
        NamedWorkload::Counter => vec![(Step::Add, 1.0)],
        NamedWorkload::Cas => vec![(Step::CompareAndSet, 1.0)],
        NamedWorkload::Transition => vec![(Step::Transition, 1.0)],
        NamedWorkload::Renew => vec![(Step::Renew, 1.0)],
        NamedWorkload::Watch => vec![(Step::Stamp, 1.0)],
        NamedWorkload::Mixed => vec![
            (Step::Read, 0.4),
            (Step::Write, 0.2),
            (Step::CompareAndSet, 0.15),
            (Step::Add, 0.1),
            (Step::Delete, 0.05),
            (Step::Batch, 0.07),
            (Step::Scan, 0.03),
        ],
    }
}
