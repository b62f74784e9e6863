use std::sync::LazyLock;

use crate::report::compare::model::{CompareError, MetricComparison, MetricVerdict, Verdict};
use crate::report::compare::*;
use crate::report::model::Report;
use crate::report::sample::{Random, Sample, empty_report, report};
use soloist_flags::Style;

/// A run with the figures that are compared: `factor` times as slow as usual, with a noise of `scatter`.
fn run(random: &mut Random, scatter: f64, factor: f64) -> Report {
    static USUAL: LazyLock<Report> = LazyLock::new(empty_report);
    let mut run = USUAL.clone();
    let mut noisy = |value: f64| value * (1.0 + scatter * random.normal());
    run.completed = 1_000_000;
    run.ops_per_second = noisy(100_000.0 / factor);
    run.client_cpu_seconds = noisy(2.1);
    run.server_cpu_seconds = Some(noisy(3.4 * factor));
    let all = run.latency.get_mut("all").unwrap();
    all.response.p50_us = Some(noisy(200.0 * factor));
    all.response.p99_us = Some(noisy(900.0 * factor));
    all.response.p99_9_us = Some(noisy(2_000.0 * factor));
    run
}

/// Runs of both sides, in turns.
fn sides(seed: u64, runs: usize, scatter: f64, factor: f64) -> (Vec<Report>, Vec<Report>) {
    let mut random = Random(seed);
    let mut sides = (Vec::new(), Vec::new());
    for turn in 0..runs {
        let (mut a, mut b) = (
            run(&mut random, scatter, 1.0),
            run(&mut random, scatter, factor),
        );
        a.started_at = format!("2026-11-23T18:{:02}:00Z", 2 * turn);
        b.started_at = format!("2026-11-23T18:{:02}:00Z", 2 * turn + 1);
        sides.0.push(a);
        sides.1.push(b);
    }
    sides
}

/// Few resamples, because the bootstrap decides nothing.
fn quick() -> Options {
    Options {
        resamples: 200,
        ..Options::default()
    }
}

fn metric<'a>(comparison: &'a Comparison, name: &str) -> &'a MetricComparison {
    comparison
        .metrics
        .iter()
        .find(|metric| metric.metric == name)
        .unwrap()
}

#[test]
fn equal_sides_are_rarely_found_to_differ() {
    let options = Options {
        resamples: 1,
        effect_min: 0.0,
        regression_min: 0.0,
        ..Options::default()
    };
    let (mut different, mut regressions) = (0, 0);
    for seed in 0..400 {
        let (a, b) = sides(seed, 8, 0.03, 1.0);
        let comparison = compare(&a, &b, &options).unwrap();
        let p99 = metric(&comparison, "response p99").verdict;
        different += u32::from(matches!(p99, MetricVerdict::Better | MetricVerdict::Worse));
        regressions += u32::from(comparison.verdict == Verdict::Regression);
    }
    // With 8 runs on each side the level is 4.99%, which is 20 of 400. Half of what passes the correction is worse.
    assert!((8..=34).contains(&different), "{different} of 400");
    assert!(regressions <= 16, "{regressions} of 400");
}

#[test]
fn a_real_difference_is_found() {
    let mut found = 0;
    for seed in 0..20 {
        let (a, b) = sides(seed, 8, 0.01, 1.05);
        let comparison = compare(&a, &b, &quick()).unwrap();
        found += u32::from(comparison.is_regression());
        assert_ne!(comparison.verdict, Verdict::Improvement);
    }
    assert!(found >= 19, "{found} of 20");
    let (a, b) = sides(1, 8, 0.01, 1.05);
    let comparison = compare(&a, &b, &quick()).unwrap();
    for name in [
        "ops_per_second",
        "response p50",
        "response p99",
        "server CPU per operation",
    ] {
        assert_eq!(
            metric(&comparison, name).verdict,
            MetricVerdict::Worse,
            "{name}"
        );
    }
    let same = metric(&comparison, "client CPU per operation").verdict;
    assert!(
        !matches!(same, MetricVerdict::Better | MetricVerdict::Worse),
        "{same:?}"
    );
    let p99 = metric(&comparison, "response p99");
    assert!(
        p99.change_low.unwrap() < 0.05 && 0.05 < p99.change_high.unwrap(),
        "{p99:?}"
    );
    assert_eq!(
        compare(&b, &a, &quick()).unwrap().verdict,
        Verdict::Improvement
    );
}

