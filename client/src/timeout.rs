//! Timeouts: the server is told, and this side keeps them too.

use std::time::Duration;

use tonic::{Code, Request, Response, Status};

use crate::error::is_timeout;
use crate::{Error, Outcome};

/// The longest timeout told to a server: more than any server grants, and less than the header can hold.
const TIMEOUT_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A request whose `grpc-timeout` tells the server how long it has.
pub(crate) fn request_with_timeout<T>(message: T, timeout: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(timeout.min(TIMEOUT_MAX));
    request
}

/// Awaits a call for at most `timeout`. The server ends the call by then as well, but it may be out of reach.
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
