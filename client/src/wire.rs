//! Time on the wire: durations and timestamps of protobuf to and from those of Rust.

use std::time::{Duration, SystemTime};

use crate::Error;

/// The longest duration that protobuf knows, about 10,000 years.
const WIRE_MAX: Duration = Duration::from_secs(315_576_000_000);

/// A duration for the wire. What is longer than protobuf knows is cut to that, which no server grants either.
pub(crate) fn duration_to_wire(duration: Duration) -> prost_types::Duration {
    let duration = duration.min(WIRE_MAX);
    prost_types::Duration {
        seconds: duration.as_secs().cast_signed(),
        nanos: duration.subsec_nanos().cast_signed(),
    }
}

/// Fails with INTERNAL for one that is negative: no server of ours sends that.
pub(crate) fn duration_from_wire(duration: prost_types::Duration) -> Result<Duration, Error> {
    duration
        .try_into()
        .map_err(|_| Error::malformed("a duration that is none"))
}

/// Fails with INTERNAL for one that is no time of this system: no server of ours sends that.
pub(crate) fn timestamp_from_wire(
    timestamp: Option<prost_types::Timestamp>,
) -> Result<Option<SystemTime>, Error> {
    timestamp
        .map(|timestamp| {
            timestamp
                .try_into()
                .map_err(|_| Error::malformed("a time that is none"))
        })
        .transpose()
}

/// What the wire leaves empty is not there.
pub(crate) fn non_empty(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// A page's size for the wire. The server cuts it to much less than that can say.
pub(crate) fn page_size_to_wire(page_size: u32) -> i32 {
    i32::try_from(page_size).unwrap_or(i32::MAX)
}

/// What wraps a message gives it away again.
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
    fn what_is_no_duration_is_an_error() {
        let negative = prost_types::Duration {
            seconds: -1,
            nanos: 0,
        };
        assert_eq!(
            duration_from_wire(negative).unwrap_err().code(),
            tonic::Code::Internal
        );
        assert_eq!(timestamp_from_wire(None).unwrap(), None);
    }
}
