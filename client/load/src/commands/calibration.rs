//! What `calibrate` measures, and how it is told.

use std::fmt::{self, Write as _};

use serde::Serialize;

use crate::report::numbers::{grouped, latency};

/// The rate at which lateness is measured, in operations per second.
pub(crate) const PACER_RATE: u64 = 10_000;
/// The rate of calls with a known delay, in operations per second. It is low, so that calls do not wait for each other.
pub(crate) const DELAY_RATE: u64 = 1_000;

/// The result of a calibration. The names of the fields are those of its JSON.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Calibration {
    pub(crate) lateness: Vec<Lateness>,
    pub(crate) rates: Vec<HighestRate>,
    pub(crate) delays: Vec<KnownDelay>,
}

/// How late operations of an open loop start.
#[derive(Debug, Serialize)]
pub(crate) struct Lateness {
    /// What starts them: the pacing thread, which only has them, or an engine, which sends them.
    pub(crate) of: &'static str,
    /// Operations per second.
    pub(crate) rate: u64,
    pub(crate) operations: u64,
    pub(crate) p50_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
    pub(crate) p99_9_us: Option<f64>,
    pub(crate) max_us: Option<f64>,
}

/// The highest rate of one engine, against a server that does nothing.
#[derive(Debug, Serialize)]
pub(crate) struct HighestRate {
    pub(crate) engine: &'static str,
    pub(crate) ops_per_second: f64,
    pub(crate) ops_per_client_cpu_second: Option<f64>,
    pub(crate) p50_us: Option<f64>,
}

/// Latencies of answers that the server holds back for known times.
#[derive(Debug, Serialize)]
pub(crate) struct KnownDelay {
    /// The distribution of the times.
    pub(crate) delays: &'static str,
    pub(crate) operations: u64,
    pub(crate) points: Vec<Point>,
}

/// One percentile of the latencies.
#[derive(Debug, Serialize)]
pub(crate) struct Point {
    pub(crate) percentile: f64,
    /// In the server.
    pub(crate) true_us: f64,
    /// In this tool.
    pub(crate) measured_us: f64,
}

impl Calibration {
    pub(crate) fn to_text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text).expect("a String takes everything");
        text
    }

    /// A part that was not measured is left out. All lines have 80 columns at most.
    fn write(&self, out: &mut String) -> fmt::Result {
        let rate = grouped(PACER_RATE);
        writeln!(out, "how late operations start, at {rate}/s")?;
        writeln!(
            out,
            "  {:<18}{:>10}{:>10}{:>10}{:>10}{:>10}",
            "", "operations", "p50", "p99", "p99.9", "max"
        )?;
        for lateness in &self.lateness {
            lateness.write(out)?;
        }
        if !self.rates.is_empty() {
            writeln!(
                out,
                "\nhighest rate of 110 workers on this machine, against a server that does\nnothing"
            )?;
            writeln!(
                out,
                "  {:<18}{:>14}{:>26}{:>10}",
                "", "operations/s", "operations/CPU-second", "p50"
            )?;
        }
        for rate in &self.rates {
            rate.write(out)?;
        }
        if !self.delays.is_empty() {
            writeln!(
                out,
                "\nmeasured latencies of known delays, from the intended start, at {}/s",
                grouped(DELAY_RATE)
            )?;
        }
        for known in &self.delays {
            known.write(out)?;
        }
        Ok(())
    }
}

impl Lateness {
    fn write(&self, out: &mut String) -> fmt::Result {
        writeln!(
            out,
            "  {:<18}{:>10}{:>10}{:>10}{:>10}{:>10}",
            self.of,
            grouped(self.operations),
            latency(self.p50_us),
            latency(self.p99_us),
            latency(self.p99_9_us),
            latency(self.max_us)
        )
    }
}

impl HighestRate {
    fn write(&self, out: &mut String) -> fmt::Result {
        let per_cpu = self
            .ops_per_client_cpu_second
            .map_or("-".to_owned(), |of| grouped(of as u64));
        writeln!(
            out,
            "  {:<18}{:>14}{:>26}{:>10}",
            self.engine,
            grouped(self.ops_per_second as u64),
            per_cpu,
            latency(self.p50_us)
        )
    }
}

impl KnownDelay {
    fn write(&self, out: &mut String) -> fmt::Result {
        let operations = grouped(self.operations);
        writeln!(out, "  {} ({operations} operations)", self.delays)?;
        for point in &self.points {
            writeln!(
                out,
                "    p{:<6} in the server {}   measured {}   {:+.1} us",
                point.percentile,
                latency(Some(point.true_us)),
                latency(Some(point.measured_us)),
                point.measured_us - point.true_us
            )?;
        }
        Ok(())
    }
}
