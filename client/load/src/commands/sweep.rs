//! `sweep`: the latency at several rates.

use crate::command_line::args::SweepArgs;
use crate::commands::outputs::Outputs;
use crate::commands::prober::Prober;
use crate::commands::search::{Probe, rates};
use crate::report::numbers::{counted, grouped};
use crate::run::error::RunError;
use crate::run::signals::{self, exit_code};

/// How many rates there are unless flags name them.
const RATES: u32 = 10;

/// Measures at each rate and writes the report. Returns the exit code.
pub(crate) fn sweep(args: &SweepArgs) -> Result<i32, RunError> {
    let outputs = Outputs::for_search(&args.run)?;
    let mut prober = Prober::open(&args.run, args.settle, args.window)?;
    let mut at: Vec<f64> = args.rates.iter().map(|&rate| rate as f64).collect();
    if at.is_empty() {
        let most = prober.closed_loop_rate()?;
        at = rates((most / 10.0).max(1.0), most.max(1.0), RATES);
    }
    let mut probes = Vec::new();
    let rates = at.len();
    prober.expect_runs(rates);
    for rate in at {
        let probe = match prober.probe(rate) {
            // The rates before it are kept.
            Err(RunError::Interrupted(_)) if !probes.is_empty() => break,
            probe => probe?,
        };
        let is_interrupted = probe.report.interrupted.is_some();
        probes.push(probe);
        if is_interrupted {
            break;
        }
    }
    let closed = prober.close();
    let headline = headline(rates, &probes);
    outputs
        .write_sweep(&headline, None, &probes)
        .map_err(|error| RunError::Failed(error.to_string()))?;
    closed?;
    Ok(signals::caught().map_or(0, exit_code))
}

/// Says how many rates there were, and which of them the server could follow.
fn headline(rates: usize, probes: &[Probe]) -> String {
    let measured = match probes.len() == rates {
        true => counted(rates as u64, "rate"),
        false => format!("{} of {rates} rates, then interrupted", probes.len()),
    };
    let held = probes.iter().filter(|probe| probe.holds());
    match held.map(|probe| probe.rate).reduce(f64::max) {
        Some(rate) => format!(
            "{measured}; the highest that held: {}/s",
            grouped(rate.round() as u64)
        ),
        None => format!("{measured}; none held"),
    }
}
