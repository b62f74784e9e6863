//! The conditions of the runs: what a reader has to know before trusting a comparison.

use std::collections::BTreeMap;

use crate::report::compare::model::Difference;
use crate::report::model::Report;

/// Returns the settings, machines and servers that were not the same for all runs.
pub(super) fn differences(a: &[Report], b: &[Report]) -> Vec<Difference> {
    let (a, b) = (setups(a), setups(b));
    let mut names: Vec<_> = a.keys().chain(b.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let side = |setups: &BTreeMap<String, Vec<String>>, what: &str| {
        setups.get(what).cloned().unwrap_or_default()
    };
    names
        .into_iter()
        .map(|what| Difference {
            what: what.clone(),
            a: side(&a, what),
            b: side(&b, what),
        })
        // Two values on one side are a difference, even if the other side has both.
        .filter(|difference| difference.a != difference.b || difference.a.len() > 1)
        .collect()
}

fn setups(reports: &[Report]) -> BTreeMap<String, Vec<String>> {
    let mut setups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut add = |what: String, value: String| {
        let values = setups.entry(what).or_default();
        if let Err(place) = values.binary_search(&value) {
            values.insert(place, value);
        }
    };
    for report in reports {
        let machine = &report.machine;
        add(
            "machine".to_owned(),
            format!("{} {}, {} cores", machine.os, machine.arch, machine.cores),
        );
        add("client version".to_owned(), report.version.clone());
        add("server version".to_owned(), report.server.version.clone());
        add(
            "server embedded".to_owned(),
            report.server.embedded.to_string(),
        );
        for (flag, value) in report.settings_in_effect() {
            // Runs need not have the same seed to be comparable.
            if flag != "seed" && flag != "name" {
                add(format!("--{flag}"), value);
            }
        }
    }
    setups
}

pub(super) fn warnings(a: &[Report], b: &[Report]) -> Vec<String> {
    let mut warnings = Vec::new();
    for (side, reports) in [('A', a), ('B', b)] {
        for (index, report) in reports.iter().enumerate() {
            let run = index + 1;
            if let Some(signal) = report.interrupted {
                warnings.push(format!(
                    "run {run} of {side} was interrupted by signal {signal}"
                ));
            }
            if report
                .verify
                .as_ref()
                .is_some_and(|verify| verify.verdict == "violation")
            {
                warnings.push(format!("run {run} of {side} is not linearizable"));
            }
            let own = report.warnings.iter();
            warnings.extend(own.map(|warning| format!("run {run} of {side}: {warning}")));
        }
    }
    if a.len() > 1 && b.len() > 1 && one_after_the_other(a, b) {
        warnings.push(
            "all runs of one side were made before those of the other, so a drift of the machine (heat, other load) \
             looks like a difference: let them take turns"
                .to_owned(),
        );
    }
    warnings
}

fn one_after_the_other(a: &[Report], b: &[Report]) -> bool {
    let times = |reports: &[Report]| {
        let times = || reports.iter().map(|report| &report.started_at);
        Some((times().min()?.clone(), times().max()?.clone()))
    };
    let (Some((first_a, last_a)), Some((first_b, last_b))) = (times(a), times(b)) else {
        return false;
    };
    // Times in RFC 3339, UTC, with the same number of digits sort as texts.
    last_a < first_b || last_b < first_a
}
