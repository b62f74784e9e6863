//! Units, and the parsers of flags.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use clap::builder::RangedI64ValueParser;

pub(super) const KIB: usize = 1 << 10;
pub(super) const MIB: usize = 1 << 20;
pub(super) const GIB: u64 = 1 << 30;

/// The largest value of a limit on anything that is sent in one message. Protobuf's own limit is 2 GiB.
pub(super) const MESSAGE_LIMIT_MAX: i64 = 1 << 30;

/// The units of a number of bytes. `MB` is a million bytes, `MiB` is 2^20.
const BYTE_UNITS: [(&str, u64); 9] = [
    ("", 1),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
];

/// Parses a number of bytes in `range`, such as `65536`, `64KiB` or `512 MB`.
pub(super) fn bytes<T>(
    range: RangeInclusive<T>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: TryFrom<u64> + PartialOrd + Display + Clone + Send + Sync + 'static,
{
    move |text| {
        let bytes = byte_count(text)?;
        let in_range = T::try_from(bytes)
            .ok()
            .filter(|bytes| range.contains(bytes));
        in_range.ok_or_else(|| {
            let (min, max) = (range.start(), range.end());
            format!("{bytes} is not in {min}..={max}")
        })
    }
}

fn byte_count(text: &str) -> Result<u64, String> {
    let number_len = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(number_len);
    let number = match number {
        // To say that it has an invalid digit.
        "" => text,
        number => number,
    };
    let number: u64 = number
        .parse()
        .map_err(|error| format!("{error}: {BYTES_ARE}"))?;
    let unit = unit.trim().to_ascii_lowercase();
    let Some((_, factor)) = BYTE_UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(format!("unknown unit {unit:?}: {BYTES_ARE}"));
    };
    number
        .checked_mul(*factor)
        .ok_or_else(|| "more than 2^64 bytes".into())
}

const BYTES_ARE: &str =
    "must be a whole number of bytes, or have a unit: kB, MB, GB, TB, KiB, MiB, GiB or TiB";

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_may_have_a_unit() {
        let parse = bytes(0..=u64::MAX);
        for (text, expected) in [
            ("0", 0),
            ("65536", 65_536),
            ("64kB", 64_000),
            ("64KB", 64_000),
            ("64KiB", 65_536),
            ("512MiB", 512 << 20),
            ("512 mib", 512 << 20),
            ("1GiB", 1 << 30),
            ("2GB", 2_000_000_000),
            ("3TiB", 3 << 40),
            ("4TB", 4_000_000_000_000),
        ] {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "B",
            "MiB",
            "-1",
            "1.5GiB",
            "1G",
            "1Mi",
            "1 2",
            "1 apple",
            "1é",
            "99999999TiB",
        ] {
            parse(text).unwrap_err();
        }
        assert_eq!(
            bytes(1..=10_u32)("1KiB"),
            Err("1024 is not in 1..=10".into())
        );
        bytes(1..=10_u32)("8GiB").unwrap_err();
    }
}
