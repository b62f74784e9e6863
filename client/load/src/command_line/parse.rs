//! The values of flags: numbers, times, addresses and pairs.
//!
//! Each function reads the text of one value. Its error says what the value must be; clap adds the flag and the value.

use std::time::Duration;

use crate::plan::choices::{AGENTS_MAX, Part};
use crate::plan::load_schedule::RATE_MAX;

/// The longest time that a flag takes. Whoever asks for more has probably mistaken the unit.
const DURATION_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Reads a rate in operations per second, with a suffix k or m for thousands or millions.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    let (digits, unit) = split_unit(text);
    let number = digits
        .parse::<f64>()
        .ok()
        .map(|number| number * unit as f64);
    number
        .filter(|number| *number > 0.0 && *number <= RATE_MAX)
        .ok_or_else(|| {
            format!("must be a number above 0 and up to {RATE_MAX:e} a second, with a suffix k or m for thousands or millions")
        })
}

/// Reads a whole number from `min` to `max`, with a suffix k or m for thousands or millions: 20k, 1.5k.
pub(crate) fn count(
    min: u64,
    max: u64,
) -> impl Fn(&str) -> Result<u64, String> + Clone + Send + Sync {
    move |text| {
        let (digits, unit) = split_unit(text);
        whole(digits, unit)
            .filter(|number| (min..=max).contains(number))
            .ok_or_else(|| {
                format!(
                    "must be a whole number from {min} to {max}, with a suffix k or m for thousands or millions"
                )
            })
    }
}

/// Reads a number of bytes up to `max`, with or without a unit: 1000, 4k, 16KiB, 1MB.
pub(crate) fn bytes(max: u64) -> impl Fn(&str) -> Result<u64, String> + Clone + Send + Sync {
    move |text| {
        let at = text.find(|c: char| c.is_ascii_alphabetic());
        let (digits, unit) = text.split_at(at.unwrap_or(text.len()));
        let unit = match &*unit.to_ascii_lowercase() {
            "" | "b" => Some(1),
            "k" | "kb" => Some(1_000),
            "m" | "mb" => Some(1_000_000),
            "kib" => Some(1 << 10),
            "mib" => Some(1 << 20),
            _ => None,
        };
        unit.and_then(|unit| whole(digits.trim_end(), unit))
            .filter(|number| *number <= max)
            .ok_or_else(|| {
                format!(
                    "must be a whole number of bytes from 0 to {max}, or have a unit: k or kB, m or MB, KiB or MiB"
                )
            })
    }
}

/// Returns the digits times the unit, if that is a whole number.
fn whole(digits: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let is_number =
        |digits: &str| !digits.is_empty() && digits.bytes().all(|it| it.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let parts = 10_u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let fraction = fraction.parse::<u64>().ok()?.checked_mul(unit)?;
    if !fraction.is_multiple_of(parts) {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    whole.checked_add(fraction / parts)
}

/// Splits a number from its suffix, and returns what the suffix multiplies it by.
fn split_unit(text: &str) -> (&str, u64) {
    match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1_000),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 1_000_000),
        _ => (text, 1),
    }
}

/// Reads a seed: any number of 64 bits.
pub(crate) fn seed(text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| format!("must be a whole number from 0 to {}", u64::MAX))
}

/// Reads a percentile.
pub(crate) fn percentile(text: &str) -> Result<f64, String> {
    text.parse::<f64>()
        .ok()
        .filter(|percent| (0.0..=100.0).contains(percent))
        .ok_or_else(|| "each must be a number from 0 to 100".to_owned())
}

/// Reads a time above 0 and up to a week.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    match duration_or_zero(text)? {
        Duration::ZERO => Err("must be more than 0".to_owned()),
        duration => Ok(duration),
    }
}

/// Reads a time of up to a week: a number with the unit us, ms, s, m or h, or several of them, as in 1m30s.
pub(crate) fn duration_or_zero(text: &str) -> Result<Duration, String> {
    let form = "must be a number with a unit, such as 500ms, 10s, 2m, 1m30s or 1h";
    let out_of_range = || "must be from 0s to 168h".to_owned();
    if let Ok(duration) = humantime::parse_duration(text) {
        let is_in_range = duration <= DURATION_MAX;
        // Without a unit, 0 would be the only number that is a time.
        let has_unit = text.ends_with(|c: char| c.is_ascii_alphabetic());
        return match (has_unit, is_in_range) {
            (false, _) => Err(form.to_owned()),
            (true, true) => Ok(duration),
            (true, false) => Err(out_of_range()),
        };
    }
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        _ => return Err(form.to_owned()),
    };
    let number: f64 = digits.parse().map_err(|_| form.to_owned())?;
    match Duration::try_from_secs_f64(number * unit) {
        Ok(duration) if duration <= DURATION_MAX => Ok(duration),
        _ => Err(out_of_range()),
    }
}