#[test]
fn a_significant_change_may_be_negligible() {
    let (a, b) = sides(1, 10, 0.000_1, 1.01);
    let comparison = compare(&a, &b, &quick()).unwrap();
    assert_eq!(
        metric(&comparison, "response p99").verdict,
        MetricVerdict::Negligible
    );
    assert_eq!(comparison.verdict, Verdict::NoDifference);
    let strict = Options {
        effect_min: 0.001,
        regression_min: 0.001,
        ..quick()
    };
    assert!(compare(&a, &b, &strict).unwrap().is_regression());
    // Worse, but by less than a regression.
    let lenient = Options {
        effect_min: 0.001,
        regression_min: 0.1,
        ..quick()
    };
    let comparison = compare(&a, &b, &lenient).unwrap();
    assert_eq!(
        metric(&comparison, "response p99").verdict,
        MetricVerdict::Worse
    );
    assert_eq!(comparison.verdict, Verdict::NoDifference);
}

#[test]
fn too_few_runs_say_how_many_it_takes() {
    let (a, b) = sides(1, 3, 0.001, 1.5);
    let comparison = compare(&a, &b, &quick()).unwrap();
    let p99 = metric(&comparison, "response p99");
    assert_eq!(
        (p99.verdict, p99.runs_needed),
        (MetricVerdict::TooFewRuns, Some(6))
    );
    assert_eq!(comparison.verdict, Verdict::TooFewRuns);
    let text = comparison.to_text(Style::Plain);
    assert!(
        text.contains("TOO FEW RUNS TO TELL: 6 on each side are the fewest that can tell"),
        "{text}"
    );
    // Nothing else is said of the number of runs.
    let numbers: Vec<_> = text.match_indices(" each needed").collect();
    assert!(!numbers.is_empty());
    for (at, _) in numbers {
        assert!(text[..at].ends_with(": 6"), "{text}");
    }
    // Four runs show that one metric is worse, but not that one of seven is.
    let (a, b) = sides(1, 4, 0.001, 1.5);
    assert_eq!(
        compare(&a, &b, &quick()).unwrap().verdict,
        Verdict::Suspected
    );
    let (a, b) = sides(1, 6, 0.001, 1.5);
    assert_eq!(
        compare(&a, &b, &quick()).unwrap().verdict,
        Verdict::Regression
    );
}

/// `compare --runs 6` of a program with itself: no verdict of any kind, in either direction, but once in twenty times.
#[test]
fn six_runs_of_the_same_program_rarely_have_a_verdict() {
    let options = Options {
        resamples: 1,
        effect_min: 0.0,
        regression_min: 0.0,
        ..Options::default()
    };
    let verdicts = (0..200).map(|seed| {
        let (a, b) = sides(seed, 6, 0.03, 1.0);
        compare(&a, &b, &options).unwrap().verdict
    });
    let wrong = verdicts.filter(|verdict| *verdict != Verdict::NoDifference);
    let wrong = wrong.count();
    assert!(wrong <= 10, "{wrong} of 200");
}

#[test]
fn a_tenth_more_cpu_is_found_in_nine_of_ten_comparisons() {
    let found = (0..50).filter(|seed| {
        let (a, mut b) = sides(*seed, 6, 0.02, 1.0);
        for run in &mut b {
            run.server_cpu_seconds = run.server_cpu_seconds.map(|cpu| cpu * 1.1);
        }
        let comparison = compare(&a, &b, &quick()).unwrap();
        comparison.is_regression() && {
            let cpu = metric(&comparison, "server CPU per operation");
            cpu.verdict == MetricVerdict::Worse
        }
    });
    let found = found.count();
    assert!(found >= 45, "{found} of 50");
}

#[test]
fn a_comparison_that_cannot_fail_is_not_decided() {
    for (runs, is_decided) in [(1, false), (3, false), (5, false), (6, true), (8, true)] {
        for factor in [1.0, 1.8] {
            let (a, b) = sides(1, runs, 0.001, factor);
            let comparison = compare(&a, &b, &quick()).unwrap();
            assert_eq!(
                comparison.is_decided(),
                is_decided,
                "{runs}: {comparison:?}"
            );
        }
    }
    // Many runs on one side do not make up for one on the other.
    let ((a, _), (_, b)) = (sides(1, 6, 0.01, 1.0), sides(1, 1, 0.01, 1.8));
    assert!(!compare(&a, &b, &quick()).unwrap().is_decided());
}

#[test]
fn one_run_each_is_a_hint() {
    let slower = Sample {
        seed: 2,
        latency: 1.3,
        rate: 0.9,
        ..Sample::default()
    };
    let comparison = compare(&[report()], &[slower.report()], &quick()).unwrap();
    assert_eq!(comparison.verdict, Verdict::TooFewRuns);
    let p50 = metric(&comparison, "response p50");
    let (low, high) = (p50.hint_low.unwrap(), p50.hint_high.unwrap());
    assert!(low > 0.2 && high < 0.4, "{low} to {high}");
    assert_eq!(p50.change_low, None);
    let text = comparison.to_text(Style::Plain);
    assert!(
        text.contains("ONE RUN PROVES NOTHING") && text.contains("(+"),
        "{text}"
    );
    assert!(!comparison.is_regression());

    let short = Sample {
        intervals: 9,
        ..Sample::default()
    };
    let comparison = compare(&[short.report()], &[report()], &quick()).unwrap();
    assert_eq!(metric(&comparison, "response p50").hint_low, None);
}

