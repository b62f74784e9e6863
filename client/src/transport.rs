//! What carries calls: a channel, and the token that goes with each call.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};
use tonic::body::Body;
use tonic::transport::Channel;
use tonic::transport::channel::ResponseFuture;
use tower_service::Service;

use crate::routes::{DIRECT, Routed, Routes};
use crate::token::Token;

/// A channel to a server whose calls bear the client's token. What the generated clients run on.
///
/// Cheap to clone, and clones share the connection. Once a second the file of the token is read again before a call: so
/// [`poll_ready`](Service::poll_ready) may wait for the file, up to a second, and needs tokio's runtime.
///
/// With several addresses, a call goes to the one that is in use when [`poll_ready`](Service::poll_ready) returns.
#[derive(Clone, Debug)]
pub struct Transport {
    channel: Channel,
    /// None if there is one address.
    routes: Option<Arc<Routes>>,
    /// The version of the address that `channel` is of.
    version: u64,
    token: Option<Token>,
    /// Other headers of every call.
    headers: Arc<[(HeaderName, HeaderValue)]>,
}

impl Transport {
    pub(crate) fn new(
        channel: Channel,
        routes: Option<Arc<Routes>>,
        token: Option<Token>,
        mut headers: Vec<(HeaderName, HeaderValue)>,
    ) -> Self {
        if routes.is_some() {
            headers.push(DIRECT);
        }
        let headers = headers.into();
        Self {
            channel,
            version: 0,
            routes,
            token,
            headers,
        }
    }

    /// How many further attempts find the owner, wherever it is: at each address, and at one that a node names. None if there is one address.
    pub(crate) fn hops(&self) -> usize {
        self.routes.as_ref().map_or(0, |routes| routes.len())
    }
}

impl Service<http::Request<Body>> for Transport {
    type Response = http::Response<Body>;
    type Error = tonic::transport::Error;
    type Future = Response;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if let Some(token) = &mut self.token {
            ready!(token.poll_fresh(cx));
        }
        if let Some(routes) = &self.routes
            && routes.version() != self.version
        {
            (self.channel, self.version) = routes.channel();
        }
        self.channel.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        for (name, value) in &*self.headers {
            request.headers_mut().append(name, value.clone());
        }
        if let Some(token) = &self.token {
            request.headers_mut().insert(AUTHORIZATION, token.header());
        }
        let response = self.channel.call(request);
        match &self.routes {
            None => Response::Direct(response),
            Some(routes) => {
                Response::Routed(Routed::new(response, Arc::clone(routes), self.version))
            }
        }
    }
}

/// The response of a call.
#[derive(Debug)]
pub enum Response {
    #[doc(hidden)]
    Direct(ResponseFuture),
    #[doc(hidden)]
    Routed(Routed),
}

impl Future for Response {
    type Output = Result<http::Response<Body>, tonic::transport::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Direct(response) => Pin::new(response).poll(cx),
            Self::Routed(response) => Pin::new(response).poll(cx),
        }
    }
}