/// The most addresses of one store.
const ADDRESSES_MAX: usize = 32;

/// Reads the address of a server: HOST:PORT, also as a URL; https://HOST:PORT, or unix:PATH. Also those of several nodes of one
/// store, with commas in between: all of them with TLS if the first is, and none otherwise.
pub(crate) fn address(text: &str) -> Result<String, String> {
    // The path of a socket may have commas.
    if text.starts_with("unix:") || !text.contains(',') {
        return one_address(text);
    }
    let parts: Vec<_> = text.split(',').map(str::trim).collect();
    let is_tls = parts[0].starts_with("https://");
    let mut addresses: Vec<String> = Vec::with_capacity(parts.len());
    for part in parts {
        let address = match part.split_once("://") {
            None if part.starts_with("unix:") => {
                return Err(format!("{part} must be the only address"));
            }
            None if is_tls => one_address(&format!("https://{part}"))?,
            None => one_address(part)?,
            Some(("https", _)) if is_tls => one_address(part)?,
            Some(("http", _)) if !is_tls => one_address(part)?,
            Some(("http" | "https", _)) => {
                return Err(format!(
                    "all addresses must be with TLS, or none, and {part} is not like the first"
                ));
            }
            Some(_) => return Err(FORM.to_owned()),
        };
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    match addresses.len() {
        count @ 0..=ADDRESSES_MAX if count > 0 => Ok(addresses.join(",")),
        count => Err(format!("at most {ADDRESSES_MAX} addresses, not {count}")),
    }
}

const FORM: &str = "must have the form HOST:PORT, https://HOST:PORT or unix:PATH";

fn one_address(text: &str) -> Result<String, String> {
    let form = || FORM.to_owned();
    if let Some(path) = text.strip_prefix("unix:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        return match path.is_empty() {
            true => Err(form()),
            false => Ok(format!("unix:{path}")),
        };
    }
    let (scheme, authority) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => ("https://", rest.strip_suffix('/').unwrap_or(rest)),
        (None, Some(rest)) => ("", rest.strip_suffix('/').unwrap_or(rest)),
        (None, None) => ("", text),
    };
    let (host, port) = authority.rsplit_once(':').ok_or_else(form)?;
    if host.is_empty() || host.contains('/') || port.parse::<u16>().is_err() {
        return Err(form());
    }
    Ok(format!("{scheme}{authority}"))
}

/// Reads a header. Returns its name in lower case, and its value.
pub(crate) fn metadata(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once(':')
        .ok_or_else(|| "must have the form NAME:VALUE".to_owned())?;
    let name = name.trim().to_ascii_lowercase();
    let is_token = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    if name.is_empty() || !name.chars().all(is_token) {
        return Err(format!(
            "the name must have only letters, digits, '-', '_' and '.', not {name:?}"
        ));
    }
    if name.starts_with("grpc-") || name.ends_with("-bin") || name == "content-type" || name == "te"
    {
        return Err(format!("the name must not be {name}, which gRPC reserves"));
    }
    let value = value.trim();
    if !value.chars().all(|c| c.is_ascii_graphic() || c == ' ') {
        return Err("the value must be printable ASCII".to_owned());
    }
    Ok((name, value.to_owned()))
}

/// Reads the share of an agent.
pub(crate) fn part(text: &str) -> Result<Part, String> {
    text.split_once('/')
        .and_then(|(index, of)| {
            let (index, of) = (index.parse().ok()?, of.parse().ok()?);
            (index < of && of <= AGENTS_MAX).then_some(Part { index, of })
        })
        .ok_or_else(|| format!("must have the form K/N, with K below N and N up to {AGENTS_MAX}"))
}

