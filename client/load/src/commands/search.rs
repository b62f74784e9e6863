//! The search for the highest rate that meets every objective.

use std::fmt;

use crate::report::model::Report;
use crate::report::numbers::{self, counted, grouped, latency};
use crate::report::wrap::{WIDTH, wrapped};

/// The most doublings of the first rate: 2^40 times as much as any server can do.
const DOUBLINGS_MAX: u32 = 40;

/// The most runs of a search. A calm search takes some thirty.
const PROBES_MAX: usize = 300;

/// How many operations that are under way at the end of a run say nothing about its rate.
const CUT_OFF_MAX: u64 = 2;

/// How to search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SearchOptions {
    /// The first rate, in operations per second.
    pub(crate) start: f64,
    /// The search ends when the lowest rate that does not hold is less than this fraction above the highest one that does.
    pub(crate) precision: f64,
    /// How many runs must hold the result. Fewer than these, and than two, may not hold it.
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
            // A run has a whole number of operations: of a low rate, the one that is due after the end is much.
            let requested = offered.requested_per_second * report.elapsed_seconds;
            let is_late = offered.ops as f64 + 1.0 <= requested;
            if offered.per_second < offered.requested_per_second * 0.99 && is_late {
                missed.push(format!(
                    "only {}/s offered",
                    numbers::rate(offered.per_second)
                ));
            }
        }
        // Operations that pile up miss the rate, even if their latencies do not show it yet. A few that the end of the run cut
        // off are no pile, although they are many of a low rate.
        let due = rate * report.elapsed_seconds;
        let piles_up = due == 0.0 || ((report.completed + CUT_OFF_MAX) as f64) < due * 0.95;
        if report.ops_per_second < rate * 0.95 && piles_up {
            let completed = grouped(report.ops_per_second.round() as u64);
            missed.push(format!("only {completed}/s completed"));
        }
        if report.interrupted.is_some() {
            missed.push("interrupted".to_owned());
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
    /// The lowest rate above it that does not hold, if there is one.
    pub(crate) too_high: Option<f64>,
    pub(crate) probes: Vec<Probe>,
    /// Why the search ended before its time.
    pub(crate) note: Option<String>,
}

impl SearchResult {
    /// Returns how many of the runs at a rate have held it.
    pub(crate) fn tally(&self, rate: f64) -> Tally {
        Tally::of(&self.probes, rate)
    }
}

/// How many runs at one rate held it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) held: usize,
    pub(crate) runs: usize,
}

impl Tally {
    fn of(probes: &[Probe], rate: f64) -> Self {
        let at_rate = || probes.iter().filter(|probe| probe.rate == rate);
        Self {
            held: at_rate().filter(|probe| probe.holds()).count(),
            runs: at_rate().count(),
        }
    }

    fn failed(self) -> usize {
        self.runs - self.held
    }

    /// Whether most of the runs held the rate.
    fn is_held(self) -> bool {
        self.held > self.failed()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.held, counted(self.runs as u64, "run"))
    }
}

