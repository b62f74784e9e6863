//! When operations are meant to start: a sequence worked out beforehand, without a clock.
//!
//! A [`LoadSchedule`] is a rate over time, and so a count over time: its integral. [`Arrivals`] turns that around: an
//! arrival is where the count reaches a given number. Each is computed from its number, not from the one before, so
//! that nothing adds up over hours.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::plan::choices::Arrival;
use crate::plan::load_schedule::LoadSchedule;

/// When operations are meant to start: nanoseconds from the start, never falling. The same arguments give the same
/// sequence. It ends after a given number, or if the rate falls to nothing.
///
/// [`Arrivals::share`] splits it among threads. All of them draw all of it and keep their own, so that a seed means the
/// same arrivals however many threads there are; a draw costs some 20 ns. (Independent streams of a part of the rate
/// each would also add up to a Poisson process, but to another one for each number of threads.)
#[derive(Clone, Debug)]
pub(crate) struct Arrivals {
    schedule: LoadSchedule,
    counts: Counts,
    /// The number of the next one, counted from 0.
    number: u64,
    /// How many numbers on the one after it is.
    stride: u64,
    /// The number at which the sequence ends.
    end: u64,
}

/// The counts at which there are arrivals.
#[derive(Clone, Debug)]
enum Counts {
    /// 0, 1, 2 and so on: their numbers.
    Whole,
    /// Those of a Poisson process of rate 1, whose gaps are exponential with mean 1. Mapped to times by the integral of
    /// any rate, they are a Poisson process of that rate. Source: E. Cinlar, "Introduction to Stochastic Processes",
    /// section 4.7.
    Random {
        rng: SmallRng,
        reached: f64,
        /// How many were drawn.
        drawn: u64,
    },
}

impl Arrivals {
    /// All of them. Only `Poisson` has a use for the seed.
    pub(crate) fn new(schedule: LoadSchedule, arrival: Arrival, seed: u64) -> Self {
        let counts = match arrival {
            Arrival::Constant => Counts::Whole,
            Arrival::Poisson => Counts::Random {
                rng: SmallRng::seed_from_u64(seed),
                reached: 0.0,
                drawn: 0,
            },
        };
        Self {
            schedule,
            counts,
            number: 0,
            stride: 1,
            end: u64::MAX,
        }
    }

    /// Only the first `count` of the whole sequence, in all shares of it together.
    #[cfg(test)]
    pub(crate) fn first(mut self, count: u64) -> Self {
        self.end = count;
        self
    }

    /// Only those whose number, counted from 0, is `index` modulo `of`. To be taken from what is whole and not begun.
    ///
    /// # Panics
    /// If `index` is not below `of`.
    pub(crate) fn share(mut self, index: u64, of: u64) -> Self {
        assert!(index < of, "share {index} of {of}");
        self.number = index;
        self.stride = of;
        self
    }
}

impl Iterator for Arrivals {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let number = self.number;
        if number >= self.end {
            return None;
        }
        self.number = number.checked_add(self.stride)?;
        let count = match &mut self.counts {
            Counts::Whole => number as f64,
            Counts::Random {
                rng,
                reached,
                drawn,
            } => {
                while *drawn <= number {
                    *reached += exponential(rng);
                    *drawn += 1;
                }
                *reached
            }
        };
        self.schedule.time_of(count)
    }
}

/// Exponential with mean 1, by the inverse of its distribution. Source: D. E. Knuth, "The Art of Computer Programming",
/// volume 2, section 3.4.1.
pub(crate) fn exponential(rng: &mut SmallRng) -> f64 {
    // From [0, 1) to (0, 1], whose logarithms are finite.
    -(1.0 - rng.random::<f64>()).ln()
}

#[cfg(test)]
mod tests;
