//! Many runs at different rates: how latency goes with throughput, and the highest rate that meets every objective.

use std::fmt;

use crate::report::model::Report;
use crate::run::error::RunError;

/// Doublings from the first rate on, at most: 2^40 times as much as anyone starts with.
const DOUBLINGS_MAX: u32 = 40;

/// How a search goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Search {
    /// The first rate, in operations per second.
    pub(crate) start: f64,
    /// It ends when what is too much is less than this part above what is not.
    pub(crate) precision: f64,
    /// How often the result must hold, of as many runs and one more for each that fails, up to twice as many.
    pub(crate) repeats: u32,
}

/// A run at one rate.
#[derive(Clone, Debug)]
pub(crate) struct Probe {
    pub(crate) rate: f64,
    pub(crate) report: Report,
    /// Why it does not count as held: the objectives that were missed, and what else is wrong.
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
                missed.push(format!("{} dropped", offered.dropped));
            }
            if offered.per_second < offered.requested_per_second * 0.99 {
                missed.push(format!("only {:.0}/s offered", offered.per_second));
            }
        }
        // What piles up is not held, however long it takes to show in the latencies.
        if report.ops_per_second < rate * 0.95 {
            missed.push(format!("only {:.0}/s completed", report.ops_per_second));
        }
        let failed = report.failed_ops();
        if failed > 0 {
            missed.push(format!("{failed} failed"));
        }
        Self {
            rate,
            report,
            missed,
        }
    }

    pub(crate) fn holds(&self) -> bool {
        self.missed.is_empty()
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let p99 = self
            .report
            .latency
            .get("all")
            .and_then(|all| all.response.p99_us);
        write!(f, "{:>12.0}/s  ", self.rate)?;
        match p99 {
            Some(us) => write!(f, "p99 {:>9.3} ms  ", us / 1e3)?,
            None => write!(f, "p99 {:>9}     ", "-")?,
        }
        match self.holds() {
            true => write!(f, "holds"),
            false => write!(f, "does not hold: {}", self.missed.join(", ")),
        }
    }
}

/// What a search found.
#[derive(Clone, Debug)]
pub(crate) struct SearchResult {
    /// The highest rate that held, if any did.
    pub(crate) highest: Option<f64>,
    pub(crate) probes: Vec<Probe>,
    /// It was interrupted, or nothing was too much.
    pub(crate) note: Option<String>,
}

/// Finds the highest rate that holds: doubles until one does not, halves the distance until it is small, and repeats what
/// was found until it has held often enough.
pub(crate) fn find_max(
    search: Search,
    mut probe: impl FnMut(f64) -> Result<Probe, RunError>,
) -> Result<SearchResult, RunError> {
    let mut found = SearchResult {
        highest: None,
        probes: Vec::new(),
        note: None,
    };
    let mut try_at = |rate: f64, found: &mut SearchResult| -> Result<Option<bool>, RunError> {
        let probe = probe(rate)?;
        let holds = probe.holds();
        let interrupted = probe.report.interrupted.is_some();
        found.probes.push(probe);
        if interrupted {
            found.note = Some("it was interrupted".to_owned());
            return Ok(None);
        }
        Ok(Some(holds))
    };

    let (mut low, mut high): (Option<f64>, Option<f64>) = (None, None);
    for _ in 0..DOUBLINGS_MAX {
        let rate = match (low, high) {
            (None, None) => search.start,
            (Some(low), None) => low * 2.0,
            // The first was too much already.
            (None, Some(high)) => high / 4.0,
            (Some(_), Some(_)) => break,
        };
        if rate < 1.0 {
            found.note = Some("not even one operation a second holds".to_owned());
            return Ok(found);
        }
        match try_at(rate, &mut found)? {
            None => return Ok(found),
            Some(true) => low = Some(rate),
            Some(false) => high = Some(rate),
        }
    }
    let (Some(mut low), Some(mut high)) = (low, high) else {
        found.highest = low;
        found.note = Some("no rate was too much".to_owned());
        return Ok(found);
    };
    loop {
        while high > low * (1.0 + search.precision) {
            let rate = (low * high).sqrt();
            match try_at(rate, &mut found)? {
                None => return Ok(found),
                Some(true) => low = rate,
                Some(false) => high = rate,
            }
        }
        let (mut held, mut failed) = (1, 0);
        while held < search.repeats && failed < search.repeats {
            match try_at(low, &mut found)? {
                None => return Ok(found),
                Some(true) => held += 1,
                Some(false) => failed += 1,
            }
        }
        if held >= search.repeats {
            found.highest = Some(low);
            return Ok(found);
        }
        // It held by chance.
        (low, high) = (low / (1.0 + search.precision), low);
        if low < 1.0 {
            found.note = Some("nothing holds every time".to_owned());
            return Ok(found);
        }
    }
}

/// Rates from `from` to `to`, each so many times the one before.
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
    use super::*;
    use crate::report::sample;

    const SEARCH: Search = Search {
        start: 100.0,
        precision: 0.05,
        repeats: 3,
    };

    /// The report of a run that completed so many operations per second, and in which nothing went wrong.
    fn report(ops_per_second: f64) -> Report {
        Report {
            completed: ops_per_second.round() as u64,
            ops_per_second,
            ..sample::nothing()
        }
    }

    /// A server that holds what `holds` says of the rate and the number of the run.
    fn search(holds: impl Fn(f64, usize) -> bool) -> SearchResult {
        let mut run = 0;
        find_max(SEARCH, |rate| {
            run += 1;
            let mut probe = Probe::new(rate, report(rate));
            if !holds(rate, run) {
                probe.missed.push("p99<5ms".to_owned());
            }
            Ok(probe)
        })
        .unwrap()
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
    fn what_held_by_chance_is_not_the_result() {
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
    fn a_search_ends_where_nothing_holds_or_all_does() {
        let nothing = search(|_, _| false);
        assert_eq!(nothing.highest, None);
        assert!(nothing.note.unwrap().contains("not even one"));
        let all = search(|_, _| true);
        assert!(all.highest.unwrap() > 1e12);
        assert!(all.note.unwrap().contains("no rate was too much"));
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
    fn rates_grow_evenly() {
        let rates = rates(10.0, 1_000.0, 3);
        let rounded: Vec<i64> = rates.iter().map(|rate| rate.round() as i64).collect();
        assert_eq!(rounded, [10, 100, 1_000]);
    }
}
