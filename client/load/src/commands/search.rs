//! The search for the highest rate that meets every objective.

use std::fmt;

use crate::report::model::Report;
use crate::report::numbers::{grouped, latency};
use crate::report::wrap::{WIDTH, wrapped};

/// The most doublings of the first rate: 2^40 times as much as any server can do.
const DOUBLINGS_MAX: u32 = 40;

/// How to search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SearchOptions {
    /// The first rate, in operations per second.
    pub(crate) start: f64,
    /// The search ends when the lowest rate that does not hold is less than this fraction above the highest one that does.
    pub(crate) precision: f64,
    /// How many runs must hold the result. For each that does not hold there may be one more, up to as many again.
    pub(crate) repeats: u32,
}

/// A run at one rate.
#[derive(Clone, Debug)]
pub(crate) struct Probe {
    pub(crate) rate: f64,
    pub(crate) report: Report,
    /// Why the run does not hold the rate: the objectives that were missed, and what else went wrong.
    pub(crate) missed: Vec<String>,
}

impl Probe {
    pub(crate) fn new(rate: f64, report: Report) -> Self {
        let slos = report.slos.iter().filter(|slo| !slo.met);
        let mut missed: Vec<String> = slos
            .map(|slo| format!("{} (it was {})", slo.slo, slo.actual))
            .collect();
        if let Some(offered) = &report.offered {
            if offered.dropped > 0 {
                missed.push(format!("{} dropped", grouped(offered.dropped)));
            }
            if offered.per_second < offered.requested_per_second * 0.99 {
                let offered = grouped(offered.per_second.round() as u64);
                missed.push(format!("only {offered}/s offered"));
            }
        }
        // Operations that pile up miss the rate, even if their latencies do not show it yet.
        if report.ops_per_second < rate * 0.95 {
            let completed = grouped(report.ops_per_second.round() as u64);
            missed.push(format!("only {completed}/s completed"));
        }
        let failed = report.failed_ops();
        if failed > 0 {
            missed.push(format!("{} failed", grouped(failed)));
        }
        Self {
            rate,
            report,
            missed,
        }
    }

    /// Returns whether the run met every objective at its rate.
    pub(crate) fn holds(&self) -> bool {
        self.missed.is_empty()
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.report.latency.get("all");
        let p99 = latency(all.and_then(|all| all.response.p99_us));
        let rate = grouped(self.rate.round() as u64);
        let start = format!("{rate:>12}/s  p99 {p99:>8}  ");
        if self.holds() {
            return write!(f, "{start}holds");
        }
        let missed = self.missed.iter().enumerate();
        let missed = missed.map(|(index, missed)| match index {
            0 => format!("does not hold: {missed}"),
            _ => missed.clone(),
        });
        let lines = wrapped(missed, ", ", WIDTH - start.len());
        let next_line = format!("\n{:width$}", "", width = start.len());
        write!(f, "{start}{}", lines.join(&next_line))
    }
}

/// The result of a search.
#[derive(Clone, Debug)]
pub(crate) struct SearchResult {
    /// The highest rate that holds, if there is one.
    pub(crate) highest: Option<f64>,
    pub(crate) probes: Vec<Probe>,
    /// Why the search ended before its time.
    pub(crate) note: Option<String>,
}

/// Finds the highest rate that holds.
///
/// The search doubles the rate until it does not hold, narrows the range between the last two rates, and repeats the result
/// until it has held often enough.
///
/// # Errors
/// The first error of `probe`.
pub(crate) fn find_max<E>(
    options: SearchOptions,
    probe: impl FnMut(f64) -> Result<Probe, E>,
) -> Result<SearchResult, E> {
    let mut search = Search {
        options,
        probe,
        probes: Vec::new(),
    };
    let (highest, note) = match search.run() {
        Ok(rate) => (Some(rate), None),
        Err(End::Early { highest, why }) => (highest, Some(why.to_owned())),
        Err(End::Failed(error)) => return Err(error),
    };
    Ok(SearchResult {
        highest,
        probes: search.probes,
        note,
    })
}

struct Search<P> {
    options: SearchOptions,
    probe: P,
    probes: Vec<Probe>,
}

/// Why a search ends before it has a result.
enum End<E> {
    Early {
        highest: Option<f64>,
        why: &'static str,
    },
    Failed(E),
}

