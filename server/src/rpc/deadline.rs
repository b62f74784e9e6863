//! Deadlines of calls: reads the header `grpc-timeout`, strictly.

use std::time::Duration;

use tokio::time::Instant;
use tonic::{Request, Status};

use super::status::bad_message;
use crate::config::{Limits, answer_margin};

/// When a call must be answered: a little before its caller gives up, so that the caller still gets the answer. It counts
/// from the moment that the headers arrive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    /// When the headers arrived. The clock is read once a call.
    begun: Instant,
    /// None if the caller sent no timeout.
    at: Option<Instant>,
}

impl Deadline {
    /// Reads `grpc-timeout`, if the call has it.
    ///
    /// # Errors
    /// INVALID_ARGUMENT/BAD_MESSAGE if the header is there and cannot be read.
    pub(crate) fn from_header(header: Option<&[u8]>) -> Result<Self, Status> {
        let begun = Instant::now();
        let Some(header) = header else {
            return Ok(Self { begun, at: None });
        };
        let text = str::from_utf8(header).ok();
        let timeout = text.and_then(parse_timeout).ok_or_else(|| {
            bad_message(format!(
                "grpc-timeout is \"{}\", but must be 1 to 8 digits and one of H M S m u n",
                header.escape_ascii()
            ))
        })?;
        let answer_within = timeout - answer_margin(timeout);
        Ok(Self {
            begun,
            at: Some(begun + answer_within),
        })
    }

    /// The deadline that the router put into the extensions of a request.
    pub(crate) fn of_request<T>(request: &Request<T>) -> Self {
        let deadline = request.extensions().get().copied();
        deadline.unwrap_or_else(|| Self {
            begun: Instant::now(),
            at: None,
        })
    }

    /// When the call began.
    pub(crate) fn begun(self) -> Instant {
        self.begun
    }

    /// For a stream: none means that it may stay open for ever.
    pub(crate) fn or_never(self) -> Option<Instant> {
        self.at
    }

    /// For a unary call: at the latest `Limits.max_deadline` after it began, also if the caller would wait longer or sent no timeout.
    pub(crate) fn or_max(self, limits: &Limits) -> Instant {
        let max = self.begun + limits.max_deadline;
        self.at.map_or(max, |deadline| deadline.min(max))
    }
}

/// A timeout: at most 8 digits and a unit. Source: gRPC over HTTP/2, "Timeout".
fn parse_timeout(text: &str) -> Option<Duration> {
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
            assert_eq!(parse_timeout(text), expected, "{text:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_answer_comes_before_the_caller_gives_up() {
        let now = Instant::now();
        let max = Limits {
            max_deadline: Duration::from_secs(3),
            ..Limits::default()
        };
        for (timeout, stream, call) in [
            (None, None, 3_000),
            (Some("8m"), Some(7), 7),
            (Some("1S"), Some(990), 990),
            (Some("1M"), Some(59_990), 3_000),
        ] {
            let deadline = Deadline::from_header(timeout.map(str::as_bytes)).unwrap();
            let at = |millis| now + Duration::from_millis(millis);
            assert_eq!(deadline.or_never(), stream.map(at), "{timeout:?}");
            assert_eq!(deadline.or_max(&max), at(call), "{timeout:?}");
        }
    }
}
