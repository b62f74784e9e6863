//! What went wrong, and the exit code that says so.

use std::fmt;
use std::io;

use soloist_client::{Code, Error, Outcome, Reason};

/// There is no such key, machine or session.
pub(crate) const MISSING: i32 = 1;
/// The arguments cannot be used.
pub(crate) const BAD_ARGUMENTS: i32 = 2;
/// A condition does not hold, or the state does not allow the change.
pub(crate) const REFUSED: i32 = 3;
/// The server does not know the caller, or does not permit the call.
pub(crate) const NOT_PERMITTED: i32 = 4;
/// The server cannot be reached, or does not serve now. Nothing was applied.
pub(crate) const UNAVAILABLE: i32 = 5;
/// Whether the change was applied is unknown.
pub(crate) const UNKNOWN_OUTCOME: i32 = 6;
/// Anything else, such as a file that cannot be written.
pub(crate) const OTHER: i32 = 7;
/// A lock or an office was lost, as `EX_TEMPFAIL` of sysexits.h says: try again.
pub(crate) const LOST: i32 = 75;
/// `--wait` is over, as with timeout(1).
pub(crate) const WAITED: i32 = 124;
/// A command cannot be run, or was not found, as shells say it.
pub(crate) const NOT_RUNNABLE: i32 = 126;
pub(crate) const NO_COMMAND: i32 = 127;

/// Why a command of this program ends early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The user must type something else.
    Arguments(String),
    /// A call that failed.
    Call(Error),
    /// A text and its exit code.
    Other(String, i32),
    /// Nobody reads the output any more, as after `| head`.
    ReaderGone,
}

impl Failure {
    pub(crate) fn other(why: impl Into<String>) -> Self {
        Self::Other(why.into(), OTHER)
    }

    pub(crate) fn exit_code(&self) -> i32 {
        match self {
            Self::Arguments(_) => BAD_ARGUMENTS,
            Self::Call(error) => of_call(error),
            Self::Other(_, code) => *code,
            Self::ReaderGone => 0,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Call(error)
    }
}

impl From<io::Error> for Failure {
    /// An error of the output.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ReaderGone,
            _ => Self::other(format!("cannot write the output: {error}")),
        }
    }
}

fn of_call(error: &Error) -> i32 {
    match error.code() {
        Code::NotFound => MISSING,
        Code::InvalidArgument => BAD_ARGUMENTS,
        Code::Aborted | Code::AlreadyExists | Code::FailedPrecondition | Code::OutOfRange => {
            REFUSED
        }
        Code::Unauthenticated | Code::PermissionDenied => NOT_PERMITTED,
        Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted => {
            match error.outcome() {
                Outcome::NotApplied => UNAVAILABLE,
                Outcome::Unknown => UNKNOWN_OUTCOME,
            }
        }
        _ => OTHER,
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = match self {
            Self::Arguments(why) | Self::Other(why, _) => return f.write_str(why),
            Self::ReaderGone => return Ok(()),
            Self::Call(error) => error,
        };
        // The message says it, and the names are for whoever looks them up.
        let shown = error.to_string();
        let names = shown.split(": ").next().unwrap_or_default();
        let names = names.replace(" (", ", ").replace(')', "");
        match error.message() {
            "" => f.write_str(&names)?,
            message => write!(f, "{message} [{names}]")?,
        }
        if let Some(hint) = hint(error) {
            write!(f, "\n  {hint}")?;
        }
        Ok(())
    }
}

/// What to do about an error, where its message does not say it.
fn hint(error: &Error) -> Option<&'static str> {
    match error.reason() {
        Some(Reason::CredentialsMissing) => {
            return Some("show who you are: --token-file FILE, or --tls-cert and --tls-key");
        }
        Some(Reason::NotAnInt) => return Some("to make it a number: soloist put KEY --int NUMBER"),
        Some(Reason::SessionExists) => return Some("to end that session first: --take-over"),
        _ => {}
    }
    (of_call(error) == UNKNOWN_OUTCOME)
        .then_some("whether it was applied is unknown: look before you type it again")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(code: i32, message: &str) -> Failure {
        let status = tonic_types_status(code, message);
        Failure::Call(Error::from_status(&status, Outcome::Unknown))
    }

    fn tonic_types_status(code: i32, message: &str) -> tonic::Status {
        tonic::Status::new(Code::from_i32(code), message)
    }

    #[test]
    fn each_kind_of_error_has_an_exit_code() {
        for (code, exit_code) in [
            (Code::NotFound, 1),
            (Code::InvalidArgument, 2),
            (Code::Aborted, 3),
            (Code::AlreadyExists, 3),
            (Code::FailedPrecondition, 3),
            (Code::OutOfRange, 3),
            (Code::Unauthenticated, 4),
            (Code::PermissionDenied, 4),
            (Code::Unavailable, 6),
            (Code::DeadlineExceeded, 6),
            (Code::Internal, 7),
        ] {
            assert_eq!(call(code as i32, "why").exit_code(), exit_code, "{code:?}");
        }
        let of_read = Error::from_status(&tonic::Status::unavailable("why"), Outcome::NotApplied);
        assert_eq!(Failure::Call(of_read).exit_code(), 5);
    }

    #[test]
    fn an_error_begins_with_its_message() {
        let text = call(Code::Aborted as i32, "has 3").to_string();
        assert_eq!(text, "has 3 [ABORTED]");
        let text = call(Code::Unavailable as i32, "").to_string();
        assert!(
            text.starts_with("UNAVAILABLE\n  whether it was applied is unknown"),
            "{text}"
        );
    }
}
