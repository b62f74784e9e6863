//! Values in the form in which flags take them.

use std::time::Duration;

use clap::ValueEnum;

/// Returns the word that chooses this value on the command line.
pub(crate) fn value_name(value: impl ValueEnum) -> String {
    let value = value.to_possible_value();
    let value = value.expect("no choice is hidden from the command line");
    value.get_name().to_owned()
}

/// Returns a duration as a number with a unit, without rounding.
pub(crate) fn show_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    match nanos {
        nanos if nanos % 1_000_000_000 == 0 => format!("{}s", nanos / 1_000_000_000),
        nanos if nanos % 1_000_000 == 0 => format!("{}ms", nanos / 1_000_000),
        nanos => format!("{}us", nanos as f64 / 1e3),
    }
}
