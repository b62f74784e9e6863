//! Whether `compare --runs 6` can be believed, by real runs. This takes a quarter of an hour on a calm machine, and means nothing
//! on a busy one. So the tests are ignored; they run by
//!
//! ```console
//! $ SOLOIST_COMPARE=20 cargo test --profile dist -p soloist-load --lib compare_tests -- --ignored --nocapture --test-threads 1
//! ```
//!
//! where the variable is the number of comparisons.

use hdrhistogram::Histogram;

use crate::calibrate::{Delay, NullServer};
use crate::command_line::resolve;
use crate::command_line::words::parse_command;
use crate::plan::labels::Labels;
use crate::report::compare::{Options, compare};
use crate::report::model::Report;
use crate::run::runner::Runner;
use crate::run::view::NoView;
use soloist_flags::Style;

/// The runs on each side of a comparison.
const RUNS: usize = 6;

/// The run that is compared.
const FLAGS: &str = "-z 2s --warmup 200ms --engine pipeline";

fn comparisons() -> usize {
    let number =
        std::env::var("SOLOIST_COMPARE").expect("SOLOIST_COMPARE is the number of comparisons");
    number.parse().expect("SOLOIST_COMPARE is a number")
}

/// Does one run against a server of its own, which spends `burn` nanoseconds of CPU time on each operation besides the usual.
fn run(burn: u64) -> Report {
    let server = NullServer::start_burning(Delay::None, 1, burn).unwrap();
    let address = server.address().to_string();
    let args = parse_command(&format!("soloist-load {address} {FLAGS}")).unwrap();
    let settings = resolve::settings(&args).unwrap();
    let mut runner = Runner::open(Some(&address), &settings).unwrap();
    let report = runner
        .run(settings, &Labels::default(), &mut NoView, None)
        .unwrap();
    runner.close().unwrap();
    let _: Histogram<u64> = server.stop().unwrap().actual;
    report
}

/// Compares a server with one that spends `burn` nanoseconds more, as `compare --runs 6` does: in turns, and the side that begins
/// changes. Returns whether there is a regression, and whether there is any verdict at all.
fn compared(burn: u64) -> (bool, bool) {
    let mut sides = (Vec::new(), Vec::new());
    for turn in 0..RUNS {
        let mut order = [0, burn];
        if turn % 2 == 1 {
            order.reverse();
        }
        let [first, second] = order.map(run);
        let (a, b) = match turn % 2 {
            0 => (first, second),
            _ => (second, first),
        };
        sides.0.push(a);
        sides.1.push(b);
    }
    let comparison = compare(&sides.0, &sides.1, &Options::default()).unwrap();
    let (verdict, why) = comparison.conclusion();
    println!("{verdict}{why}");
    let text = comparison.to_text(Style::Plain);
    for line in text.lines().filter(|line| line.starts_with("server CPU")) {
        println!("  {line}");
    }
    let is_seen = verdict != "NO DIFFERENCE SEEN";
    (comparison.is_regression(), is_seen)
}

#[test]
#[ignore = "takes a quarter of an hour on a calm machine; SOLOIST_COMPARE is the number of comparisons"]
fn the_same_server_differs_from_itself_once_in_twenty_times_at_most() {
    let comparisons = comparisons();
    let wrong = (0..comparisons).filter(|_| compared(0).1).count();
    assert!(
        wrong * 20 <= comparisons.max(20),
        "{wrong} of {comparisons}"
    );
}

#[test]
#[ignore = "takes a quarter of an hour on a calm machine; SOLOIST_COMPARE is the number of comparisons"]
fn a_tenth_more_server_cpu_is_found_in_nine_of_ten_comparisons() {
    let comparisons = comparisons();
    let usual: Vec<f64> = (0..RUNS)
        .map(|_| run(0))
        .map(|report| report.server_cpu_seconds.unwrap() * 1e9 / report.completed as f64)
        .collect();
    let usual = usual.iter().sum::<f64>() / usual.len() as f64;
    println!("{usual:.0} ns of server CPU an operation; a tenth more is compared with that");
    let burn = (usual * 0.1) as u64;
    let found = (0..comparisons).filter(|_| compared(burn).0).count();
    assert!(found * 10 >= comparisons * 9, "{found} of {comparisons}");
}
