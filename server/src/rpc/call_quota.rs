//! The quota of a call's connection, for services that tonic generates: one service serves all connections.

use prost::Message;
use tonic::{Request, Response, Status};

use super::status::Refusal;
use crate::owner::{ConnectionQuota, QuotaGuard};

/// What a call may add to what its connection holds in memory. The router has put it into the request.
pub(super) struct CallQuota(Option<ConnectionQuota>);

impl CallQuota {
    pub(super) fn of_request<T>(request: &Request<T>) -> Self {
        Self(request.extensions().get().cloned())
    }

    /// Reserves room for a response, until the guard is dropped.
    ///
    /// # Errors
    /// OVERLOADED if there is none.
    pub(super) fn reserve(&self, bytes: usize) -> Result<Option<QuotaGuard>, Status> {
        let reserve = |quota: &ConnectionQuota| quota.reserve(bytes).map_err(Refusal::from);
        Ok(self.0.as_ref().map(reserve).transpose()?)
    }

    /// The response with this message, which is charged as soon as it is encoded.
    ///
    /// # Errors
    /// OVERLOADED if there is no room for it.
    pub(super) fn answer<M: Message>(&self, message: M) -> Result<Response<M>, Status> {
        self.reserve(message.encoded_len())?;
        Ok(Response::new(message))
    }
}
