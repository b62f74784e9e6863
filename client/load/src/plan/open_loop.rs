//! The load of an open loop: the rate, how it changes, and how the operations are spaced.

use std::time::Duration;

use serde_json::{Value, json};

use crate::plan::choices::{Arrival, LoadScheduleKind};
use crate::plan::flag::{show_duration, value_name};
use crate::plan::load_schedule::{LoadSchedule, Ramp};

/// An open loop: operations start when they are due, whether or not those before have been answered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OpenLoop {
    pub(crate) rate: Rate,
    pub(crate) arrival: Arrival,
    /// The most operations in flight. One that is due beyond that is dropped, and counted as dropped.
    pub(crate) max_in_flight: u64,
}

/// A rate in operations per second, from the beginning of the warm-up on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Rate {
    Const(f64),
    Step { ramp: Ramp, every: Duration },
    Line(Ramp),
}

impl OpenLoop {
    /// Returns the rate that is asked for this many nanoseconds after the start, in operations per second.
    pub(crate) fn rate_at(&self, nanos: u64) -> Option<f64> {
        let schedule = self.schedule(1).ok()?;
        Some(schedule.rate_at(Duration::from_nanos(nanos)))
    }

    /// Says the flags that set this load.
    pub(crate) fn flags(&self, say: &mut impl FnMut(&'static str, Value)) {
        let time = |of: Duration| json!(show_duration(of));
        let (kind, ramp, every) = match self.rate {
            Rate::Const(rate) => {
                say("rps", json!(rate));
                (LoadScheduleKind::Const, None, None)
            }
            Rate::Step { ramp, every } => (LoadScheduleKind::Step, Some(ramp), Some(every)),
            Rate::Line(ramp) => (LoadScheduleKind::Line, Some(ramp), None),
        };
        let max_duration = ramp.and_then(|ramp| ramp.max_duration);
        say("load-schedule", json!(value_name(kind)));
        say("load-start", json!(ramp.map(|ramp| ramp.start)));
        say("load-step", json!(ramp.map(|ramp| ramp.step)));
        say("load-step-duration", every.map_or(Value::Null, time));
        say("load-end", json!(ramp.and_then(|ramp| ramp.end)));
        say("load-max-duration", max_duration.map_or(Value::Null, time));
        say("arrival", json!(value_name(self.arrival)));
        say("max-in-flight", json!(self.max_in_flight));
    }

    /// Returns the rate over time, in frames of `frame_ops` operations each.
    ///
    /// # Errors
    /// If no load can follow the rate. The text names the flag.
    pub(crate) fn schedule(&self, frame_ops: u64) -> Result<LoadSchedule, String> {
        let per_frame = |ops: f64| ops / frame_ops as f64;
        let in_frames = |ramp: Ramp| Ramp {
            start: per_frame(ramp.start),
            step: per_frame(ramp.step),
            end: ramp.end.map(per_frame),
            max_duration: ramp.max_duration,
        };
        let schedule = match self.rate {
            Rate::Const(rate) => LoadSchedule::constant(per_frame(rate)),
            Rate::Step { ramp, every } => LoadSchedule::step(in_frames(ramp), every),
            Rate::Line(ramp) => LoadSchedule::line(in_frames(ramp)),
        };
        schedule.map_err(|error| error.to_string())
    }
}
