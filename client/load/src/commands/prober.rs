//! Runs at given rates against one server, one after the other.

use std::io::{self, Write as _};
use std::time::Duration;

use soloist_server::progress::Unit;

use crate::command_line::args::RunArgs;
use crate::command_line::resolve;
use crate::commands::clean::clean;
use crate::commands::search::Probe;
use crate::commands::view;
use crate::pace::stop::Stop;
use crate::plan::settings::Settings;
use crate::record::timeline::Timeline;
use crate::report::live::{Step, Work};
use crate::report::model::Report;
use crate::report::numbers::grouped;
use crate::run::error::RunError;
use crate::run::runner::Runner;
use crate::run::view::View;

/// Does the runs of `find-max` and `sweep`.
pub(crate) struct Prober<'a> {
    runner: Runner,
    args: &'a RunArgs,
    settle: Duration,
    window: Duration,
    /// How many runs have begun.
    runs: usize,
    /// How many there will be, if that is known.
    runs_in_all: Option<usize>,
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
            runner: Runner::open(args.address(), &settings)?,
            args,
            settle,
            window,
            runs: 0,
            runs_in_all: None,
        })
    }

    /// Counts the runs from 0 again, because there will be so many.
    pub(crate) fn expect_runs(&mut self, runs: usize) {
        (self.runs, self.runs_in_all) = (0, Some(runs));
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

    fn view(&mut self, rate: Option<f64>) -> ProbeView {
        self.runs += 1;
        let number = match self.runs_in_all {
            Some(all) => format!("run {} of {all}", self.runs),
            None => format!("run {}", self.runs),
        };
        let what = match rate {
            Some(rate) => format!("{number}: {}/s", grouped(rate.round() as u64)),
            None => format!("{number}: as fast as it can"),
        };
        ProbeView {
            work: view::work(self.args),
            what,
            takes: self.settle + self.window,
            step: None,
        }
    }

    fn run(&mut self, rate: Option<f64>) -> Result<Report, RunError> {
        let mut args = self.args.clone();
        args.when.rps = rate;
        args.stop.warmup = self.settle;
        args.stop.duration = Some(self.window);
        let settings = resolve::settings(&args).map_err(RunError::Arguments)?;
        let labels = resolve::labels(&args);
        let mut view = self.view(rate);
        self.runner.run(settings, &labels, &mut view, None)
    }
}

/// Shows how far a run is. Only a terminal needs that: elsewhere the results are lines, and they come one after the other.
struct ProbeView {
    work: Work,
    what: String,
    takes: Duration,
    /// `None` before and after the run.
    step: Option<Step>,
}

impl View for ProbeView {
    fn work(&self) -> Work {
        self.work
    }

    fn show(&mut self, _: &Settings, _: &Timeline, _: &Stop, _: u64) {
        if self.step.is_none() && self.work.is_bar() {
            let seconds = self.takes.as_secs_f64().ceil() as u64;
            self.step = Some(self.work.step(&self.what, Unit::Seconds, Some(seconds)));
        }
    }

    fn end(&mut self) {
        self.step = None;
    }
}
