//! Timeouts: told to the server, and kept on this side too.

use std::time::Duration;

use tonic::{Code, Request, Response, Status};

use crate::error::is_timeout;
use crate::{Error, Outcome};

/// The longest time that is told to a server: more than any of them grants, and less than the header can hold.
const TIMEOUT_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A request that tells the server how long it has.
pub(crate) fn request_with_timeout<T>(message: T, timeout: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(timeout.min(TIMEOUT_MAX));
    request
}

/// Awaits a call, but not beyond its timeout: the server keeps it too, but may be out of reach by then.
pub(crate) async fn within<T>(
    timeout: Duration,
    default_outcome: Outcome,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Error> {
    match tokio::time::timeout(timeout, call).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) if !is_timeout(&status) => {
            Err(Error::from_status(&status, default_outcome))
        }
        _ => Err(Error::new(
            Code::DeadlineExceeded,
            format!("no answer within {timeout:?}"),
            default_outcome,
        )),
    }
}
