//! The rate of an open loop, and how it goes on.

use crate::command_line::args::{RunArgs, WhenArgs};
use crate::plan::choices::LoadScheduleKind;
use crate::plan::flag::value_name;
use crate::plan::open_loop::{OpenLoop, Rate};

/// `None` for a closed loop.
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
    Ok(Some(match (kind, when.rps) {
        (LoadScheduleKind::Const, None) => {
            check_nothing_set(when)?;
            return Ok(None);
        }
        (LoadScheduleKind::Const, Some(rate)) => Rate::Const(rate),
        (_, Some(rps)) => {
            return Err(format!(
                "--rps {rps} with --load-schedule {name}: it has --load-start"
            ));
        }
        (LoadScheduleKind::Step, None) => Rate::Step {
            start: needs(when.load_start, "--load-start")?,
            step: needs(when.load_step, "--load-step")?,
            every: when
                .load_step_duration
                .ok_or("--load-schedule step needs --load-step-duration")?,
            end: when.load_end,
            max_duration: when.load_max_duration,
        },
        (LoadScheduleKind::Line, None) => Rate::Line {
            start: needs(when.load_start, "--load-start")?,
            slope: needs(when.load_step, "--load-step")?,
            end: when.load_end,
            max_duration: when.load_max_duration,
        },
    }))
}

/// Without a rate there is nothing for these flags to change.
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
    match rate {
        Rate::Step {
            step,
            end: None,
            max_duration: None,
            ..
        }
        | Rate::Line {
            slope: step,
            end: None,
            max_duration: None,
            ..
        } if step < 0.0 => Err(format!(
            "--load-step {step}: a falling rate needs --load-end or --load-max-duration, or it would become 0"
        )),
        _ => Ok(()),
    }
}
