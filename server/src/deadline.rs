//! How long a call may take: `grpc-timeout`, read strictly.

use std::time::Duration;

use soloist::codec::bad_message;
use tokio::time::Instant;
use tonic::Status;
use tonic::metadata::MetadataMap;

use crate::config::answer_margin;

/// The moment at which a call that has just come in is answered at the latest: a little before the caller gives up,
/// and `max` from now if it would wait longer or does not say.
///
/// # Errors
/// INVALID_ARGUMENT/BAD_MESSAGE if there is a `grpc-timeout` that is not one.
pub(crate) fn of_call(metadata: &MetadataMap, max: Duration) -> Result<Instant, Status> {
    Ok(within(timeout(metadata)?.unwrap_or(Duration::MAX), max))
}

/// As [`of_call`], for a stream: it may stay open for ever, if its caller sets no deadline.
pub(crate) fn of_stream(metadata: &MetadataMap) -> Result<Option<Instant>, Status> {
    Ok(timeout(metadata)?.map(|timeout| within(timeout, Duration::MAX)))
}

fn timeout(metadata: &MetadataMap) -> Result<Option<Duration>, Status> {
    let Some(header) = metadata.get("grpc-timeout") else {
        return Ok(None);
    };
    let timeout = header.to_str().ok().and_then(parse).ok_or_else(|| {
        bad_message(format!(
            "grpc-timeout is {header:?}, but must be 1 to 8 digits and one of H M S m u n"
        ))
    })?;
    Ok(Some(timeout))
}

/// As [`of_call`], for a timeout that is known; [`Duration::MAX`] stands for none.
pub(crate) fn within(timeout: Duration, max: Duration) -> Instant {
    Instant::now() + (timeout - answer_margin(timeout)).min(max)
}

/// Source: gRPC over HTTP/2, "Timeout": TimeoutValue is a positive integer of at most 8 digits.
fn parse(text: &str) -> Option<Duration> {
    let (unit_at, unit) = text.char_indices().next_back()?;
    let digits = &text[..unit_at];
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    Some(match unit {
        'H' => Duration::from_secs(value * 60 * 60),
        'M' => Duration::from_secs(value * 60),
        'S' => Duration::from_secs(value),
        'm' => Duration::from_millis(value),
        'u' => Duration::from_micros(value),
        'n' => Duration::from_nanos(value),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts() {
        for (text, expected) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("10S", Some(Duration::from_secs(10))),
            ("99999999m", Some(Duration::from_millis(99_999_999))),
            ("5u", Some(Duration::from_micros(5))),
            ("0n", Some(Duration::ZERO)),
            ("", None),
            ("S", None),
            ("5", None),
            ("-5S", None),
            ("+5S", None),
            ("5s", None),
            ("999999999S", None),
            ("1é", None),
            ("é", None),
        ] {
            assert_eq!(parse(text), expected, "{text:?}");
        }
    }
}