impl<P, E> Search<P>
where
    P: FnMut(f64) -> Result<Probe, E>,
{
    fn run(&mut self) -> Result<f64, End<E>> {
        let (mut low, mut high) = self.bracket()?;
        loop {
            let rate = self.narrow(low, high)?;
            if self.holds_again(rate)? {
                return Ok(rate);
            }
            // The rate held by chance: search below it.
            (low, high) = (rate / (1.0 + self.options.precision), rate);
            if low < 1.0 {
                return Err(early("no rate holds every time"));
            }
        }
    }

    /// Returns a rate that holds and a higher one that does not.
    fn bracket(&mut self) -> Result<(f64, f64), End<E>> {
        let (mut low, mut high) = (None, None);
        for _ in 0..DOUBLINGS_MAX {
            let rate = match (low, high) {
                (None, None) => self.options.start,
                (Some(low), None) => low * 2.0,
                // The first rate was too high.
                (None, Some(high)) => high / 4.0,
                (Some(low), Some(high)) => return Ok((low, high)),
            };
            if rate < 1.0 {
                return Err(early("not even one operation a second holds"));
            }
            match self.holds(rate)? {
                true => low = Some(rate),
                false => high = Some(rate),
            }
        }
        match (low, high) {
            (Some(low), Some(high)) => Ok((low, high)),
            (highest, _) => Err(End::Early {
                highest,
                why: "no rate was too high",
            }),
        }
    }

    /// Narrows the range between a rate that holds and one that does not. Returns the rate that holds.
    fn narrow(&mut self, mut low: f64, mut high: f64) -> Result<f64, End<E>> {
        while high > low * (1.0 + self.options.precision) {
            let rate = (low * high).sqrt();
            match self.holds(rate)? {
                true => low = rate,
                false => high = rate,
            }
        }
        Ok(low)
    }

    /// Repeats a rate that has held once. Returns whether it holds often enough.
    fn holds_again(&mut self, rate: f64) -> Result<bool, End<E>> {
        let repeats = self.options.repeats;
        let (mut held, mut failed) = (1, 0);
        while held < repeats && failed < repeats {
            match self.holds(rate)? {
                true => held += 1,
                false => failed += 1,
            }
        }
        Ok(held >= repeats)
    }

    fn holds(&mut self, rate: f64) -> Result<bool, End<E>> {
        let probe = (self.probe)(rate).map_err(End::Failed)?;
        let holds = probe.holds();
        let is_interrupted = probe.report.interrupted.is_some();
        self.probes.push(probe);
        match is_interrupted {
            true => Err(early("the search was interrupted")),
            false => Ok(holds),
        }
    }
}

fn early<E>(why: &'static str) -> End<E> {
    End::Early { highest: None, why }
}

/// Returns rates from `from` to `to`. Each is the same multiple of the one before.
pub(crate) fn rates(from: f64, to: f64, steps: u32) -> Vec<f64> {
    match steps {
        0 => Vec::new(),
        1 => vec![to],
        _ => {
            let factor = (to / from).powf(1.0 / f64::from(steps - 1));
            (0..steps)
                .map(|step| from * factor.powi(step.cast_signed()))
                .collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::report::sample;

    const OPTIONS: SearchOptions = SearchOptions {
        start: 100.0,
        precision: 0.05,
        repeats: 3,
    };

    /// The report of a run that completed so many operations per second, and in which nothing went wrong.
    fn report(ops_per_second: f64) -> Report {
        Report {
            completed: ops_per_second.round() as u64,
            ops_per_second,
            ..sample::empty_report()
        }
    }

    /// Searches on a server of which `holds` says whether it holds a rate, by the number of the run.
    fn search(holds: impl Fn(f64, usize) -> bool) -> SearchResult {
        let mut run = 0;
        let found: Result<_, Infallible> = find_max(OPTIONS, |rate| {
            run += 1;
            let mut probe = Probe::new(rate, report(rate));
            if !holds(rate, run) {
                probe.missed.push("p99<5ms".to_owned());
            }
            Ok(probe)
        });
        found.unwrap()
    }

    #[test]
    fn the_highest_rate_is_found_from_below_and_above() {
        for limit in [3.0, 99.0, 100.0, 101.0, 12_345.0, 1e8] {
            let found = search(|rate, _| rate <= limit);
            let highest = found.highest.unwrap();
            assert!(
                highest <= limit && highest * 1.051 > limit,
                "{limit}: {highest}"
            );
            let at_highest = found.probes.iter().filter(|probe| probe.rate == highest);
            assert_eq!(at_highest.count(), 3, "{limit}");
        }
    }

    #[test]
    fn a_rate_that_held_by_chance_is_not_the_result() {
        // Above 1,000 only the first run at each rate holds.
        let seen = std::cell::RefCell::new(Vec::new());
        let found = search(|rate, _| {
            let is_first = !seen.borrow().contains(&rate);
            seen.borrow_mut().push(rate);
            rate <= 1_000.0 || (rate <= 2_000.0 && is_first)
        });
        assert!(found.highest.unwrap() <= 1_000.0);
    }

    #[test]
    fn a_search_ends_if_no_rate_holds_or_every_rate_does() {
        let nothing = search(|_, _| false);
        assert_eq!(nothing.highest, None);
        assert!(nothing.note.unwrap().contains("not even one"));
        let all = search(|_, _| true);
        assert!(all.highest.unwrap() > 1e12);
        assert!(all.note.unwrap().contains("no rate was too high"));
    }

    #[test]
    fn a_probe_holds_only_if_nothing_is_wrong() {
        let good = report(1_000.0);
        assert!(Probe::new(1_000.0, good.clone()).holds());
        let mut failed = good.clone();
        failed.failed.insert("ABORTED".to_owned(), 1);
        assert!(!Probe::new(1_000.0, failed).holds());
        assert!(!Probe::new(1_100.0, good).holds());
    }

    #[test]
    fn each_rate_is_the_same_multiple_of_the_one_before() {
        let rates = rates(10.0, 1_000.0, 3);
        let rounded: Vec<i64> = rates.iter().map(|rate| rate.round() as i64).collect();
        assert_eq!(rounded, [10, 100, 1_000]);
    }
}