/// Reads a note. Returns its key, which is not empty, and its value.
pub(crate) fn tag(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("must have the form KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    #[test]
    fn counts() {
        let cases = [
            ("1", Ok(1)),
            ("20k", Ok(20_000)),
            ("3M", Ok(3_000_000)),
            ("0", Err("from 1 to 5000000")),
            ("6m", Err("from 1 to 5000000")),
            ("-1", Err("whole number from 1 to 5000000")),
            ("1.5k", Ok(1_500)),
            ("0.25M", Ok(250_000)),
            ("2.0", Ok(2)),
            ("1.5", Err("whole number")),
            ("1.0005k", Err("whole number")),
            ("1.k", Err("whole number")),
            (".5k", Err("whole number")),
            ("1e3", Err("whole number")),
            ("+5", Err("whole number")),
            ("k", Err("whole number")),
            ("", Err("whole number")),
            ("99999999999999999999", Err("whole number")),
            ("9999999999999999999k", Err("from 1 to 5000000")),
        ];
        for (text, expected) in cases {
            check(text, count(1, 5_000_000)(text), expected);
        }
    }

    #[test]
    fn durations() {
        let cases = [
            ("500ms", Ok(Duration::from_millis(500))),
            ("1.5s", Ok(Duration::from_millis(1_500))),
            ("2m", Ok(Duration::from_secs(120))),
            ("1m1s", Ok(Duration::from_secs(61))),
            ("1h 30m", Ok(Duration::from_secs(5_400))),
            ("1s500ms", Ok(Duration::from_millis(1_500))),
            ("0.5us", Ok(Duration::from_nanos(500))),
            ("0", Err("with a unit")),
            ("1m1", Err("with a unit")),
            ("200h", Err("to 168h")),
            ("1h", Ok(Duration::from_secs(3_600))),
            ("0s", Err("more than 0")),
            ("10", Err("with a unit")),
            ("s", Err("with a unit")),
            ("-1s", Err("from 0s")),
            ("1000h", Err("to 168h")),
            ("1e999s", Err("to 168h")),
        ];
        for (text, expected) in cases {
            check(text, duration(text), expected);
        }
    }

    #[test]
    fn numbers_of_bytes() {
        let cases = [
            ("0", Ok(0)),
            ("1000", Ok(1_000)),
            ("4k", Ok(4_000)),
            ("1kB", Ok(1_000)),
            ("1KiB", Ok(1_024)),
            ("1.5KiB", Ok(1_536)),
            ("2 MiB", Ok(2 << 20)),
            ("1MB", Ok(1_000_000)),
            ("5MB", Err("from 0 to 4194304")),
            ("1GiB", Err("have a unit")),
            ("-1", Err("whole number of bytes")),
            ("KiB", Err("have a unit")),
        ];
        for (text, expected) in cases {
            check(text, bytes(4 << 20)(text), expected);
        }
    }

    #[test]
    fn addresses() {
        let cases = [
            ("localhost:50051", Ok("localhost:50051".to_owned())),
            ("[::1]:5", Ok("[::1]:5".to_owned())),
            ("http://127.0.0.1:5", Ok("127.0.0.1:5".to_owned())),
            ("http://a.example:5/", Ok("a.example:5".to_owned())),
            ("https://a.example:5/", Ok("https://a.example:5".to_owned())),
            ("https://a.example", Err("HOST:PORT")),
            ("unix:///run/a.sock", Ok("unix:/run/a.sock".to_owned())),
            ("unix:a.sock", Ok("unix:a.sock".to_owned())),
            ("unix:", Err("unix:PATH")),
            ("http://a.example:5/path", Err("HOST:PORT")),
            ("http://a.example", Err("HOST:PORT")),
            ("localhost", Err("HOST:PORT")),
            ("a:1,b:2, a:1", Ok("a:1,b:2".to_owned())),
            ("http://a:1,b:2,http://c:3", Ok("a:1,b:2,c:3".to_owned())),
            ("https://a:1,b:2", Ok("https://a:1,https://b:2".to_owned())),
            ("https://a:1,http://b:2", Err("not like the first")),
            ("a:1,https://b:2", Err("not like the first")),
            ("a:1,", Err("HOST:PORT")),
            ("a:1,unix:/b", Err("the only address")),
            ("unix:/a,b", Ok("unix:/a,b".to_owned())),
        ];
        for (text, expected) in cases {
            check(text, address(text), expected);
        }
    }

    fn check<T: fmt::Debug + PartialEq>(
        text: &str,
        actual: Result<T, String>,
        expected: Result<T, &str>,
    ) {
        match (actual, expected) {
            (Ok(actual), Ok(expected)) => assert_eq!(actual, expected, "{text:?}"),
            (Err(actual), Err(part)) => assert!(actual.contains(part), "{text:?}: {actual}"),
            (actual, expected) => panic!("{text:?}: {actual:?}, expected {expected:?}"),
        }
    }
}
