//! Refusals: errors on their way to the client.

use std::collections::HashMap;
use std::fmt::Display;
use std::time::Duration;

use soloist::ERROR_DOMAIN;
use soloist::v1::error::Reason;
use tonic::metadata::{AsciiMetadataValue, MetadataMap};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt, pb};

use crate::metrics;

/// An error on its way to the client. It becomes a [`Status`] that ends a call, or a `google.rpc.Status` in the answer to one
/// operation or frame of a stream.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(super) code: Code,
    pub(super) reason: Reason,
    pub(super) message: String,
    pub(super) metadata: HashMap<String, String>,
    /// Boxed, because it is much larger than the results in whose place a refusal is returned.
    details: Box<ErrorDetails>,
}

impl Refusal {
    pub(super) fn new(code: Code, reason: Reason, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            metadata: HashMap::new(),
            details: Box::default(),
        }
    }

    /// Adds an entry to the metadata of ErrorInfo.
    pub(super) fn with(mut self, name: &str, value: impl Display) -> Self {
        self.metadata.insert(name.into(), value.to_string());
        self
    }

    /// Says which operation of a frame or Batch is refused.
    #[must_use]
    pub(crate) fn at_operation(self, index: usize) -> Self {
        self.with("op", index)
    }

    /// The same refusal, for another frame that is refused for the same reason.
    #[must_use]
    pub(crate) fn again(&self) -> Self {
        Self {
            code: self.code,
            reason: self.reason,
            message: self.message.clone(),
            metadata: self.metadata.clone(),
            details: self.details.clone(),
        }
    }

    /// The text for people.
    #[must_use]
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(super) fn limit(self, limit: impl Display, actual: impl Display) -> Self {
        self.with("limit", limit).with("actual", actual)
    }

    pub(super) fn over_quota(self, subject: &str, limit: u64, actual: u64) -> Self {
        self.limit(limit, actual).details(|details| {
            let description = format!("{actual} bytes, the limit is {limit}");
            details.add_quota_failure_violation(subject, description);
        })
    }

    pub(super) fn violation(self, kind: &str, subject: &str, description: &str) -> Self {
        self.details(|details| {
            details.add_precondition_failure_violation(kind, subject, description);
        })
    }

    pub(super) fn retry_after(self, delay: Duration) -> Self {
        self.details(|details| {
            details.set_retry_info(Some(delay));
        })
    }

    pub(super) fn resource(self, kind: &str, name: &str, description: &str) -> Self {
        self.details(|details| {
            details.set_resource_info(kind, name, "", description);
        })
    }

    pub(super) fn details(mut self, set: impl FnOnce(&mut ErrorDetails)) -> Self {
        set(&mut self.details);
        self
    }

    /// The gRPC status, with the details in `grpc-status-details-bin`, and with the pushback trailer if the
    /// details have a RetryInfo, or if a retry would be in vain.
    #[must_use]
    pub(crate) fn into_status(mut self) -> Status {
        count(self.reason);
        let mut metadata = MetadataMap::new();
        if let Some(pushback) = self.pushback() {
            metadata.insert("grpc-retry-pushback-ms", pushback);
        }
        self.details
            .set_error_info(self.reason.as_str_name(), ERROR_DOMAIN, self.metadata);
        Status::with_error_details_and_metadata(self.code, self.message, *self.details, metadata)
    }

    /// What gRPC clients that retry by themselves are told: the milliseconds to wait, or -1 for never. None leaves it to
    /// them. Source: gRPC proposal A6, "Pushback".
    fn pushback(&self) -> Option<AsciiMetadataValue> {
        if let Some(delay) = self.details.retry_info().and_then(|info| info.retry_delay) {
            let millis = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
            return Some(millis.into());
        }
        // Only where clients often retry because of the code. What other codes mean, they know.
        let retry_is_in_vain = matches!(
            self.reason,
            Reason::ExpectationFailed
                | Reason::SessionTakenOver
                | Reason::StoreFull
                | Reason::MessageTooLarge
                | Reason::AnswerTooLarge
        );
        retry_is_in_vain.then(|| AsciiMetadataValue::from_static("-1"))
    }

    /// The refusal as a message.
    #[must_use]
    pub(crate) fn into_rpc_status(mut self) -> pb::Status {
        count(self.reason);
        self.details
            .set_error_info(self.reason.as_str_name(), ERROR_DOMAIN, self.metadata);
        let status = Status::with_error_details(self.code, self.message, *self.details);
        // The details of a status are this message, encoded by tonic-types.
        prost::Message::decode(status.details()).expect("tonic-types has encoded these details")
    }
}

/// Counts an error that a client is sent.
pub(super) fn count(reason: Reason) {
    metrics::here(|cells| {
        let number = usize::try_from(reason as i32).ok();
        if let Some(cell) = number.and_then(|number| cells.refusals.get(number)) {
            cell.add(1);
        }
    });
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        refusal.into_status()
    }
}
