//! A rate over time, and its integral: the number of operations that must have started by a given time.
//!
//! Inside, a time is an `f64` in nanoseconds. Whole nanoseconds are exact for the first 104 days (2^53 ns).

use std::fmt;
use std::time::Duration;

/// The highest rate, in operations per second: one a nanosecond, which is the resolution of time here.
pub(crate) const RATE_MAX: f64 = 1e9;
const NANOS_PER_SECOND: f64 = 1e9;

/// A rate over time, in operations per second: it climbs or falls at first, and then holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LoadSchedule {
    climb: Climb,
    hold: Hold,
}

/// The rate until it holds.
#[derive(Clone, Debug, PartialEq)]
enum Climb {
    /// Adds `step` every `every_nanos`.
    Steps {
        start: f64,
        step: f64,
        every_nanos: f64,
    },
    /// Adds `slope` evenly within each second.
    Line { start: f64, slope: f64 },
}

/// The rate that stays.
#[derive(Clone, Debug, PartialEq)]
struct Hold {
    /// From when on: 0 for a constant rate, infinity if the rate changes for ever.
    from_nanos: f64,
    /// The operations before that.
    count: f64,
    /// 0 if there are no operations after that.
    rate: f64,
}

/// A rate that changes. The fields are flags of ghz, with the meaning that ghz gives them (its page "Load Options").
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ramp {
    /// `--load-start`: the rate at the start.
    pub(crate) start: f64,
    /// `--load-step`: what each step adds to the rate, or each second of a line. Negative if the rate falls; never 0.
    pub(crate) step: f64,
    /// `--load-end`: the rate that stays, from the time when it is reached or `max_duration` is over, whichever comes
    /// first. Without it, the rate reached after `max_duration` stays.
    pub(crate) end: Option<f64>,
    /// `--load-max-duration`: how long the rate changes. After it, the rate becomes `end` if there is one, and stays.
    pub(crate) max_duration: Option<Duration>,
}

/// No load can follow the rate. The text begins with the flag to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadSchedule(String);

impl fmt::Display for BadSchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadSchedule {}

impl LoadSchedule {
    /// Returns the schedule `const`: one rate for the whole run.
    ///
    /// # Errors
    /// If `rate` is not above 0 and at most [`RATE_MAX`].
    pub(crate) fn constant(rate: f64) -> Result<Self, BadSchedule> {
        check_rate("rps", rate)?;
        Ok(Self {
            climb: Climb::Line {
                start: rate,
                slope: 0.0,
            },
            hold: Hold {
                from_nanos: 0.0,
                count: 0.0,
                rate,
            },
        })
    }

    /// Returns the schedule `step`: the rate changes by `ramp.step` every `step_duration`.
    ///
    /// # Errors
    /// If a rate is out of range, if the rate would never change, or if it would never reach `ramp.end`.
    pub(crate) fn step(ramp: Ramp, step_duration: Duration) -> Result<Self, BadSchedule> {
        ramp.check()?;
        if step_duration.is_zero() {
            let why = "load-step-duration must be above 0, not 0 s";
            return Err(BadSchedule(why.to_owned()));
        }
        let every_nanos = nanos(step_duration);
        let climb = Climb::Steps {
            start: ramp.start,
            step: ramp.step,
            every_nanos,
        };
        // The rate of step n is start + n * step. A rate between two steps is reached with the later one.
        let reaches = |rate: f64| ((rate - ramp.start) / ramp.step).ceil() * every_nanos;
        Ok(Self::ramp(climb, &ramp, reaches))
    }

    /// Returns the schedule `line`: the rate changes evenly, by `ramp.step` each second. (ghz makes steps of one second
    /// of it.)
    ///
    /// # Errors
    /// As [`LoadSchedule::step`].
    pub(crate) fn line(ramp: Ramp) -> Result<Self, BadSchedule> {
        ramp.check()?;
        let climb = Climb::Line {
            start: ramp.start,
            slope: ramp.step,
        };
        let reaches = |rate: f64| (rate - ramp.start) / ramp.step * NANOS_PER_SECOND;
        Ok(Self::ramp(climb, &ramp, reaches))
    }

    /// `reaches` returns the time at which the climb reaches a rate.
    fn ramp(climb: Climb, ramp: &Ramp, reaches: impl Fn(f64) -> f64) -> Self {
        let at_end = ramp.end.map_or(f64::INFINITY, &reaches);
        let at_max = ramp.max_duration.map_or(f64::INFINITY, nanos);
        let at_zero = match ramp.step < 0.0 {
            true => reaches(0.0),
            false => f64::INFINITY,
        };
        let from_nanos = at_end.min(at_max).min(at_zero);
        let rate = match ramp.end {
            Some(end) => end,
            // A rate that has fallen to 0 stays 0.
            None if at_zero <= at_max => 0.0,
            None => climb.rate_at(from_nanos),
        };
        let count = climb.count_at(from_nanos);
        Self {
            hold: Hold {
                from_nanos,
                count,
                rate,
            },
            climb,
        }
    }

