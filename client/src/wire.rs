//! Conversions between the types of the wire and those of Rust.

use std::time::{Duration, SystemTime};

use crate::Error;

/// The longest duration that protobuf allows, about 10,000 years.
const WIRE_MAX: Duration = Duration::from_secs(315_576_000_000);

/// Cuts a duration that is too long for protobuf to the longest one. No server grants that either.
pub(crate) fn duration_to_wire(duration: Duration) -> prost_types::Duration {
    let duration = duration.min(WIRE_MAX);
    prost_types::Duration {
        seconds: duration.as_secs().cast_signed(),
        nanos: duration.subsec_nanos().cast_signed(),
    }
}

/// Fails with INTERNAL for a negative or malformed duration, which no Soloist server sends.
pub(crate) fn duration_from_wire(duration: prost_types::Duration) -> Result<Duration, Error> {
    // Not by `try_into` of prost-types, which panics at the least number of seconds.
    let seconds = u64::try_from(duration.seconds);
    let nanos = u32::try_from(duration.nanos);
    match (seconds, nanos) {
        (Ok(seconds), Ok(nanos)) if nanos < 1_000_000_000 => Ok(Duration::new(seconds, nanos)),
        _ => Err(Error::malformed("an invalid duration")),
    }
}

/// Fails with INTERNAL for a time that this system cannot represent, which no Soloist server sends.
pub(crate) fn timestamp_from_wire(
    timestamp: Option<prost_types::Timestamp>,
) -> Result<Option<SystemTime>, Error> {
    timestamp
        .map(|timestamp| {
            timestamp
                .try_into()
                .map_err(|_| Error::malformed("an invalid time"))
        })
        .transpose()
}

/// The wire has no absent strings: an empty one means that there is none.
pub(crate) fn non_empty(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// Cuts a page size to what the wire can hold, which is far more than any server returns.
pub(crate) fn page_size_to_wire(page_size: u32) -> i32 {
    i32::try_from(page_size).unwrap_or(i32::MAX)
}

/// Implements the conversion of a request into the message that it wraps.
macro_rules! into_wire {
    ($($request:ident: $wire:ident;)*) => {$(
        impl From<$request> for v1::$wire {
            fn from(request: $request) -> Self {
                request.0
            }
        }
    )*};
}

pub(crate) use into_wire;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_survive_the_wire() {
        for duration in [
            Duration::ZERO,
            Duration::from_nanos(1),
            Duration::new(3_600, 999_999_999),
            WIRE_MAX,
        ] {
            assert_eq!(
                duration_from_wire(duration_to_wire(duration)).unwrap(),
                duration
            );
        }
        assert_eq!(duration_to_wire(Duration::MAX), duration_to_wire(WIRE_MAX));
    }

    #[test]
    fn no_time_of_the_wire_panics() {
        for seconds in [i64::MIN, i64::MIN + 1, -1, 0, i64::MAX] {
            for nanos in [i32::MIN, -1, 0, 1_000_000_000, i32::MAX] {
                let _ = timestamp_from_wire(Some(prost_types::Timestamp { seconds, nanos }));
            }
        }
    }

    #[test]
    fn a_negative_duration_is_an_error() {
        for (seconds, nanos) in [
            (-1, 0),
            (0, -1),
            (0, i32::MAX),
            (i64::MAX, i32::MAX),
            (i64::MIN, 0),
            (i64::MIN, i32::MIN),
        ] {
            let invalid = prost_types::Duration { seconds, nanos };
            assert_eq!(
                duration_from_wire(invalid).unwrap_err().code(),
                tonic::Code::Internal
            );
        }
        assert_eq!(timestamp_from_wire(None).unwrap(), None);
    }
}
