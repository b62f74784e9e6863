//! Errors: what went wrong, whether anything was applied, and whether the same call may be retried.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use soloist::v1::error::Reason;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status, TimeoutExpired};

use crate::details::Details;

/// A call, a frame or one operation of a frame that did not succeed.
///
/// An error of the server itself has a [`reason`](Self::reason). It means that nothing was applied, unless the reason
/// is OUTCOME_UNKNOWN. Any other error comes from the network, a proxy or a library, and whether a change was applied
/// is [unknown](Outcome::Unknown).
///
/// ```
/// # use soloist_client::{Client, Condition, Error, Outcome};
/// # async fn example(client: Client) -> Result<(), Error> {
/// match client.write("leader", "a").expect(Condition::Missing).await {
///     Ok(written) => println!("elected at revision {}", written.revision),
///     Err(error) if error.outcome() == Outcome::Unknown => println!("read before a retry: {error}"),
///     Err(error) if error.is_retryable() => println!("retry in {:?}", error.retry_delay()),
///     Err(error) => println!("not elected: {error}"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    code: Code,
    message: String,
    outcome: Outcome,
    reason: Option<Reason>,
    metadata: HashMap<String, String>,
    retry_delay: Option<Duration>,
    /// The server asked not to retry.
    retry_forbidden: bool,
    /// The call met the end of a connection, and no server has applied it: another attempt is on another connection.
    unseen: bool,
    /// See [`Error::is_elsewhere`].
    is_elsewhere: bool,
}

/// The trailer with which a server says when to retry. Source: gRPC proposal A6, "gRPC Retry Design".
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// Whether a failed call has changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing was applied. Every failed call that only reads has this outcome, unless its reply was malformed.
    NotApplied,
    /// The call may have been applied or not, or may still be applied. Retry it with the same request id only, as a
    /// call with [`retry`](crate::Call::retry) does by itself. Without a request id, read first.
    Unknown,
}