#[test]
fn missing_values_are_not_zero() {
    let (a, mut b) = sides(1, 6, 0.01, 1.0);
    let comparison = compare(&a, &b, &quick()).unwrap();
    let failed = metric(&comparison, "failed");
    assert_eq!((failed.change, failed.p), (Some(0.0), Some(1.0)));
    assert_eq!(
        (failed.verdict, failed.runs_needed),
        (MetricVerdict::NoDifference, None)
    );

    for run in &mut b {
        run.failed.insert("UNAVAILABLE".to_owned(), 3);
        run.server_cpu_seconds = None;
    }
    let comparison = compare(&a, &b, &quick()).unwrap();
    let failed = metric(&comparison, "failed");
    assert_eq!(
        (failed.change, failed.verdict),
        (None, MetricVerdict::Worse)
    );
    assert_eq!(comparison.verdict, Verdict::Regression);
    let cpu = metric(&comparison, "server CPU per operation");
    assert_eq!(
        (cpu.verdict, cpu.median_b, cpu.p),
        (MetricVerdict::NotMeasured, None, None)
    );
    assert!(comparison.to_text(Style::Plain).contains("from 0"));

    let nothing = vec![empty_report(); 5];
    let comparison = compare(&nothing, &nothing, &quick()).unwrap();
    assert_eq!(comparison.verdict, Verdict::NoDifference);
    assert_eq!(
        metric(&comparison, "response p99").verdict,
        MetricVerdict::NotMeasured
    );
}

#[test]
fn runs_that_cannot_be_compared_are_refused() {
    let good = [report()];
    let mut old = report();
    old.schema = "soloist-load/9".to_owned();
    assert_eq!(
        compare(&[], &good, &quick()),
        Err(CompareError::NoRuns('A'))
    );
    assert_eq!(
        compare(&good, &[old], &quick()).unwrap_err().to_string(),
        "a run of B has the schema \"soloist-load/9\", and this version compares \"soloist-load/2\" only"
    );
}

#[test]
fn different_settings_and_drift_are_warned_of() {
    let (mut a, mut b) = sides(1, 5, 0.01, 1.0);
    let calm = compare(&a, &b, &quick()).unwrap();
    assert_eq!(
        (&calm.differences[..], &calm.warnings[..]),
        (&[][..], &[][..])
    );
    b[0].settings.insert("keys".to_owned(), 7.into());
    b[1].machine.cores = 64;
    b[2].interrupted = Some(2);
    for run in &mut a {
        run.settings.remove("threads");
        run.started_at = "2026-11-23T17:00:00Z".to_owned();
    }
    let comparison = compare(&a, &b, &quick()).unwrap();
    let differences: Vec<_> = comparison
        .differences
        .iter()
        .map(ToString::to_string)
        .collect();
    let expected = [
        "--keys: A 5, B 5 and 7",
        "--threads: A not set, B 1",
        "machine: A linux x86_64, 2 cores, B linux x86_64, 2 cores and linux x86_64, 64 cores",
    ];
    assert_eq!(differences, expected);
    assert_eq!(
        comparison.warnings[0],
        "run 3 of B was interrupted by signal 2"
    );
    assert!(comparison.warnings[1].contains("let them take turns"));
}

#[test]
fn every_form_has_the_verdict() {
    let (a, b) = sides(1, 8, 0.01, 1.05);
    let comparison = compare(&a, &b, &quick()).unwrap();
    let text = comparison.to_text(Style::Plain);
    assert!(text.starts_with("8 runs of A, 8 runs of B\n"), "{text}");
    assert!(
        text.contains("\nREGRESSION: worse are ops_per_second"),
        "{text}"
    );
    let long = text.lines().find(|line| line.chars().count() > 80);
    assert_eq!(long, None, "{text}");
    let markdown = comparison.to_markdown();
    assert!(
        markdown.starts_with("**REGRESSION: worse are ops_per_second"),
        "{markdown}"
    );
    let tables = markdown.lines().filter(|line| line.starts_with('|'));
    assert!(
        tables.clone().count() == 9 && tables.clone().all(|line| line.matches('|').count() == 8)
    );
    let back: Comparison = serde_json::from_str(&comparison.to_json()).unwrap();
    assert_eq!(back.verdict, comparison.verdict);
    assert_eq!(back.metrics.len(), 7);
}

#[test]
fn the_same_seed_gives_the_same_interval() {
    let (a, b) = sides(1, 5, 0.05, 1.0);
    let one = compare(&a, &b, &quick()).unwrap();
    assert_eq!(one, compare(&a, &b, &quick()).unwrap());
}
