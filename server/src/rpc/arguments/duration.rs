//! Checks durations.

use std::ops::RangeInclusive;
use std::time::Duration;

use soloist::v1::error::Reason;

use super::path::{BadArgument, Path};
use crate::rpc::responses;

/// Checks the timeout of a frame. Returns none if it is unset or zero.
pub(crate) fn timeout(
    timeout: Option<prost_types::Duration>,
) -> Result<Option<Duration>, BadArgument> {
    let Some(timeout) = timeout else {
        return Ok(None);
    };
    match to_std(&timeout) {
        Some(Duration::ZERO) => Ok(None),
        Some(timeout) => Ok(Some(timeout)),
        None => {
            let actual = wire_in_words(&timeout);
            let problem = format!(
                "is {actual}, but must be 0 or more, with less than a second of nanoseconds"
            );
            Err(BadArgument {
                actual: Some(actual),
                ..Path::ROOT
                    .field("timeout")
                    .bad(Reason::BadDuration, problem)
            })
        }
    }
}

/// Checks that a duration is set and within `range`.
pub(super) fn duration_in(
    path: &Path<'_>,
    reason: Reason,
    duration: Option<prost_types::Duration>,
    range: &RangeInclusive<Duration>,
) -> Result<Duration, BadArgument> {
    let limit = format!(
        "from {} to {}",
        in_words(*range.start()),
        in_words(*range.end())
    );
    let Some(duration) = duration else {
        return Err(path.out_of_range(reason, limit, "missing"));
    };
    match to_std(&duration) {
        Some(duration) if range.contains(&duration) => Ok(duration),
        _ => Err(path.out_of_range(reason, limit, wire_in_words(&duration))),
    }
}

/// The same duration as a type of Rust's; none if it is negative or malformed.
fn to_std(duration: &prost_types::Duration) -> Option<Duration> {
    let seconds = u64::try_from(duration.seconds).ok()?;
    let nanos = u32::try_from(duration.nanos).ok()?;
    (nanos < 1_000_000_000).then(|| Duration::new(seconds, nanos))
}

/// The duration as it is written in JSON.
pub(super) fn in_words(duration: Duration) -> String {
    wire_in_words(&responses::duration(duration))
}

/// The duration as it is written in JSON, if it is well-formed. Not by `Display` of prost-types, which panics at the least
/// number of seconds.
fn wire_in_words(duration: &prost_types::Duration) -> String {
    let prost_types::Duration { seconds, nanos } = *duration;
    let fraction = nanos.unsigned_abs();
    let same_sign = seconds == 0 || nanos == 0 || (seconds < 0) == (nanos < 0);
    if fraction >= 1_000_000_000 || !same_sign {
        return format!("{seconds} seconds and {nanos} nanoseconds");
    }
    let sign = if seconds < 0 || nanos < 0 { "-" } else { "" };
    let whole = seconds.unsigned_abs();
    if fraction == 0 {
        format!("{sign}{whole}s")
    } else if fraction.is_multiple_of(1_000_000) {
        format!("{sign}{whole}.{:03}s", fraction / 1_000_000)
    } else if fraction.is_multiple_of(1_000) {
        format!("{sign}{whole}.{:06}s", fraction / 1_000)
    } else {
        format!("{sign}{whole}.{fraction:09}s")
    }
}

#[cfg(test)]
mod tests;
