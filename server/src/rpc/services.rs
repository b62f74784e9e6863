//! What answers the calls of a connection: a store, or a node of a cluster, which may come to own one.

use std::cell::OnceCell;
use std::sync::{Arc, OnceLock};

use http::Request;
use soloist_http2::Head;
use tokio::sync::watch;

use super::answering::Answering;
use super::body::incoming::RequestBody;
use super::router::{ClientRouter, Router, ShownCertificate};
pub(crate) use super::router::{UNARY_METHODS, UnaryCall, UnaryMethod};
use super::standby::{Client, Forward, Standby};
use crate::access::{Credential, certificate_names};
pub(crate) use crate::owner::{CallGuard, ConnectionQuota, QuotaGuard};

/// What answers calls. A connection has its own: see [`for_connection`](Self::for_connection).
#[derive(Clone)]
pub(crate) enum Services {
    /// A store that this server owns.
    Store(Router),
    /// A node of a cluster.
    Node(NodeServices),
}

/// What answers the calls to a node: a standby, and the store once the node owns it. Never back: a node that does not own it any
/// more ends.
#[derive(Clone)]
pub(crate) struct NodeServices {
    standby: Arc<Standby>,
    store: Arc<OnceLock<Router>>,
    quota: ConnectionQuota,
    forward: Option<Arc<dyn Forward>>,
}

impl NodeServices {
    pub(crate) fn new(standby: Standby) -> Self {
        Self {
            // No call uses it.
            quota: ConnectionQuota::new(0),
            standby: Arc::new(standby),
            store: Arc::default(),
            forward: None,
        }
    }

    /// Where to put the router of the store, once the node owns it. The connections that are open use it from their next call on.
    pub(crate) fn store(&self) -> Arc<OnceLock<Router>> {
        Arc::clone(&self.store)
    }
}

impl Services {
    /// The same services for a new connection, with a quota of its own, which send calls on by `forward`.
    pub(crate) fn for_connection(&self, forward: Option<&Arc<dyn Forward>>) -> Self {
        match self {
            Self::Store(router) => Self::Store(router.for_connection()),
            Self::Node(node) => Self::Node(NodeServices {
                quota: node.standby.quota(),
                forward: forward.cloned(),
                ..node.clone()
            }),
        }
    }

    /// The same services for the calls of `peer`, the client of the connection, which has shown this certificate of its own.
    pub(crate) fn called_by(
        &self,
        peer: &str,
        certificate: Option<ShownCertificate<'_>>,
    ) -> ClientServices {
        match self {
            Self::Store(router) => ClientServices::Store(router.called_by(peer, certificate)),
            Self::Node(services) => ClientServices::Node(NodeClient {
                credential: certificate
                    .as_ref()
                    .map(|shown| Credential::Certificate(certificate_names(shown.encoded).into())),
                certificate: certificate.map(|shown| (shown.encoded.into(), shown.refused)),
                services: services.clone(),
                peer: peer.into(),
                store: OnceCell::new(),
            }),
        }
    }

    /// What the connection may use.
    pub(crate) fn quota(&self) -> &ConnectionQuota {
        match self {
            Self::Store(router) => router.quota(),
            Self::Node(node) => &node.quota,
        }
    }
}

/// The services of one connection, for the calls of its client.
pub(crate) enum ClientServices {
    Store(ClientRouter),
    Node(NodeClient),
}

/// The client of a connection to a node.
pub(crate) struct NodeClient {
    services: NodeServices,
    peer: String,
    /// The client's own certificate, and what changes when it is not accepted any more.
    certificate: Option<(Vec<u8>, watch::Receiver<()>)>,
    /// What it says.
    credential: Option<Credential>,
    /// Set with the first call after the node has come to own the store.
    store: OnceCell<ClientRouter>,
}

impl ClientServices {
    /// Begins a call.
    pub(crate) fn begin(&self, request: Request<RequestBody>) -> Answering {
        match self {
            Self::Store(router) => router.call(request),
            Self::Node(node) => node.call(request),
        }
    }

    /// Begins a call of a method of State with one answer, whose request has not come. None if it has to be begun with a request.
    pub(crate) fn begin_unary(
        &self,
        method: &'static UnaryMethod,
        head: &Head<'_>,
    ) -> Option<Result<UnaryCall, Answering>> {
        self.store()?.begin_unary(method, head)
    }

    /// The services of the store. None while the node does not own it.
    fn store(&self) -> Option<&ClientRouter> {
        match self {
            Self::Store(router) => Some(router),
            Self::Node(node) => node.store.get(),
        }
    }
}

impl NodeClient {
    fn call(&self, request: Request<RequestBody>) -> Answering {
        if let Some(store) = self.store.get() {
            return store.call(request);
        }
        if let Some(router) = self.services.store.get() {
            let store = self.store.get_or_init(|| self.client_of(router));
            return store.call(request);
        }
        let NodeServices {
            standby,
            quota,
            forward,
            ..
        } = &self.services;
        let certificate = self.certificate.as_ref();
        let client = Client {
            quota,
            forward: forward.as_ref(),
            certificate: self.credential.as_ref(),
            is_refused: certificate
                .is_some_and(|(_, refused)| matches!(refused.has_changed(), Ok(true))),
        };
        Answering::new(quota, || standby.route(&client, request))
    }

    /// The services of the store, for the same client.
    fn client_of(&self, router: &Router) -> ClientRouter {
        let certificate = self.certificate.as_ref();
        let shown = certificate.map(|(encoded, refused)| ShownCertificate {
            encoded,
            refused: refused.clone(),
        });
        let router = router.with_quota(self.services.quota.clone());
        router.called_by(&self.peer, shown)
    }
}