impl Error {
    /// The gRPC status code.
    #[must_use]
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// What went wrong, in words. Empty if the sender had none.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Why the server refused. `None` if the error does not come from the server itself, or if the reason is newer than
    /// this library.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        self.0.reason
    }

    /// A detail of the reason, such as `limit` or `actual`. [`Reason`] lists the details of each reason.
    #[must_use]
    pub fn metadata(&self, name: &str) -> Option<&str> {
        self.0.metadata.get(name).map(String::as_str)
    }

    /// How long to wait before a retry, if the server says so.
    #[must_use]
    pub fn retry_delay(&self) -> Option<Duration> {
        self.0.retry_delay
    }

    /// Whether the failed call has changed anything.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.0.outcome
    }

    /// Whether the same call may be retried as it is: nothing was applied, and the cause is transient.
    ///
    /// True for a refusal because of the connection's certificate, too: the next connection is made with what is in the files by
    /// then. False for a condition that did not hold: read, then decide again. Also false for causes that last until someone
    /// acts: a full store, a frame that is too large, a key in another state.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.is_transient() && self.0.outcome == Outcome::NotApplied
    }

    /// Whether the cause is transient, whatever the outcome of the call.
    pub(crate) fn is_transient(&self) -> bool {
        let passes = match self.0.reason {
            Some(reason) => matches!(
                reason,
                Reason::Overloaded
                    | Reason::NotStarted
                    | Reason::OutcomeUnknown
                    | Reason::Draining
                    | Reason::OwnerLost
                    | Reason::NotOwner
                    | Reason::NotConfirmed
            ),
            None => matches!(self.0.code, Code::Unavailable | Code::DeadlineExceeded),
        };
        (passes || self.0.unseen) && !self.0.retry_forbidden
    }

    /// Whether the call met the end of a connection and no server has applied it. Another attempt is on another connection,
    /// and as good as the first.
    pub(crate) fn is_unseen(&self) -> bool {
        self.0.unseen
    }

    /// Whether the call found no server, or one that does not own the store: where there are several addresses, another attempt
    /// goes elsewhere.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.0.is_elsewhere
    }

    /// The error of a call after that many attempts, of which it is the last error. `outcome` is that of all of them.
    pub(crate) fn after_attempts(mut self, attempts: u32, outcome: Outcome) -> Self {
        self.0.outcome = outcome;
        if attempts > 1 {
            self.0.message += &format!(" (after {attempts} attempts)");
        }
        self
    }

    /// Converts the status of a failed call, as the generated clients of the crate `soloist` return it.
    ///
    /// `default_outcome` becomes the [`outcome`](Self::outcome) if the status does not tell it: pass
    /// [`Outcome::NotApplied`] for a call that only reads, and [`Outcome::Unknown`] for a call that changes something.
    /// The status tells the outcome if the server refused the call with a reason, or if the call never reached a
    /// server.
    ///
    /// ```
    /// use soloist::v1::ReadRequest;
    /// use soloist_client::{Client, Error, Outcome, Reason};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let server = soloist_server::Server::start(listener, &Default::default())?;
    /// let client = Client::connect(format!("http://{}", server.local_addr())).await?;
    /// let no_key = ReadRequest { key: String::new(), expect: None };
    /// let status = client.state_client().read(no_key).await.expect_err("a key is not empty");
    ///
    /// let error = Error::from_status(&status, Outcome::NotApplied);
    /// assert_eq!(error.reason(), Some(Reason::BadKey));
    /// assert!(!error.is_retryable());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn from_status(status: &Status, default_outcome: Outcome) -> Self {
        let Some(source) = status.source() else {
            let details = Details::decode(status.details());
            return Self::with_details(status.code(), status.message(), details, default_outcome)
                .with_pushback(status.metadata());
        };
        if is_timeout(status) {
            return Self::new(Code::DeadlineExceeded, "no answer in time", default_outcome);
        }
        let http2 = causes(source).find_map(|cause| cause.downcast_ref::<h2::Error>());
        let unseen = is_unseen(source, http2);
        // Nobody has processed a call that found no connection, either.
        let not_connected = causes(source).any(|cause| cause.is::<tonic::ConnectError>());
        let not_processed = unseen || not_connected;
        let outcome = if not_processed {
            Outcome::NotApplied
        } else {
            default_outcome
        };
        // tonic reports a closed connection with several codes. Among them is INTERNAL for the GOAWAY (NO_ERROR) of a
        // server that shuts down in order.
        let connection_closed = http2.is_some_and(|error| error.is_go_away() || error.is_io());
        let code = match status.code() {
            Code::Unknown | Code::Cancelled => Code::Unavailable,
            _ if connection_closed || not_processed => Code::Unavailable,
            code => code,
        };
        let message = format!("connection failed: {}", root_cause(source));
        let mut error = Self::new(code, message, outcome);
        error.0.unseen = unseen;
        error.0.is_elsewhere = not_connected;
        error
    }

    /// Converts the `google.rpc.Status` in a `PipelineResponse` or `OpResult`, which is there in place of a result.
    ///
    /// The outcome is [`Outcome::NotApplied`] for every reason of Soloist except OUTCOME_UNKNOWN, and
    /// [`Outcome::Unknown`] otherwise.
    ///
    /// ```
    /// use soloist_client::{Code, Error, Outcome};
    ///
    /// let status = tonic_types::Status { code: 14, message: "proxy is restarting".into(), details: vec![] };
    /// let error = Error::from_rpc_status(&status);
    /// assert_eq!(error.code(), Code::Unavailable);
    /// assert_eq!(error.outcome(), Outcome::Unknown);
    /// ```
    #[must_use]
    pub fn from_rpc_status(status: &tonic_types::Status) -> Self {
        let details = Details::of(status);
        Self::with_details(
            Code::from(status.code),
            &status.message,
            details,
            Outcome::Unknown,
        )
    }

    /// The peer replied with something that no Soloist server sends, so its whole reply cannot be trusted.
    pub(crate) fn malformed(what: &str) -> Self {
        Self::new(
            Code::Internal,
            format!("malformed reply: {what}"),
            Outcome::Unknown,
        )
    }

    /// The caller has given this side something that it cannot use.
    pub(crate) fn bad_argument(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, message, Outcome::NotApplied)
    }

    /// The same error with a detail.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.0.metadata.insert(name.to_owned(), value.to_owned());
        self
    }

    /// An error that this side found.
    pub(crate) fn new(code: Code, message: impl Into<String>, outcome: Outcome) -> Self {
        Self(Box::new(Inner {
            code,
            message: message.into(),
            outcome,
            reason: None,
            metadata: HashMap::new(),
            retry_delay: None,
            retry_forbidden: false,
            unseen: false,
            is_elsewhere: false,
        }))
    }

    fn with_details(code: Code, message: &str, details: Details, default_outcome: Outcome) -> Self {
        let mut error = Self::new(code, message, default_outcome);
        error.0.retry_delay = details.retry_delay;
        if let Some(info) = details.info
            && info.domain == soloist::ERROR_DOMAIN
        {
            error.0.reason = Reason::from_str_name(&info.reason);
            error.0.outcome = match error.0.reason {
                // A call that only reads changed nothing, even if its reply is unknown.
                Some(Reason::OutcomeUnknown) => default_outcome,
                _ => Outcome::NotApplied,
            };
            // The certificate of the connection is not accepted any more. The next connection reads it again.
            error.0.unseen = error.0.reason == Some(Reason::CredentialsUnknown)
                && info
                    .metadata
                    .get("connection")
                    .is_some_and(|it| it == "ended");
            error.0.is_elsewhere = error.0.reason == Some(Reason::NotOwner);
            error.0.metadata = info.metadata;
        }
        error
    }

    /// Reads the pushback trailer, too. Anything but a number of milliseconds means: do not retry. Source: as for
    /// [`PUSHBACK`].
    fn with_pushback(mut self, trailers: &MetadataMap) -> Self {
        if let Some(pushback) = trailers.get(PUSHBACK) {
            let delay = pushback.to_str().ok().and_then(|text| text.parse().ok());
            self.0.retry_forbidden = delay.is_none();
            let delay = delay.map(Duration::from_millis);
            self.0.retry_delay = self.0.retry_delay.or(delay);
        }
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(code_name(self.0.code))?;
        if let Some(reason) = self.0.reason {
            write!(f, " ({})", reason.as_str_name())?;
        }
        if !self.0.message.is_empty() {
            write!(f, ": {}", self.0.message)?;
        }
        Ok(())
    }
}

