//! `sweep`: the latency at several rates.

use crate::command_line::args::SweepArgs;
use crate::commands::outputs::Outputs;
use crate::commands::prober::Prober;
use crate::commands::search::rates;
use crate::run::error::RunError;

/// How many rates there are unless flags name them.
const RATES: u32 = 10;

/// Measures at each rate and writes the report. Returns the exit code.
pub(crate) fn sweep(args: &SweepArgs) -> Result<i32, RunError> {
    let outputs = Outputs::new(&args.run).map_err(RunError::Arguments)?;
    let mut prober = Prober::open(&args.run, args.settle, args.window)?;
    let mut at: Vec<f64> = args.rates.iter().map(|&rate| rate as f64).collect();
    if at.is_empty() {
        let most = prober.closed_loop_rate()?;
        at = rates((most / 10.0).max(1.0), most.max(1.0), RATES);
    }
    let mut probes = Vec::new();
    for rate in at {
        let probe = prober.probe(rate)?;
        let is_interrupted = probe.report.interrupted.is_some();
        probes.push(probe);
        if is_interrupted {
            break;
        }
    }
    prober.close()?;
    let headline = format!("{} rates", probes.len());
    outputs
        .write_sweep(&headline, None, &probes)
        .map_err(|error| RunError::Failed(error.to_string()))?;
    Ok(0)
}
