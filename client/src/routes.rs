//! The addresses of a store that several nodes serve, and which of them is in use.
//!
//! One node owns the store, and the others say which. So a client keeps to one address until the node there says that another
//! is the owner, cannot be reached, or leaves a call without an answer. Then it goes on with the owner, or with the next address.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use tokio::time::Instant;
use tonic::body::Body;
use tonic::transport::Channel;
use tonic::transport::channel::ResponseFuture;
use tonic::{Code, Status};

use crate::connecting::{
    Connector, ONE_ADDRESS, SEVERAL_ADDRESSES, Security, Target, connect_to, parse_targets,
};
use crate::details::Details;
use crate::error::has_timed_out;
use crate::{Error, Reason};

/// Asks a node that does not own the store to say who does, instead of sending the call on.
pub(crate) const DIRECT: (HeaderName, HeaderValue) = (
    HeaderName::from_static("soloist-direct"),
    HeaderValue::from_static("1"),
);

/// A call that is given up without an answer after so long makes the client go on with another address: a node that stands still
/// keeps its connections, and the next one says who the owner is.
const SILENCE: Duration = Duration::from_secs(1);

/// Most channels that are kept: those of the addresses, and of owners elsewhere.
const CHANNELS_MAX: usize = 64;

/// Connects to a server, or to the first of several addresses that can be reached. With several, the calls of the transport find
/// the node that owns the store.
///
/// # Errors
/// INVALID_ARGUMENT for a URL or files that cannot be used, UNAVAILABLE if no connection can be made.
pub(crate) async fn connect(
    url: &str,
    security: &Security,
    timeout: Duration,
) -> Result<(Channel, Option<Arc<Routes>>), Error> {
    let targets = parse_targets(url)?;
    for target in &targets {
        security.check(url, target)?;
    }
    match &targets[..] {
        [target] => {
            let (channel, _) = connect_to(target, security, ONE_ADDRESS, timeout).await?;
            Ok((channel, None))
        }
        _ => {
            let routes = Routes::connect(targets, security, timeout).await?;
            let (channel, _) = routes.channel();
            Ok((channel, Some(Arc::new(routes))))
        }
    }
}

/// The addresses of a store, shared by all clones of a client.
#[derive(Debug)]
pub(crate) struct Routes {
    addresses: Vec<Target>,
    connector: Connector,
    timeout: Duration,
    /// Counts the changes of `current`: a look at it costs no lock.
    version: AtomicU64,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    target: Target,
    channel: Channel,
    /// The place of the address that was last taken from the list.
    index: usize,
    /// A channel keeps its connection, so that it is there when the store comes back to its node.
    channels: HashMap<String, Channel>,
}

impl Routes {
    /// Connects to the first address that can be reached.
    ///
    /// # Errors
    /// That of the first address, if none can be reached.
    pub(crate) async fn connect(
        addresses: Vec<Target>,
        security: &Security,
        timeout: Duration,
    ) -> Result<Self, Error> {
        let mut first_error = None;
        for (index, target) in addresses.iter().enumerate() {
            match connect_to(target, security, SEVERAL_ADDRESSES, timeout).await {
                Ok((channel, connector)) => {
                    let current = Current {
                        channels: HashMap::from([(target.to_string(), channel.clone())]),
                        target: target.clone(),
                        channel,
                        index,
                    };
                    return Ok(Self {
                        addresses,
                        connector,
                        timeout,
                        version: AtomicU64::new(0),
                        current: Mutex::new(current),
                    });
                }
                Err(error) => drop(first_error.get_or_insert(error)),
            }
        }
        Err(first_error.unwrap_or_else(|| Error::bad_argument("no address")))
    }

    /// How many addresses were given.
    pub(crate) fn len(&self) -> usize {
        self.addresses.len()
    }

    /// The version of the address in use.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The channel to the address in use, and its version.
    pub(crate) fn channel(&self) -> (Channel, u64) {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        (current.channel.clone(), self.version())
    }

    /// Goes on with the next address, unless somebody has left the one of this version already.
    fn leave(&self, version: u64) {
        self.change(version, |current| {
            current.index = (current.index + 1) % self.addresses.len();
            Some(self.addresses[current.index].clone())
        });
    }

    /// Goes on with the owner that the node of this version has named; with the next address if it names none, or itself.
    fn follow(&self, version: u64, owner: &str) {
        let owner = (!owner.is_empty()).then_some(owner);
        self.change(version, |current| {
            let owner = owner.and_then(|owner| current.target.at(owner));
            owner.filter(|owner| *owner != current.target).or_else(|| {
                current.index = (current.index + 1) % self.addresses.len();
                Some(self.addresses[current.index].clone())
            })
        });
    }

    fn change(&self, version: u64, next: impl FnOnce(&mut Current) -> Option<Target>) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if self.version() != version {
            return;
        }
        let Some(target) = next(&mut current) else {
            return;
        };
        let name = target.to_string();
        if current.channels.len() >= CHANNELS_MAX && !current.channels.contains_key(&name) {
            current.channels.clear();
        }
        let channel = current.channels.entry(name).or_insert_with(|| {
            self.connector
                .connect_when_used(&target, SEVERAL_ADDRESSES, self.timeout)
        });
        current.channel = channel.clone();
        current.target = target;
        self.version.store(version + 1, Ordering::Release);
    }
}

/// The response of a call to one of several addresses.
#[derive(Debug)]
pub struct Routed {
    response: ResponseFuture,
    /// None once the response was there.
    routes: Option<Arc<Routes>>,
    version: u64,
    begun: Instant,
}

impl Routed {
    pub(crate) fn new(response: ResponseFuture, routes: Arc<Routes>, version: u64) -> Self {
        Self {
            response,
            routes: Some(routes),
            version,
            begun: Instant::now(),
        }
    }
}

impl Future for Routed {
    type Output = <ResponseFuture as Future>::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(Pin::new(&mut self.response).poll(cx));
        if let Some(routes) = self.routes.take() {
            match &answer {
                Ok(response) => {
                    if let Some(owner) = other_owner(response) {
                        routes.follow(self.version, &owner);
                    }
                }
                // A short timeout says nothing of the node.
                Err(error) if has_timed_out(error) && self.begun.elapsed() < SILENCE => {}
                Err(_) => routes.leave(self.version),
            }
        }
        Poll::Ready(answer)
    }
}

impl Drop for Routed {
    fn drop(&mut self) {
        if let Some(routes) = self.routes.take()
            && self.begun.elapsed() >= SILENCE
        {
            routes.leave(self.version);
        }
    }
}

/// The address of the owner, if the response says that another node is it; empty if it is not known.
fn other_owner(response: &http::Response<Body>) -> Option<String> {
    let headers = response.headers();
    // Only a call that was not begun is refused without a message, in the headers.
    let code = headers.get(Status::GRPC_STATUS)?;
    if Code::from_bytes(code.as_bytes()) != Code::Unavailable {
        return None;
    }
    let status = Status::from_header_map(headers)?;
    let mut info = Details::decode(status.details()).info?;
    let is_elsewhere =
        info.domain == soloist::ERROR_DOMAIN && info.reason == Reason::NotOwner.as_str_name();
    is_elsewhere.then(|| info.metadata.remove("owner").unwrap_or_default())
}
