//! Runs at given rates against one server, one after the other.

use std::io::{self, Write as _};
use std::time::Duration;

use crate::command_line::args::RunArgs;
use crate::command_line::resolve;
use crate::commands::clean::clean;
use crate::commands::search::Probe;
use crate::report::model::Report;
use crate::run::error::RunError;
use crate::run::runner::Runner;
use crate::run::view::NoView;

/// Does the runs of `find-max` and `sweep`.
pub(crate) struct Prober<'a> {
    runner: Runner,
    args: &'a RunArgs,
    settle: Duration,
    window: Duration,
}

impl<'a> Prober<'a> {
    /// Connects to the server. Each run warms up for `settle` and measures for `window`.
    pub(crate) fn open(
        args: &'a RunArgs,
        settle: Duration,
        window: Duration,
    ) -> Result<Self, RunError> {
        let settings = resolve::settings(args).map_err(RunError::Arguments)?;
        Ok(Self {
            runner: Runner::open(args.address.as_deref(), &settings)?,
            args,
            settle,
            window,
        })
    }

    /// Does a run at a rate, in operations per second, and prints how it went.
    pub(crate) fn probe(&mut self, rate: f64) -> Result<Probe, RunError> {
        let probe = Probe::new(rate, self.run(Some(rate))?);
        if !self.args.report.quiet {
            let _ = writeln!(io::stderr(), "{probe}");
        }
        Ok(probe)
    }

    /// Returns the rate that a closed loop reaches.
    pub(crate) fn closed_loop_rate(&mut self) -> Result<f64, RunError> {
        Ok(self.run(None)?.ops_per_second)
    }

    /// Disconnects, and cleans up before that if it is asked to.
    pub(crate) fn close(self) -> Result<(), RunError> {
        let settings = resolve::settings(self.args).map_err(RunError::Arguments)?;
        let cleaned = clean(self.args, &self.runner, &settings);
        self.runner.close()?;
        cleaned
    }

    fn run(&mut self, rate: Option<f64>) -> Result<Report, RunError> {
        let mut args = self.args.clone();
        args.when.rps = rate;
        args.stop.warmup = self.settle;
        args.stop.duration = Some(self.window);
        let settings = resolve::settings(&args).map_err(RunError::Arguments)?;
        let labels = resolve::labels(&args);
        self.runner.run(settings, &labels, &mut NoView, None)
    }
}
