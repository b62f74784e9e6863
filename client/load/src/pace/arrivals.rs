//! When operations are meant to start: a sequence that is computed beforehand, without a clock.
//!
//! A [`LoadSchedule`] is a rate over time. The integral of the rate is a count over time. [`Arrivals`] inverts the count:
//! an arrival is the time at which the count reaches a given number. Each arrival is computed from its number and not
//! from the arrival before, so that rounding errors do not add up over hours.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::plan::choices::Arrival;
use crate::plan::load_schedule::LoadSchedule;

/// When operations are meant to start, in nanoseconds after the start of the run, in ascending order.
///
/// The same arguments give the same sequence. It ends after a given number, or when the rate falls to 0.
///
/// [`Arrivals::share`] splits the sequence among threads. Every thread draws the whole sequence and keeps its share, so
/// that a seed means the same arrivals for any number of threads. A draw costs some 20 ns. (Independent streams, each with
/// a part of the rate, would also add up to a Poisson process, but to another one for each number of threads.)
#[derive(Clone, Debug)]
pub(crate) struct Arrivals {
    schedule: LoadSchedule,
    counts: Counts,
    /// The number of the next arrival, counted from 0.
    number: u64,
    /// The distance from one number to the next.
    stride: u64,
    /// The number at which the sequence ends.
    end: u64,
}

/// The counts at which an operation arrives.
#[derive(Clone, Debug)]
enum Counts {
    /// 0, 1, 2 and so on: the number of each arrival.
    Whole,
    /// A Poisson process of rate 1: its gaps are exponential with mean 1. The inverse of the integral of any rate maps it
    /// to a Poisson process of that rate. Source: E. Cinlar, "Introduction to Stochastic Processes",
    /// section 4.7.
    Random {
        rng: SmallRng,
        reached: f64,
        /// How many counts were drawn.
        drawn: u64,
    },
}

impl Arrivals {
    /// Returns the whole sequence. Only `Poisson` uses the seed.
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

    /// Ends the sequence after `count` arrivals, in all of its shares together.
    #[cfg(test)]
    pub(crate) fn first(mut self, count: u64) -> Self {
        self.end = count;
        self
    }

    /// Keeps the arrivals whose number is `index` modulo `of`. The sequence must be whole, and none of it taken.
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

/// Draws from the exponential distribution with mean 1, by the inverse of its distribution function. Source: D. E. Knuth, "The Art of Computer Programming",
/// volume 2, section 3.4.1.
pub(crate) fn exponential(rng: &mut SmallRng) -> f64 {
    // Mirrors [0, 1) to (0, 1], where the logarithm is finite.
    -(1.0 - rng.random::<f64>()).ln()
}

#[cfg(test)]
mod tests;
