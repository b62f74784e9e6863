//! Values as flags take them.

use std::time::Duration;

use clap::ValueEnum;

/// The name that a flag's value has on the command line.
pub(crate) fn value_name(value: impl ValueEnum) -> String {
    let value = value.to_possible_value();
    value.expect("no value is skipped").get_name().to_owned()
}

/// As a flag takes it, exactly.
pub(crate) fn show_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    match nanos {
        nanos if nanos % 1_000_000_000 == 0 => format!("{}s", nanos / 1_000_000_000),
        nanos if nanos % 1_000_000 == 0 => format!("{}ms", nanos / 1_000_000),
        nanos => format!("{}us", nanos as f64 / 1e3),
    }
}
