//! The connection to a server: the channel, and the defaults of all calls on it.

use std::time::Duration;

use soloist::v1::admin_client::AdminClient;
use soloist::v1::machines_client::MachinesClient;
use soloist::v1::sessions_client::SessionsClient;
use soloist::v1::state_client::StateClient;
use soloist::v1::{GetInfoRequest, Info};

use crate::retry::until_seen;
use crate::timeout::{request_with_timeout, within};
use crate::transport::Transport;
use crate::{Error, Outcome, Retry};

/// The largest response message taken. Well above what a Soloist server sends: it guards against other peers.
pub(crate) const RESPONSE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A channel with the clients of all services on it, and the default timeout and retries of calls.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) transport: Transport,
    pub(crate) state: StateClient<Transport>,
    pub(crate) machines: MachinesClient<Transport>,
    pub(crate) sessions: SessionsClient<Transport>,
    pub(crate) admin: AdminClient<Transport>,
    pub(crate) timeout: Duration,
    pub(crate) retry: Option<Retry>,
}

impl Connection {
    pub(crate) fn new(channel: Transport, timeout: Duration, retry: Option<Retry>) -> Self {
        Self {
            state: StateClient::new(channel.clone()).max_decoding_message_size(RESPONSE_BYTES_MAX),
            machines: MachinesClient::new(channel.clone())
                .max_decoding_message_size(RESPONSE_BYTES_MAX),
            sessions: SessionsClient::new(channel.clone())
                .max_decoding_message_size(RESPONSE_BYTES_MAX),
            admin: AdminClient::new(channel.clone()),
            transport: channel,
            timeout,
            retry,
        }
    }

    pub(crate) async fn info(&self, timeout: Duration) -> Result<Info, Error> {
        until_seen(&self.transport, timeout, |left| {
            let mut admin = self.admin.clone();
            let request = request_with_timeout(GetInfoRequest {}, left);
            async move { within(left, Outcome::NotApplied, admin.get_info(request)).await }
        })
        .await
    }
}