    /// Returns the rate this long after the start, per second.
    pub(crate) fn rate_at(&self, offset: Duration) -> f64 {
        let at = nanos(offset);
        match at < self.hold.from_nanos {
            true => self.climb.rate_at(at),
            false => self.hold.rate,
        }
    }

    /// Returns how many operations must have started this long after the start: the integral of the rate, not rounded.
    pub(crate) fn count_at(&self, offset: Duration) -> f64 {
        let at = nanos(offset);
        let hold = &self.hold;
        match at < hold.from_nanos {
            true => self.climb.count_at(at),
            false => hold.count + (at - hold.from_nanos) * hold.rate / NANOS_PER_SECOND,
        }
    }

    /// Returns when the count is reached, in nanoseconds from the start. `None` if it is never reached, or only after 584
    /// years.
    pub(crate) fn time_of(&self, count: f64) -> Option<u64> {
        let hold = &self.hold;
        let at = match count < hold.count {
            true => self.climb.time_of(count),
            false => hold.from_nanos + (count - hold.count) * NANOS_PER_SECOND / hold.rate,
        };
        // The division by a rate of 0 gives infinity or NaN, for which this is false.
        (at < u64::MAX as f64).then(|| at.round() as u64)
    }
}

impl Ramp {
    fn check(&self) -> Result<(), BadSchedule> {
        let Self {
            start, step, end, ..
        } = *self;
        check_rate("load-start", start)?;
        if !step.is_finite() || step == 0.0 {
            let why = format!("load-step must be a number other than 0, not {step}");
            return Err(BadSchedule(why));
        }
        let Some(end) = end else {
            return Ok(());
        };
        check_rate("load-end", end)?;
        if (end - start) / step < 0.0 {
            let why = format!("load-end {end} is never reached from load-start {start} by {step}");
            return Err(BadSchedule(why));
        }
        Ok(())
    }
}

fn check_rate(flag: &str, rate: f64) -> Result<(), BadSchedule> {
    match rate > 0.0 && rate <= RATE_MAX {
        true => Ok(()),
        false => Err(BadSchedule(format!(
            "{flag} must be above 0 and at most {RATE_MAX} a second, not {rate}"
        ))),
    }
}

fn nanos(duration: Duration) -> f64 {
    duration.as_nanos() as f64
}

impl Climb {
    fn rate_at(&self, at: f64) -> f64 {
        match self {
            Self::Steps {
                start,
                step,
                every_nanos,
            } => start + step * (at / every_nanos).floor(),
            Self::Line { start, slope } => start + slope * at / NANOS_PER_SECOND,
        }
    }

    /// Returns the integral of the rate from 0 to `at`.
    fn count_at(&self, at: f64) -> f64 {
        if at.is_infinite() {
            return f64::INFINITY;
        }
        match self {
            Self::Steps { every_nanos, .. } => {
                let steps = (at / every_nanos).floor();
                let rest = at - steps * every_nanos;
                self.count_before(steps) + self.rate_at(at) * rest / NANOS_PER_SECOND
            }
            Self::Line { start, slope } => {
                let seconds = at / NANOS_PER_SECOND;
                (start + slope * seconds / 2.0) * seconds
            }
        }
    }

    /// Returns the count in the first whole steps: `start` for each of them, and `step` times 0 + 1 + 2 and so on.
    fn count_before(&self, steps: f64) -> f64 {
        match self {
            Self::Steps {
                start,
                step,
                every_nanos,
            } => {
                let rates = (start + step * (steps - 1.0) / 2.0) * steps;
                rates * every_nanos / NANOS_PER_SECOND
            }
            Self::Line { .. } => 0.0,
        }
    }

    /// Returns when the count is reached. It must be reached before the rate falls to 0.
    fn time_of(&self, count: f64) -> f64 {
        match *self {
            Self::Steps {
                start,
                step,
                every_nanos,
            } => {
                // Rounding may make the root wrong by one step: correct it.
                let per_step = every_nanos / NANOS_PER_SECOND;
                let mut steps = root(step / 2.0, start - step / 2.0, count / per_step).floor();
                while steps > 0.0 && self.count_before(steps) > count {
                    steps -= 1.0;
                }
                while self.count_before(steps + 1.0) <= count && start + step * (steps + 1.0) > 0.0
                {
                    steps += 1.0;
                }
                let rest = (count - self.count_before(steps)) / (start + step * steps);
                steps * every_nanos + rest * NANOS_PER_SECOND
            }
            Self::Line { start, slope } => root(slope / 2.0, start, count) * NANOS_PER_SECOND,
        }
    }
}

/// Returns the first `x >= 0` where `a x^2 + b x` equals `c >= 0`. It never subtracts numbers that may be nearly equal,
/// which would lose digits.
/// Source: W. H. Press and others, "Numerical Recipes", section 5.6, "Quadratic and Cubic Equations".
fn root(a: f64, b: f64, c: f64) -> f64 {
    let sqrt = (b * b + 4.0 * a * c).max(0.0).sqrt();
    match b > 0.0 {
        true => 2.0 * c / (b + sqrt),
        false => (sqrt - b) / (2.0 * a),
    }
}

#[cfg(test)]
pub(crate) mod tests;
