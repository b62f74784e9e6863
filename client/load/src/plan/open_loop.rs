//! When operations are due in an open loop: the rate, how it goes on, and how they are spaced.

use std::time::Duration;

use serde_json::{Value, json};

use crate::plan::choices::{Arrival, LoadScheduleKind};
use crate::plan::flag::{show_duration, value_name};
use crate::plan::load_schedule::{LoadSchedule, Ramp};

/// An open loop: operations start when they are due, whatever became of those before.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OpenLoop {
    pub(crate) rate: Rate,
    pub(crate) arrival: Arrival,
    pub(crate) max_in_flight: u64,
}

/// Operations per second, from the beginning of the warm-up on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Rate {
    Const(f64),
    Step {
        start: f64,
        step: f64,
        every: Duration,
        end: Option<f64>,
        max_duration: Option<Duration>,
    },
    Line {
        start: f64,
        /// A second.
        slope: f64,
        end: Option<f64>,
        max_duration: Option<Duration>,
    },
}

impl OpenLoop {
    /// Operations per second that are asked for so many nanoseconds after the start.
    pub(crate) fn rate_at(&self, nanos: u64) -> Option<f64> {
        let schedule = self.schedule(1).ok()?;
        Some(schedule.rate_at(Duration::from_nanos(nanos)))
    }

    pub(crate) fn flags(&self, say: &mut impl FnMut(&'static str, Value)) {
        let time = |of: Duration| json!(show_duration(of));
        let (kind, start, step, every, end, max_duration) = match self.rate {
            Rate::Const(rate) => {
                say("rps", json!(rate));
                (LoadScheduleKind::Const, None, None, None, None, None)
            }
            Rate::Step {
                start,
                step,
                every,
                end,
                max_duration,
            } => (
                LoadScheduleKind::Step,
                Some(start),
                Some(step),
                Some(every),
                end,
                max_duration,
            ),
            Rate::Line {
                start,
                slope,
                end,
                max_duration,
            } => (
                LoadScheduleKind::Line,
                Some(start),
                Some(slope),
                None,
                end,
                max_duration,
            ),
        };
        say("load-schedule", json!(value_name(kind)));
        say("load-start", json!(start));
        say("load-step", json!(step));
        say("load-step-duration", every.map_or(Value::Null, time));
        say("load-end", json!(end));
        say("load-max-duration", max_duration.map_or(Value::Null, time));
        say("arrival", json!(value_name(self.arrival)));
        say("max-in-flight", json!(self.max_in_flight));
    }

    /// Its rate, in frames of so many operations. The error names the flag.
    pub(crate) fn schedule(&self, frame_ops: u64) -> Result<LoadSchedule, String> {
        let per_frame = |ops: f64| ops / frame_ops as f64;
        let ramp = |start, step, end: Option<f64>, max_duration| Ramp {
            start: per_frame(start),
            step: per_frame(step),
            end: end.map(per_frame),
            max_duration,
        };
        let schedule = match self.rate {
            Rate::Const(rate) => LoadSchedule::constant(per_frame(rate)),
            Rate::Step {
                start,
                step,
                every,
                end,
                max_duration,
            } => LoadSchedule::step(ramp(start, step, end, max_duration), every),
            Rate::Line {
                start,
                slope,
                end,
                max_duration,
            } => LoadSchedule::line(ramp(start, slope, end, max_duration)),
        };
        schedule.map_err(|error| error.to_string())
    }
}
