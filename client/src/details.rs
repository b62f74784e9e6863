//! The details of an error that callers are told: `google.rpc.ErrorInfo` and `RetryInfo`.
//!
//! Not by tonic-types' own reading of them, which converts a delay with prost-types: that panics at the least number of
//! seconds, which a broken server may send.

use std::time::Duration;

use prost::Message;
use tonic_types::pb;

use crate::wire::duration_from_wire;

const ERROR_INFO: &str = "type.googleapis.com/google.rpc.ErrorInfo";
const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// What an error says of itself. Details that cannot be read are left out.
#[derive(Debug, Default)]
pub(crate) struct Details {
    pub(crate) info: Option<pb::ErrorInfo>,
    pub(crate) retry_delay: Option<Duration>,
}

impl Details {
    /// Reads the trailer `grpc-status-details-bin`.
    pub(crate) fn decode(trailer: &[u8]) -> Self {
        match pb::Status::decode(trailer) {
            Ok(status) => Self::of(&status),
            Err(_) => Self::default(),
        }
    }

    pub(crate) fn of(status: &pb::Status) -> Self {
        let mut details = Self::default();
        for any in &status.details {
            let value = any.value.as_slice();
            match any.type_url.as_str() {
                ERROR_INFO => details.info = pb::ErrorInfo::decode(value).ok(),
                RETRY_INFO => {
                    let retry = pb::RetryInfo::decode(value).ok();
                    let delay = retry.and_then(|retry| retry.retry_delay);
                    details.retry_delay = delay.and_then(|delay| duration_from_wire(delay).ok());
                }
                _ => {}
            }
        }
        details
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_that_is_no_delay_is_left_out() {
        for (seconds, nanos, expected) in [
            (5, 0, Some(Duration::from_secs(5))),
            (-1, 0, None),
            (i64::MIN, 0, None),
            (i64::MIN, i32::MIN, None),
            (0, 1_000_000_000, None),
        ] {
            let retry = pb::RetryInfo {
                retry_delay: Some(prost_types::Duration { seconds, nanos }),
            };
            let status = pb::Status {
                details: vec![prost_types::Any {
                    type_url: RETRY_INFO.into(),
                    value: retry.encode_to_vec(),
                }],
                ..pb::Status::default()
            };
            let details = Details::decode(&status.encode_to_vec());
            assert_eq!(details.retry_delay, expected, "{seconds} {nanos}");
        }
        assert!(Details::decode(b"no message").info.is_none());
    }
}
