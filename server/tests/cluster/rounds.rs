//! How long the tests are, and where their figures go.

use std::io::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

/// How often a fault comes: `short` times, unless SOLOIST_CLUSTER_ROUNDS says how often.
pub(crate) fn rounds(short: usize) -> usize {
    number("SOLOIST_CLUSTER_ROUNDS").map_or(short, |it| it as usize)
}

/// Whether this is to be the long form of a test.
pub(crate) fn is_long() -> bool {
    number("SOLOIST_CLUSTER_ROUNDS").is_some()
}

/// The least number of operations of a test that kills, and the number of its clients.
pub(crate) fn operations_and_clients() -> (u64, u32) {
    let operations = number("SOLOIST_CLUSTER_OPERATIONS").unwrap_or(0);
    (
        operations,
        number("SOLOIST_CLUSTER_CLIENTS").map_or(8, |it| it as u32),
    )
}

/// For how long the owner is killed, if not a number of times.
pub(crate) fn kills_for() -> Option<Duration> {
    number("SOLOIST_CLUSTER_SECONDS").map(Duration::from_secs)
}

fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    let number = value.parse();
    Some(number.unwrap_or_else(|_| panic!("{name} must be a number: {value:?}")))
}

/// Adds a test's figures to the file that SOLOIST_CLUSTER_REPORT names, if it does.
pub(crate) fn report(test: &str, figures: Value) {
    let Ok(path) = std::env::var("SOLOIST_CLUSTER_REPORT") else {
        return;
    };
    let line = json!({"test": test, "figures": figures});
    let mut file = std::fs::File::options()
        .create(true)
        .append(true)
        .open(path)
        .unwrap();
    writeln!(file, "{line}").unwrap();
}

/// The smallest, the median, that of the 99th percentile and the largest, in milliseconds.
pub(crate) fn spread(mut times: Vec<Duration>) -> Value {
    times.sort_unstable();
    let ms = |it: Option<&Duration>| it.map(|it| it.as_millis() as u64);
    json!({
        "count": times.len(),
        "least_ms": ms(times.first()),
        "median_ms": ms(times.get(times.len() / 2)),
        "p99_ms": ms(times.get(times.len() * 99 / 100)),
        "most_ms": ms(times.last()),
    })
}

/// Some time from this range, in milliseconds.
pub(crate) fn some_time(ms: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(rand::random_range(ms))
}
