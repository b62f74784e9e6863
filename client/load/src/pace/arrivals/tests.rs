use std::time::Duration;

use crate::pace::arrivals::*;
use crate::plan::load_schedule::tests::{every_schedule, line, ramp, steps};

const SECOND: u64 = 1_000_000_000;

fn constant(schedule: &LoadSchedule) -> Arrivals {
    Arrivals::new(schedule.clone(), Arrival::Constant, 0)
}

/// Returns the arrivals before a time.
fn before(arrivals: impl Iterator<Item = u64>, end: u64) -> Vec<u64> {
    arrivals.take_while(|offset| *offset < end).collect()
}

#[test]
fn a_constant_rate_is_spaced_exactly() {
    let schedule = LoadSchedule::constant(1_000.0).unwrap();
    for (number, offset) in constant(&schedule).take(100_000).enumerate() {
        assert_eq!(offset, number as u64 * 1_000_000);
    }
    // If the gap is not a whole number of nanoseconds, each arrival is rounded once.
    let thirds = LoadSchedule::constant(3.0).unwrap();
    let offsets: Vec<_> = constant(&thirds).take(4).collect();
    assert_eq!(offsets, [0, 333_333_333, 666_666_667, SECOND]);
}

#[test]
fn rounding_errors_do_not_add_up_over_days() {
    let days = 30 * 24 * 3_600;
    for rate in [3u64, 7, 1_000, 49_999] {
        let schedule = LoadSchedule::constant(rate as f64).unwrap();
        let count = rate * days;
        for number in [count - 1, count, count + 1] {
            let exact = u128::from(number) * u128::from(SECOND) / u128::from(rate);
            let offset = schedule.time_of(number as f64).unwrap();
            assert!(u128::from(offset).abs_diff(exact) <= 1, "{rate} {number}");
        }
    }
}

#[test]
fn each_window_has_as_many_arrivals_as_the_integral() {
    for schedule in every_schedule() {
        let offsets = before(constant(&schedule), 60 * SECOND);
        for window in 1..600 {
            let end = window * SECOND / 10;
            let counted = offsets.partition_point(|offset| *offset < end) as f64;
            let count = schedule.count_at(Duration::from_nanos(end));
            // Arrival number k comes at count k, from 0 on. Exactly at the edge of a window, rounding decides.
            let edge = 1e-6 * count.max(1.0);
            assert!(
                counted >= (count - edge).ceil() && counted <= (count + edge).ceil(),
                "{schedule:?}: {counted} of {count} before {end}"
            );
        }
        assert!(offsets.is_sorted(), "{schedule:?}");
    }
}

#[test]
fn each_arrival_comes_when_the_count_is_its_number() {
    for schedule in every_schedule() {
        for (number, offset) in constant(&schedule).take(20_000).enumerate() {
            let count = schedule.count_at(Duration::from_nanos(offset));
            // Arrivals are rounded to whole nanoseconds.
            let rate = schedule.rate_at(Duration::from_nanos(offset));
            let off = (count - number as f64).abs();
            assert!(
                off <= 1e-8 * number as f64 + rate * 1e-9,
                "{schedule:?}: {number} {count}"
            );
        }
    }
}

#[test]
fn a_rate_that_falls_to_nothing_ends_the_load() {
    // From 200 a second down to 0 in 100 seconds: the area of a triangle.
    let triangle = line(200.0, -2.0, None, None);
    assert_eq!(constant(&triangle).count(), 10_000);
    // 200, 170, ..., 20 for 5 seconds each.
    let stairs = steps(200.0, -30.0, None, None);
    assert_eq!(
        constant(&stairs).count(),
        5 * (200 + 170 + 140 + 110 + 80 + 50 + 20)
    );
    let last = constant(&stairs).last().unwrap();
    assert!(last > 34 * SECOND && last < 35 * SECOND);
}

#[test]
fn times_beyond_64_bits_end_the_sequence() {
    let slow = LoadSchedule::constant(1e-9).unwrap();
    // One arrival in 1e9 seconds, which are 31 years. The 20th is too late for 64 bits of nanoseconds.
    assert_eq!(constant(&slow).count(), 19);
    let forever = steps(1.0, 1_000.0, None, None);
    assert!(forever.time_of(1e18).is_some());
    let small_steps = LoadSchedule::step(ramp(1.0, 0.001, None, None), Duration::from_nanos(1));
    assert!(small_steps.unwrap().time_of(1e9).is_some());
}

#[test]
fn the_shares_make_up_the_whole() {
    for arrival in [Arrival::Constant, Arrival::Poisson] {
        for schedule in every_schedule() {
            let whole = Arrivals::new(schedule, arrival, 7);
            let expected: Vec<_> = whole.clone().take(1_000).collect();
            for of in [1, 2, 3, 8] {
                let mut shares: Vec<_> = (0..of)
                    .map(|index| whole.clone().share(index, of))
                    .collect();
                for (number, offset) in expected.iter().enumerate() {
                    let share = &mut shares[number % of as usize];
                    assert_eq!(share.next(), Some(*offset), "{number} {of}");
                }
            }
        }
    }
}