/// Finds the highest rate that holds.
///
/// The search doubles the rate until it does not hold, narrows the range between the last two rates, and repeats the result
/// until it has held often enough. A failure is believed only if a second run fails, too; and in the end the lowest rate that
/// has failed is tried again, in case all of its failures fell into one disturbance.
///
/// `probe` does a run at a rate; `None` ends the search.
///
/// # Errors
/// The first error of `probe`.
pub(crate) fn find_max<E>(
    options: SearchOptions,
    probe: impl FnMut(f64) -> Result<Option<Probe>, E>,
) -> Result<SearchResult, E> {
    let mut search = Search {
        options,
        probe,
        probes: Vec::new(),
    };
    let (found, note) = match search.run() {
        Ok(rate) => (Some(rate), None),
        Err(End::Early(why)) => (search.highest_held(), Some(why.to_owned())),
        Err(End::Failed(error)) => return Err(error),
    };
    Ok(SearchResult {
        highest: found,
        too_high: search.lowest_failed(found.unwrap_or(0.0)),
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
    Early(&'static str),
    Failed(E),
}

impl<P, E> Search<P>
where
    P: FnMut(f64) -> Result<Option<Probe>, E>,
{
    fn run(&mut self) -> Result<f64, End<E>> {
        let (mut low, mut high) = self.bracket(None)?;
        loop {
            (low, high) = self.narrow(low, high)?;
            if !self.holds_again(low)? {
                // The rate held by chance: search below it.
                (low, high) = self.below(low)?;
                continue;
            }
            if self.fails_again(high)? {
                return Ok(low);
            }
            // The failures were those of a disturbance: search above.
            (low, high) = self.bracket(Some(high))?;
        }
    }

    /// Returns a rate that holds and a higher one that does not. `low` is a rate that holds, if one is known.
    fn bracket(&mut self, mut low: Option<f64>) -> Result<(f64, f64), End<E>> {
        let mut high = None;
        for _ in 0..DOUBLINGS_MAX {
            let rate = match (low, high) {
                (None, None) => self.options.start,
                (Some(low), None) => low * 2.0,
                // The first rate was too high.
                (None, Some(high)) => high / 4.0,
                (Some(low), Some(high)) => return Ok((low, high)),
            };
            if rate < 1.0 {
                return Err(End::Early("not even one operation a second holds"));
            }
            match self.holds(rate)? {
                true => low = Some(rate),
                false => high = Some(rate),
            }
        }
        match (low, high) {
            (Some(low), Some(high)) => Ok((low, high)),
            _ => Err(End::Early("no rate was too high")),
        }
    }

    /// Returns a rate below `high` that holds, and the lowest rate that does not.
    fn below(&mut self, mut high: f64) -> Result<(f64, f64), End<E>> {
        loop {
            let rate = high / (1.0 + self.options.precision);
            if rate < 1.0 {
                return Err(End::Early("no rate holds every time"));
            }
            match self.holds(rate)? {
                true => return Ok((rate, high)),
                false => high = rate,
            }
        }
    }

    /// Narrows the range between a rate that holds and one that does not.
    fn narrow(&mut self, mut low: f64, mut high: f64) -> Result<(f64, f64), End<E>> {
        while high > low * (1.0 + self.options.precision) * (1.0 + f64::EPSILON * 8.0) {
            let rate = (low * high).sqrt();
            match self.holds(rate)? {
                true => low = rate,
                false => high = rate,
            }
        }
        Ok((low, high))
    }

    /// Repeats a rate that holds. Returns whether it has held often enough.
    fn holds_again(&mut self, rate: f64) -> Result<bool, End<E>> {
        let repeats = self.options.repeats as usize;
        loop {
            let tally = Tally::of(&self.probes, rate);
            // Runs that do not hold may be as many, but no more.
            if tally.failed() >= repeats.max(2) {
                return Ok(false);
            }
            if tally.held >= repeats && tally.is_held() {
                return Ok(true);
            }
            self.run_at(rate)?;
        }
    }

    /// Tries a rate that has failed once more. Returns whether it fails; if it holds, as often as it takes to be sure.
    fn fails_again(&mut self, rate: f64) -> Result<bool, End<E>> {
        if !self.run_at(rate)? {
            return Ok(true);
        }
        self.holds_again(rate).map(|holds| !holds)
    }

    /// Returns whether a rate holds. If it does not, asks twice, and a third time if the two do not agree.
    fn holds(&mut self, rate: f64) -> Result<bool, End<E>> {
        if self.run_at(rate)? {
            return Ok(true);
        }
        if !self.run_at(rate)? {
            return Ok(false);
        }
        self.run_at(rate)
    }

    /// Does one run.
    fn run_at(&mut self, rate: f64) -> Result<bool, End<E>> {
        if self.probes.len() >= PROBES_MAX {
            return Err(End::Early(
                "the rates hold at times and at times not: something disturbs the runs",
            ));
        }
        let probe = (self.probe)(rate).map_err(End::Failed)?;
        // A run that was cut off says nothing about its rate.
        let whole = probe.filter(|probe| probe.report.interrupted.is_none());
        let probe = whole.ok_or(End::Early("the search was interrupted"))?;
        let holds = probe.holds();
        self.probes.push(probe);
        Ok(holds)
    }

    /// Returns the highest rate at which most runs have held.
    fn highest_held(&self) -> Option<f64> {
        let rates = self.probes.iter().map(|probe| probe.rate);
        rates
            .filter(|rate| Tally::of(&self.probes, *rate).is_held())
            .reduce(f64::max)
    }

    /// Returns the lowest rate above `rate` at which most runs have not held.
    fn lowest_failed(&self, rate: f64) -> Option<f64> {
        let above = self.probes.iter().map(|probe| probe.rate);
        above
            .filter(|above| *above > rate && !Tally::of(&self.probes, *above).is_held())
            .reduce(f64::min)
    }
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
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    use super::*;
    use crate::report::model::OfferedReport;
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
            Ok(Some(probe))
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
    fn a_low_rate_is_offered_in_full_although_its_operations_are_whole() {
        let offered = |ops: u64, requested: f64| {
            let mut report = report(requested);
            report.elapsed_seconds = 0.5;
            report.offered = Some(OfferedReport {
                requested_per_second: requested,
                ops,
                per_second: ops as f64 / 0.5,
                dropped: 0,
                dropped_by_reason: BTreeMap::new(),
            });
            Probe::new(requested, report).missed.join(" ")
        };
        // 5.4 operations a second are 2.7 in half a second.
        assert!(!offered(2, 5.4).contains("offered"), "{}", offered(2, 5.4));
        assert!(offered(1, 5.4).contains("only 2.00/s offered"));
        assert!(offered(490, 1_000.0).contains("only 980/s offered"));
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
    fn one_failed_run_among_noise_is_not_believed() {
        // Each first run at a rate fails, whatever the rate: no rate is the worse for it.
        let seen = std::cell::RefCell::new(Vec::new());
        let found = search(|rate, _| {
            let is_first = !seen.borrow().contains(&rate);
            seen.borrow_mut().push(rate);
            rate <= 100_000.0 && !is_first
        });
        let highest = found.highest.unwrap();
        assert!(highest > 95_000.0, "{highest}");
    }

    #[test]
    fn a_disturbance_that_lasts_for_several_runs_is_found_out() {
        // Nothing holds during the runs 2 to 7, where the search would end at a hundredth of the true rate.
        let found = search(|rate, run| rate <= 10_000.0 && !(2..=7).contains(&run));
        let highest = found.highest.unwrap();
        assert!(highest > 9_500.0, "{highest}");
    }

    #[test]
    fn the_result_is_as_certain_as_its_runs() {
        // At the result, the second run fails.
        let runs = std::cell::RefCell::new(std::collections::HashMap::new());
        let found = search(|rate, _| {
            let mut runs = runs.borrow_mut();
            let count: &mut u32 = runs.entry(rate.to_bits()).or_default();
            *count += 1;
            rate <= 500.0 && *count != 2
        });
        let highest = found.highest.unwrap();
        let tally = found.tally(highest);
        assert_eq!((tally.held, tally.runs), (3, 4));
        assert_eq!(tally.to_string(), "3 of 4 runs");
        let too_high = found.too_high.unwrap();
        assert!(too_high > highest && found.tally(too_high).held == 0);
    }

    #[test]
    fn an_interrupted_search_has_what_it_has_found() {
        let mut run = 0;
        let found: Result<_, Infallible> = find_max(OPTIONS, |rate| {
            run += 1;
            let mut report = report(rate);
            report.interrupted = (run == 4).then_some(2);
            Ok(Some(Probe::new(rate, report)))
        });
        let found = found.unwrap();
        assert_eq!(found.highest, Some(400.0));
        assert_eq!(found.tally(400.0).to_string(), "1 of 1 run");
        assert!(found.note.unwrap().contains("interrupted"));
    }

    #[test]
    fn a_search_among_nothing_but_noise_ends() {
        let found = search(|_, run| (run * run) % 7 < 3);
        assert!(found.probes.len() <= PROBES_MAX);
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
    fn an_operation_that_the_end_cuts_off_is_no_pile() {
        let of = |completed: u64, rate: f64| {
            let mut report = report(completed as f64 / 0.2);
            (report.completed, report.elapsed_seconds) = (completed, 0.2);
            Probe::new(rate, report).holds()
        };
        assert!(of(1, 10.0) && of(0, 5.0) && of(18, 100.0));
        assert!(!of(15, 100.0) && !of(1_800, 10_000.0));
    }

    #[test]
    fn each_rate_is_the_same_multiple_of_the_one_before() {
        let rates = rates(10.0, 1_000.0, 3);
        let rounded: Vec<i64> = rates.iter().map(|rate| rate.round() as i64).collect();
        assert_eq!(rounded, [10, 100, 1_000]);
    }
}
