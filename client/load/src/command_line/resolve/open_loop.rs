//! The load of an open loop: its rate, and how the rate changes.

use crate::command_line::args::{RunArgs, WhenArgs};
use crate::plan::choices::LoadScheduleKind;
use crate::plan::flag::value_name;
use crate::plan::load_schedule::Ramp;
use crate::plan::open_loop::{OpenLoop, Rate};

/// Returns the load of an open loop, or `None` for a closed loop.
///
/// # Errors
/// If the flags do not add up to a rate that a load can follow. The text names the flags.
pub(crate) fn resolve(args: &RunArgs) -> Result<Option<OpenLoop>, String> {
    let when = &args.when;
    let Some(rate) = rate(when)? else {
        return Ok(None);
    };
    check_end(rate)?;
    let open_loop = OpenLoop {
        rate,
        arrival: when.arrival,
        max_in_flight: when.max_in_flight,
    };
    open_loop.schedule(args.how.frame_ops)?;
    Ok(Some(open_loop))
}

fn rate(when: &WhenArgs) -> Result<Option<Rate>, String> {
    let kind = when.load_schedule;
    let name = value_name(kind);
    let needs = |value: Option<f64>, flag: &str| {
        value.ok_or_else(|| format!("--load-schedule {name} needs {flag}"))
    };
    let ramp = || -> Result<Ramp, String> {
        Ok(Ramp {
            start: needs(when.load_start, "--load-start")?,
            step: needs(when.load_step, "--load-step")?,
            end: when.load_end,
            max_duration: when.load_max_duration,
        })
    };
    Ok(Some(match (kind, when.rps) {
        (LoadScheduleKind::Const, None) => {
            check_nothing_set(when)?;
            return Ok(None);
        }
        (LoadScheduleKind::Const, Some(rate)) => Rate::Const(rate),
        (_, Some(rps)) => {
            return Err(format!(
                "--rps {rps} with --load-schedule {name}: use --load-start"
            ));
        }
        (LoadScheduleKind::Step, None) => Rate::Step {
            ramp: ramp()?,
            every: when
                .load_step_duration
                .ok_or("--load-schedule step needs --load-step-duration")?,
        },
        (LoadScheduleKind::Line, None) => Rate::Line(ramp()?),
    }))
}

/// Refuses flags that change a rate where there is none.
fn check_nothing_set(when: &WhenArgs) -> Result<(), String> {
    let flags = [
        (when.load_start.is_some(), "--load-start"),
        (when.load_step.is_some(), "--load-step"),
        (when.load_end.is_some(), "--load-end"),
        (when.load_step_duration.is_some(), "--load-step-duration"),
        (when.load_max_duration.is_some(), "--load-max-duration"),
    ];
    match flags.iter().find(|(is_set, _)| *is_set) {
        Some((_, flag)) => Err(format!("{flag} needs --load-schedule step or line")),
        None => Ok(()),
    }
}

fn check_end(rate: Rate) -> Result<(), String> {
    let ramp = match rate {
        Rate::Const(_) => return Ok(()),
        Rate::Step { ramp, .. } | Rate::Line(ramp) => ramp,
    };
    if ramp.step < 0.0 && ramp.end.is_none() && ramp.max_duration.is_none() {
        return Err(format!(
            "--load-step {}: a falling rate needs --load-end or --load-max-duration, or it would become 0",
            ramp.step
        ));
    }
    Ok(())
}