#[test]
fn all_shares_together_have_the_number_of_arrivals() {
    let schedule = LoadSchedule::constant(1_000.0).unwrap();
    for arrival in [Arrival::Constant, Arrival::Poisson] {
        let whole = Arrivals::new(schedule.clone(), arrival, 7).first(10);
        assert_eq!(whole.clone().count(), 10);
        let shares = [0, 1, 2, 3].map(|index| whole.clone().share(index, 4).count());
        assert_eq!(shares, [3, 3, 2, 2]);
    }
}

#[test]
fn a_seed_repeats_the_sequence() {
    let schedule = LoadSchedule::constant(1_000.0).unwrap();
    let random = |seed| Arrivals::new(schedule.clone(), Arrival::Poisson, seed).take(100);
    assert!(random(1).eq(random(1)));
    assert!(!random(1).eq(random(2)));
}

/// Returns the statistic of Kolmogorov and Smirnov: the largest difference between the observed and the expected
/// distribution.
fn distance(mut observed: Vec<f64>, distribution: impl Fn(f64) -> f64) -> f64 {
    observed.sort_by(f64::total_cmp);
    let count = observed.len() as f64;
    let mut distance: f64 = 0.0;
    for (rank, value) in observed.iter().enumerate() {
        let expected = distribution(*value);
        distance = distance.max(expected - rank as f64 / count);
        distance = distance.max((rank + 1) as f64 / count - expected);
    }
    distance
}

/// Returns what the statistic exceeds in one of a thousand samples. The seeds here are fixed, so that a test passes always
/// or never.
/// Source: N. Smirnov, "Table for estimating the goodness of fit of empirical distributions", 1948.
fn critical(count: usize) -> f64 {
    1.95 / (count as f64).sqrt()
}

#[test]
fn random_arrivals_are_poisson_at_any_rate() {
    const COUNT: usize = 20_000;
    for schedule in [
        LoadSchedule::constant(1_000.0).unwrap(),
        steps(50.0, 10.0, Some(150.0), None),
        line(200.0, -2.0, Some(100.0), None),
        line(5.0, 5.0, None, None),
    ] {
        for seed in 0..4 {
            let arrivals = Arrivals::new(schedule.clone(), Arrival::Poisson, seed);
            let offsets: Vec<_> = arrivals.take(COUNT).collect();
            assert!(offsets.is_sorted());
            // In counts of the schedule, the arrivals are a process of rate 1.
            let counts: Vec<_> = offsets
                .iter()
                .map(|offset| schedule.count_at(Duration::from_nanos(*offset)))
                .collect();
            let gaps = counts.windows(2).map(|pair| pair[1] - pair[0]).collect();
            let gaps_off = distance(gaps, |gap| 1.0 - (-gap).exp());
            assert!(
                gaps_off < critical(COUNT),
                "{schedule:?} {seed}: {gaps_off}"
            );

            // The variance of the counts in disjoint windows is their mean. The standard error is sqrt(2 / windows).
            const PER_WINDOW: usize = 20;
            const WINDOWS: usize = COUNT / PER_WINDOW / 2;
            let mut windows = [0.0f64; WINDOWS];
            for count in counts {
                if let Some(window) = windows.get_mut((count / PER_WINDOW as f64) as usize) {
                    *window += 1.0;
                }
            }
            let mean = windows.iter().sum::<f64>() / WINDOWS as f64;
            let squares = windows
                .iter()
                .map(|count| (count - mean).powi(2))
                .sum::<f64>();
            let dispersion = squares / (WINDOWS - 1) as f64 / mean;
            let error = (2.0 / WINDOWS as f64).sqrt();
            assert!(
                (dispersion - 1.0).abs() < 4.0 * error,
                "{schedule:?}: {dispersion}"
            );
            let mean_error = (PER_WINDOW as f64 / WINDOWS as f64).sqrt();
            assert!(
                (mean - PER_WINDOW as f64).abs() < 4.0 * mean_error,
                "{schedule:?}: {mean}"
            );
        }
    }
}

#[test]
fn the_test_of_randomness_finds_even_arrivals() {
    let schedule = LoadSchedule::constant(1_000.0).unwrap();
    let offsets: Vec<_> = constant(&schedule).take(1_000).collect();
    let gaps = offsets
        .windows(2)
        .map(|pair| (pair[1] - pair[0]) as f64 / 1e6)
        .collect();
    assert!(distance(gaps, |gap| 1.0 - (-gap).exp()) > critical(1_000));
}
