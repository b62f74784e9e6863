use crate::plan::load_schedule::*;

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

pub(crate) fn ramp(start: f64, step: f64, end: Option<f64>, max_seconds: Option<u64>) -> Ramp {
    Ramp {
        start,
        step,
        end,
        max_duration: max_seconds.map(Duration::from_secs),
    }
}

/// Adds `step` every 5 seconds.
pub(crate) fn steps(
    start: f64,
    step: f64,
    end: Option<f64>,
    max_seconds: Option<u64>,
) -> LoadSchedule {
    LoadSchedule::step(ramp(start, step, end, max_seconds), Duration::from_secs(5)).unwrap()
}

pub(crate) fn line(
    start: f64,
    step: f64,
    end: Option<f64>,
    max_seconds: Option<u64>,
) -> LoadSchedule {
    LoadSchedule::line(ramp(start, step, end, max_seconds)).unwrap()
}

pub(crate) fn every_schedule() -> Vec<LoadSchedule> {
    vec![
        LoadSchedule::constant(1_000.0).unwrap(),
        LoadSchedule::constant(0.3).unwrap(),
        LoadSchedule::constant(49_999.7).unwrap(),
        steps(50.0, 10.0, Some(150.0), None),
        steps(50.0, 30.0, Some(155.0), None),
        steps(200.0, -10.0, None, Some(40)),
        steps(200.0, -30.0, Some(50.0), None),
        steps(200.0, -30.0, None, None),
        steps(1.0, 1_000.0, None, None),
        steps(50.0, 10.0, Some(400.0), Some(7)),
        line(5.0, 5.0, None, None),
        line(200.0, -2.0, Some(100.0), None),
        line(200.0, -2.0, None, Some(30)),
        line(200.0, -2.0, None, None),
        line(10.0, 0.01, Some(20.0), Some(20)),
    ]
}

#[test]
fn the_rate_follows_the_flags_as_ghz_means_them() {
    // The first three are the examples of ghz's page "Load Options".
    let cases = [
        (steps(50.0, 10.0, Some(150.0), None), 4.999, 50.0),
        (steps(50.0, 10.0, Some(150.0), None), 5.0, 60.0),
        (steps(50.0, 10.0, Some(150.0), None), 49.999, 140.0),
        (steps(50.0, 10.0, Some(150.0), None), 500.0, 150.0),
        (steps(200.0, -10.0, None, Some(40)), 39.999, 130.0),
        (steps(200.0, -10.0, None, Some(40)), 40.0, 120.0),
        (steps(200.0, -10.0, None, Some(40)), 400.0, 120.0),
        (line(200.0, -2.0, Some(100.0), None), 25.0, 150.0),
        (line(200.0, -2.0, Some(100.0), None), 51.0, 100.0),
        // A last step that would go past the end stops there.
        (steps(50.0, 30.0, Some(155.0), None), 15.0, 140.0),
        (steps(50.0, 30.0, Some(155.0), None), 20.0, 155.0),
        // The end or the longest time, whichever comes first. After that the rate is the end, if there is one.
        (steps(50.0, 10.0, Some(400.0), Some(7)), 6.999, 60.0),
        (steps(50.0, 10.0, Some(400.0), Some(7)), 7.0, 400.0),
        (line(10.0, 1.0, Some(15.0), Some(60)), 6.0, 15.0),
        (line(10.0, 1.0, None, Some(60)), 100.0, 70.0),
        // A rate does not fall below 0.
        (line(200.0, -2.0, None, None), 150.0, 0.0),
        (steps(200.0, -30.0, None, Some(600)), 100.0, 0.0),
    ];
    for (schedule, at, rate) in cases {
        assert_eq!(schedule.rate_at(seconds(at)), rate, "{schedule:?} at {at}");
    }
}

#[test]
fn the_count_is_the_integral_of_the_rate() {
    // Summed in slices of 1 ms, which is exact except for a step within a slice.
    for schedule in every_schedule() {
        let mut sum = 0.0;
        for ms in 0..60_000u64 {
            let middle = Duration::from_micros(ms * 1_000 + 500);
            sum += schedule.rate_at(middle) / 1e3;
            if ms % 997 == 0 {
                let count = schedule.count_at(Duration::from_millis(ms + 1));
                let off = (count - sum).abs();
                assert!(off < 1e-6 * sum.max(1.0), "{schedule:?}: {count} {sum}");
            }
        }
    }
}

#[test]
fn an_impossible_schedule_is_refused_with_the_flag() {
    let step = |start, step, end| {
        let second = Duration::from_secs(1);
        LoadSchedule::step(ramp(start, step, end, None), second).err()
    };
    let cases = [
        (LoadSchedule::constant(0.0).err(), "rps"),
        (LoadSchedule::constant(-1.0).err(), "rps"),
        (LoadSchedule::constant(f64::NAN).err(), "rps"),
        (LoadSchedule::constant(f64::INFINITY).err(), "rps"),
        (LoadSchedule::constant(1.1e9).err(), "rps"),
        (step(0.0, 1.0, None), "load-start"),
        (step(1.0, 0.0, None), "load-step"),
        (step(1.0, f64::NAN, None), "load-step"),
        (step(1.0, 1.0, Some(0.0)), "load-end"),
        (step(2.0, 1.0, Some(1.0)), "load-end"),
        (step(1.0, -1.0, Some(2.0)), "load-end"),
        (
            LoadSchedule::step(ramp(1.0, 1.0, None, None), Duration::ZERO).err(),
            "load-step-duration",
        ),
        (
            LoadSchedule::line(ramp(-1.0, 1.0, None, None)).err(),
            "load-start",
        ),
    ];
    for (error, flag) in cases {
        let error = error
            .unwrap_or_else(|| panic!("not refused: {flag}"))
            .to_string();
        assert_eq!(error.split(' ').next(), Some(flag), "{error}");
    }
}
