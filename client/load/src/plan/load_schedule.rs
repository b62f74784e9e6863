//! A rate over time, and its integral: how many operations are to start before a given time.
//!
//! Times are `f64` nanoseconds within: whole nanoseconds are exact for the first 104 days (2^53 ns).

use std::fmt;
use std::time::Duration;

/// The highest rate: one operation a nanosecond, which is the resolution of time here.
pub(crate) const RATE_MAX: f64 = 1e9;
const NANOS_PER_SECOND: f64 = 1e9;

/// A rate over time, in operations per second.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LoadSchedule {
    climb: Climb,
    hold: Hold,
}

/// How the rate changes at first.
#[derive(Clone, Debug, PartialEq)]
enum Climb {
    /// By `step` every `every_nanos`.
    Steps {
        start: f64,
        step: f64,
        every_nanos: f64,
    },
    /// By `slope` within each second.
    Line { start: f64, slope: f64 },
}

/// The rate that is kept in the end: never (infinity), later, or from the start.
#[derive(Clone, Debug, PartialEq)]
struct Hold {
    from_nanos: f64,
    /// How many operations come before.
    count: f64,
    /// 0 if none come after.
    rate: f64,
}

/// What a rate that changes begins with, and where that ends. The fields are ghz's flags, and mean what they mean there
/// (its page "Load Options").
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ramp {
    /// `--load-start`: the rate at the start.
    pub(crate) start: f64,
    /// `--load-step`: what a step adds to the rate, or a second to that of a line. Negative: the rate falls.
    pub(crate) step: f64,
    /// `--load-end`: the rate to stay at when it is reached, or when `max_duration` is over, whichever is first. Without it
    /// that is the rate reached by then.
    pub(crate) end: Option<f64>,
    /// `--load-max-duration`: after this the rate changes no more, but to `end` if there is one.
    pub(crate) max_duration: Option<Duration>,
}

/// A schedule that cannot be. Its text names the flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadSchedule(String);

impl fmt::Display for BadSchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadSchedule {}

impl LoadSchedule {
    /// `const`: the same rate throughout.
    ///
    /// # Errors
    /// If `rate` is not above 0, or above one a nanosecond.
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

    /// `step`: a rate that changes by `ramp.step` every `step_duration`.
    ///
    /// # Errors
    /// If a rate is none, if it would never change, or never come to `ramp.end`.
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
        // The rate of step n is start + n * step; the first step that is there, or past it.
        let reaches = |rate: f64| ((rate - ramp.start) / ramp.step).ceil() * every_nanos;
        Ok(Self::ramp(climb, &ramp, reaches))
    }

    /// `line`: a rate that changes evenly, by `ramp.step` each second. (ghz itself draws it as steps of one second.)
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

    /// `reaches` tells when the climb would come to a rate.
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
            // What has fallen to nothing stays there.
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

    /// The rate at a time after the start, per second.
    pub(crate) fn rate_at(&self, offset: Duration) -> f64 {
        let at = nanos(offset);
        match at < self.hold.from_nanos {
            true => self.climb.rate_at(at),
            false => self.hold.rate,
        }
    }

    /// How many operations are to start before a time after the start: the integral of the rate, not rounded.
    pub(crate) fn count_at(&self, offset: Duration) -> f64 {
        let at = nanos(offset);
        let hold = &self.hold;
        match at < hold.from_nanos {
            true => self.climb.count_at(at),
            false => hold.count + (at - hold.from_nanos) * hold.rate / NANOS_PER_SECOND,
        }
    }

    /// When the count is reached, in nanoseconds from the start. `None` if it never is, or not within 584 years.
    pub(crate) fn time_of(&self, count: f64) -> Option<u64> {
        let hold = &self.hold;
        let at = match count < hold.count {
            true => self.climb.time_of(count),
            false => hold.from_nanos + (count - hold.count) * NANOS_PER_SECOND / hold.rate,
        };
        // Also false for the NaN and infinity of a rate that has fallen to nothing.
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

    /// The integral of the rate from 0 to `at`. Infinity has infinitely many before it.
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

    /// The count in the first `steps` whole steps: that many of `start`, and 0 + 1 + ... of `step`.
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

    /// When the count is reached, which it must be before the rate falls to 0.
    fn time_of(&self, count: f64) -> f64 {
        match *self {
            Self::Steps {
                start,
                step,
                every_nanos,
            } => {
                // Without rounding the root would be the step. It is at most one off, which is put right.
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

/// The first `x >= 0` where `a x^2 + b x` is `c >= 0`, without subtracting what may be nearly equal.
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
