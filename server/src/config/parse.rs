//! Units, and the parsers of flags.

use std::time::Duration;

use clap::builder::RangedI64ValueParser;

pub(super) const KIB: usize = 1 << 10;
pub(super) const MIB: usize = 1 << 20;

/// The largest value of a limit on anything that is sent in one message. Protobuf's own limit is 2 GiB.
pub(super) const MESSAGE_LIMIT_MAX: i64 = 1 << 30;

/// Parses a whole number in `min..=max`.
pub(super) fn number(
    min: usize,
    max: usize,
) -> impl clap::builder::TypedValueParser<Value = usize> {
    use clap::builder::TypedValueParser as _;
    RangedI64ValueParser::<u64>::new()
        .range(min as i64..=max as i64)
        .map(|n| usize::try_from(n).expect("the range fits in usize"))
}

/// Parses a time such as `500ms`, `10s` or `2m`, in 1 ms..=1 day.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    const MIN: Duration = Duration::from_millis(1);
    const MAX: Duration = Duration::from_secs(24 * 60 * 60);
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if (MIN..=MAX).contains(&duration) {
        Ok(duration)
    } else {
        Err(format!("{text} must be in 1ms..=1day"))
    }
}
