//! The steps of each workload: what a worker may do next, and how often it does each.

use rand::RngExt;
use rand::rngs::SmallRng;

use crate::plan::choices::Ratio;
use crate::plan::mix::{Mix, NamedWorkload};
use crate::plan::settings::Settings;

/// What a worker does next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Step {
    Read,
    Write,
    /// Writes a key that does not exist yet.
    Insert,
    /// Reads a key, and then writes it if nobody has changed it since.
    Modify,
    /// Writes a key if it is as the worker saw it last. If the worker has not seen it, reads it.
    CompareAndSet,
    Add,
    Delete,
    Transition,
    Scan,
    Batch,
    Renew,
    /// Writes the intended start of this very write.
    Stamp,
}

/// The steps of one worker. They are drawn in proportion to their weights.
#[derive(Debug)]
pub(crate) struct Steps {
    /// Each with the sum of the weights up to and including its own.
    cumulative: Vec<(Step, f64)>,
}

impl Steps {
    /// Returns the steps of a worker. `worker` counts from 0, readers first.
    pub(crate) fn new(settings: &Settings, worker: u64) -> Self {
        let weights = match (settings.mix, &settings.open_loop) {
            // In an open loop any free worker takes the next operation. So each reads and writes, in proportion.
            (Mix::ReadersAndWriters { readers, writers }, Some(_)) => {
                vec![(Step::Read, readers as f64), (Step::Write, writers as f64)]
            }
            (mix, _) => weights(mix, worker),
        };
        let mut sum = 0.0;
        let cumulative = weights.into_iter().map(|(step, weight)| {
            sum += weight;
            (step, sum)
        });
        Self {
            cumulative: cumulative.collect(),
        }
    }

    pub(crate) fn draw(&self, rng: &mut SmallRng) -> Step {
        if let [(step, _)] = self.cumulative[..] {
            return step;
        }
        let end = self.cumulative.last().map_or(0.0, |(_, sum)| *sum);
        let drawn = rng.random::<f64>() * end;
        let index = self.cumulative.partition_point(|(_, sum)| *sum <= drawn);
        self.cumulative[index.min(self.cumulative.len() - 1)].0
    }
}

/// Returns the steps of a worker in a closed loop, with their weights.
fn weights(mix: Mix, worker: u64) -> Vec<(Step, f64)> {
    match mix {
        Mix::ReadersAndWriters { readers, .. } => match worker < readers {
            true => vec![(Step::Read, 1.0)],
            false => vec![(Step::Write, 1.0)],
        },
        Mix::Ratio(Ratio { reads, writes }) => vec![(Step::Read, reads), (Step::Write, writes)],
        Mix::Named(workload) => weights_of_workload(workload),
        // Its calls take turns.
        Mix::Call => Vec::new(),
    }
}

fn weights_of_workload(workload: NamedWorkload) -> Vec<(Step, f64)> {
    match workload {
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