/// The same as [`Display`](fmt::Display), and then the details: a program whose `main` returns the error prints it so.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} [outcome {:?}", self.0.outcome)?;
        let mut metadata: Vec<_> = self.0.metadata.iter().collect();
        metadata.sort();
        for (key, value) in metadata {
            write!(f, ", {key} {value:?}")?;
        }
        f.write_str("]")
    }
}

impl StdError for Error {}

/// Whether a call met the end of a connection, and no server has looked at it.
///
/// - The connection ended while the call was queued for it: hyper reports the call as canceled, or as left behind.
/// - The peer said goodbye. Streams that it has begun go on, and it promises for all others that it will not. Source: RFC
///   9113, section 6.8.
/// - The peer refused the stream before it looked at it. Source: RFC 9113, section 8.7.
fn is_unseen(source: &(dyn StdError + 'static), http2: Option<&h2::Error>) -> bool {
    let queued = causes(source)
        .filter_map(|cause| cause.downcast_ref::<hyper::Error>())
        .any(|error| error.is_canceled() || is_left_behind(error));
    let refused = http2.is_some_and(|error| {
        let goodbye = error.is_go_away() && error.is_remote();
        goodbye || error.reason() == Some(h2::Reason::REFUSED_STREAM)
    });
    queued || refused
}

/// Whether the connection ended while the call was the next one, and waited because the peer permits no further stream: hyper
/// drops such a call. Nothing of its body was sent, and gRPC has its message there, so no server can have begun it. (If the whole
/// runtime was dropped, hyper says the same of calls that were sent; then there is nothing left to make another attempt on.)
fn is_left_behind(error: &hyper::Error) -> bool {
    error.is_user()
        && error.to_string() == "dispatch task is gone"
        && error
            .source()
            .is_some_and(|cause| cause.to_string() == "runtime dropped the dispatch task")
}

/// Whether tonic's own timer ran out, which tonic reports as CANCELLED.
pub(crate) fn is_timeout(status: &Status) -> bool {
    status.source().is_some_and(has_timed_out)
}

/// Whether tonic's own timer ran out.
pub(crate) fn has_timed_out(error: &(dyn StdError + 'static)) -> bool {
    causes(error).any(|cause| cause.is::<TimeoutExpired>())
}

/// The last cause, which says what happened. The errors above it say "transport error" only.
pub(crate) fn root_cause<'a>(error: &'a (dyn StdError + 'static)) -> &'a (dyn StdError + 'static) {
    causes(error).last().unwrap_or(error)
}

fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// The name of a code as in the gRPC specification.
pub(crate) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// A refusal of the server, for tests.
#[cfg(test)]
pub(crate) fn refused(reason: Reason) -> Error {
    let mut error = Error::new(Code::Aborted, "why", Outcome::NotApplied);
    error.0.reason = Some(reason);
    error
}

#[cfg(test)]
mod tests {
    use tonic_types::{ErrorDetails, StatusExt as _};

    use super::*;

    fn refusal(code: Code, reason: &str, domain: &str) -> Status {
        let metadata = HashMap::from([("limit".to_owned(), "4".to_owned())]);
        let mut details = ErrorDetails::with_error_info(reason, domain, metadata);
        details.set_retry_info(Some(Duration::from_millis(20)));
        Status::with_error_details(code, "why", details)
    }

    #[test]
    fn a_refusal_carries_reason_metadata_and_retry_delay() {
        let status = refusal(Code::ResourceExhausted, "OVERLOADED", soloist::ERROR_DOMAIN);
        let error = Error::from_status(&status, Outcome::Unknown);
        assert_eq!(error.code(), Code::ResourceExhausted);
        assert_eq!(error.reason(), Some(Reason::Overloaded));
        assert_eq!(error.metadata("limit"), Some("4"));
        let debug = r#"RESOURCE_EXHAUSTED (OVERLOADED): why [outcome NotApplied, limit "4"]"#;
        assert_eq!(format!("{error:?}"), debug);
        assert_eq!(error.metadata("actual"), None);
        assert_eq!(error.retry_delay(), Some(Duration::from_millis(20)));
        assert_eq!(error.outcome(), Outcome::NotApplied);
        assert!(error.is_retryable());
        assert_eq!(error.to_string(), "RESOURCE_EXHAUSTED (OVERLOADED): why");
    }

    #[test]
    fn outcome_unknown_leaves_the_default_outcome() {
        let status = refusal(
            Code::DeadlineExceeded,
            "OUTCOME_UNKNOWN",
            soloist::ERROR_DOMAIN,
        );
        let of_write = Error::from_status(&status, Outcome::Unknown);
        assert_eq!(of_write.outcome(), Outcome::Unknown);
        assert!(of_write.is_transient() && !of_write.is_retryable());
        let of_read = Error::from_status(&status, Outcome::NotApplied);
        assert!(of_read.is_retryable());
    }

    #[test]
    fn only_safe_and_transient_errors_are_retryable() {
        let ours = soloist::ERROR_DOMAIN;
        let cases = [
            (
                Code::Aborted,
                "EXPECTATION_FAILED",
                ours,
                Outcome::Unknown,
                false,
            ),
            (
                Code::ResourceExhausted,
                "STORE_FULL",
                ours,
                Outcome::Unknown,
                false,
            ),
            (
                Code::DeadlineExceeded,
                "NOT_STARTED",
                ours,
                Outcome::Unknown,
                true,
            ),
            (Code::Unavailable, "DRAINING", ours, Outcome::Unknown, true),
            (Code::Unavailable, "NOT_OWNER", ours, Outcome::Unknown, true),
            (
                Code::DeadlineExceeded,
                "NOT_CONFIRMED",
                ours,
                Outcome::NotApplied,
                true,
            ),
            // A reason that is newer than this library: the code decides.
            (Code::Unavailable, "NAPPING", ours, Outcome::Unknown, true),
            (Code::Aborted, "NAPPING", ours, Outcome::Unknown, false),
            // An error of somebody else: the outcome of a write is unknown, and a read changes nothing.
            (
                Code::Unavailable,
                "DRAINING",
                "proxy.example",
                Outcome::Unknown,
                false,
            ),
            (
                Code::Unavailable,
                "DRAINING",
                "proxy.example",
                Outcome::NotApplied,
                true,
            ),
            (Code::Internal, "", "", Outcome::NotApplied, false),
        ];
        for (code, reason, domain, default_outcome, retryable) in cases {
            let error = Error::from_status(&refusal(code, reason, domain), default_outcome);
            assert_eq!(
                error.is_retryable(),
                retryable,
                "{error} {default_outcome:?}"
            );
        }
    }

    #[test]
    fn a_client_side_timeout_is_deadline_exceeded() {
        let status = Status::from_error(Box::new(TimeoutExpired(())));
        let error = Error::from_status(&status, Outcome::Unknown);
        assert_eq!(error.code(), Code::DeadlineExceeded);
        assert_eq!(error.outcome(), Outcome::Unknown);
    }

    #[test]
    fn without_a_connection_nothing_was_applied() {
        let status = Status::from_error(Box::new(tonic::ConnectError("refused".into())));
        let error = Error::from_status(&status, Outcome::Unknown);
        assert_eq!(error.code(), Code::Unavailable);
        assert_eq!(error.outcome(), Outcome::NotApplied);
        assert!(error.is_retryable());
        assert_eq!(error.to_string(), "UNAVAILABLE: connection failed: refused");
    }

    #[test]
    fn the_pushback_trailer_delays_or_forbids_a_retry() {
        let cases = [
            ("20", Some(Duration::from_millis(20)), true),
            ("-1", None, false),
            ("soon", None, false),
        ];
        for (pushback, delay, retryable) in cases {
            let mut status = Status::unavailable("busy");
            status
                .metadata_mut()
                .insert(PUSHBACK, pushback.parse().unwrap());
            let error = Error::from_status(&status, Outcome::NotApplied);
            assert_eq!(error.retry_delay(), delay, "{pushback}");
            assert_eq!(error.is_retryable(), retryable, "{pushback}");
        }
    }

    #[test]
    fn refusals_for_a_state_are_not_retryable() {
        for reason in [
            "STATE_MISMATCH",
            "TRANSITION_REFUSED",
            "STATE_NOT_FINAL",
            "ENTRIES_IN_STATE",
        ] {
            let status = refusal(Code::FailedPrecondition, reason, soloist::ERROR_DOMAIN);
            let error = Error::from_status(&status, Outcome::Unknown);
            assert!(error.reason().is_some(), "{reason}");
            assert_eq!(
                (error.outcome(), error.is_retryable()),
                (Outcome::NotApplied, false)
            );
        }
    }
}
