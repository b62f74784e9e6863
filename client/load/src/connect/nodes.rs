//! The nodes that serve one store, and the one that is in use.
//!
//! One node owns the store, and the others say which. All connections of a run go to the node in use, until it says that another
//! one is the owner, or does not answer. Then they go on with the owner, or with the next address.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::Uri;
use soloist_client::{Error, Outcome, Reason};
use tonic::{Code, Status};

/// The header of a call that a node must not send on to the owner: it is to say who that is.
pub(crate) const DIRECT: (&str, &str) = ("soloist-direct", "1");

/// Why there is no connection, if all nodes were asked.
pub(crate) const NO_OWNER: &str = "no node says that it owns the store";

/// A server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Node {
    /// As the user names it.
    name: String,
    pub(super) kind: Kind,
}

/// HOST:PORT, or the path of a socket.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Plain(String),
    Tls(String),
    Unix(PathBuf),
}

impl Node {
    fn new(name: &str) -> Self {
        let kind = match (name.strip_prefix("unix:"), name.strip_prefix("https://")) {
            (Some(path), _) => Kind::Unix(path.into()),
            (None, Some(authority)) => Kind::Tls(authority.to_owned()),
            (None, None) => Kind::Plain(name.to_owned()),
        };
        Self {
            name: name.to_owned(),
            kind,
        }
    }

    /// The address, as the user names it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The host and the port, which every call names.
    pub(crate) fn authority(&self) -> &str {
        match &self.kind {
            Kind::Plain(authority) | Kind::Tls(authority) => authority,
            // As gRPC's clients do.
            Kind::Unix(_) => "localhost",
        }
    }

    /// The scheme of every call.
    pub(crate) fn scheme(&self) -> &'static str {
        match &self.kind {
            Kind::Tls(_) => "https",
            Kind::Plain(_) | Kind::Unix(_) => "http",
        }
    }

    /// The URI of the server.
    pub(crate) fn origin(&self) -> Uri {
        Uri::builder()
            .scheme(self.scheme())
            .authority(self.authority())
            .path_and_query("/")
            .build()
            .expect("the address of an open connection is a URI authority")
    }

    /// Another server, `HOST:PORT`, that is connected to in the same way: with TLS, if this one is.
    fn at(&self, address: &str) -> Option<Self> {
        let is_authority = address.parse::<http::uri::Authority>().is_ok();
        let has_port = address.rsplit_once(':').is_some();
        match (is_authority && has_port, &self.kind) {
            (true, Kind::Plain(_)) => Some(Self::new(address)),
            (true, Kind::Tls(_)) => Some(Self::new(&format!("https://{address}"))),
            _ => None,
        }
    }
}

/// The nodes of a store.
#[derive(Debug)]
pub(crate) struct Nodes {
    listed: Vec<Arc<Node>>,
    place: Mutex<Place>,
    /// Counts the changes of the node in use.
    version: AtomicU64,
}

#[derive(Debug)]
struct Place {
    current: Arc<Node>,
    /// The place of the node that was last taken from the list.
    index: usize,
}

impl Nodes {
    /// Takes addresses with commas in between, or the path of a socket.
    pub(super) fn new(addresses: &str) -> Self {
        let names: Vec<_> = match addresses.starts_with("unix:") {
            true => vec![addresses],
            false => addresses.split(',').collect(),
        };
        let listed: Vec<_> = names.into_iter().map(Node::new).map(Arc::new).collect();
        let current = Arc::clone(&listed[0]);
        Self {
            listed,
            place: Mutex::new(Place { current, index: 0 }),
            version: AtomicU64::new(0),
        }
    }

    /// The addresses, as the client library takes them.
    pub(super) fn addresses(&self) -> String {
        let names: Vec<_> = self.listed.iter().map(|node| node.name()).collect();
        names.join(",")
    }

    /// Returns how many addresses there are.
    pub(crate) fn count(&self) -> usize {
        self.listed.len()
    }

    /// Returns how many attempts to find the owner it takes to have asked everybody: each node, and whom it names.
    pub(crate) fn round(&self) -> usize {
        2 * self.listed.len()
    }

    /// The node in use.
    pub(crate) fn current(&self) -> Arc<Node> {
        Arc::clone(&self.place().current)
    }

    /// A number that changes with the node in use.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The node in use, and after it the others of the list, in the order in which they would be used.
    pub(super) fn in_order(&self) -> Vec<Arc<Node>> {
        let place = self.place();
        let (before, after) = self.listed.split_at(place.index);
        let mut nodes = vec![Arc::clone(&place.current)];
        for node in after.iter().chain(before) {
            if !nodes.contains(node) {
                nodes.push(Arc::clone(node));
            }
        }
        nodes
    }

    /// Goes on with the next address, because this node does not answer, unless it is not in use any more.
    pub(crate) fn leave(&self, node: &Node) {
        self.change(node, |_| None);
    }

    /// Goes on with the owner that this node has named, and with the next address if it knows of none.
    pub(crate) fn follow(&self, node: &Node, owner: &str) {
        self.change(node, |current| {
            current.at(owner).filter(|owner| owner != current)
        });
    }

    fn change(&self, node: &Node, next: impl FnOnce(&Node) -> Option<Node>) {
        let mut place = self.place();
        if self.listed.len() == 1 || *place.current != *node {
            return;
        }
        place.current = match next(node) {
            Some(owner) => Arc::new(owner),
            None => {
                place.index = (place.index + 1) % self.listed.len();
                Arc::clone(&self.listed[place.index])
            }
        };
        self.version.fetch_add(1, Ordering::Release);
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the address of the owner if an error says that another node owns the store; empty if it is not known.
pub(crate) fn other_owner(code: Code, details: &[u8]) -> Option<String> {
    if code != Code::Unavailable || details.is_empty() {
        return None;
    }
    let status = Status::with_details(code, "", details.to_vec().into());
    let error = Error::from_status(&status, Outcome::Unknown);
    let is_elsewhere = error.reason() == Some(Reason::NotOwner);
    is_elsewhere.then(|| error.metadata("owner").unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_use(nodes: &Nodes) -> String {
        nodes.current().name().to_owned()
    }

    #[test]
    fn the_owner_is_followed_and_the_list_goes_on_where_it_was_left() {
        let nodes = Nodes::new("a:1,b:2,c:3");
        assert_eq!(nodes.addresses(), "a:1,b:2,c:3");
        let a = nodes.current();
        nodes.leave(&a);
        assert_eq!(in_use(&nodes), "b:2");
        // Another connection to the same node comes too late.
        nodes.leave(&a);
        assert_eq!(in_use(&nodes), "b:2");
        // An owner that is gone, which a standby still names: the next one is asked, and not the same standby again.
        nodes.follow(&nodes.current(), "a:1");
        assert_eq!(in_use(&nodes), "a:1");
        let order: Vec<_> = nodes.in_order().iter().map(|it| it.name.clone()).collect();
        assert_eq!(order, ["a:1", "b:2", "c:3"]);
        nodes.leave(&nodes.current());
        assert_eq!(in_use(&nodes), "c:3");
        // An owner that is not in the list.
        nodes.follow(&nodes.current(), "d:4");
        assert_eq!((in_use(&nodes), nodes.in_order().len()), ("d:4".into(), 4));
        // It knows of no owner, names itself, or something that is no address.
        for nothing in ["", "d:4", "d", "x y:1", "http://e:5"] {
            let before = nodes.current();
            nodes.follow(&before, nothing);
            assert_ne!(nodes.current(), before, "{nothing:?}");
            nodes.follow(&nodes.current(), "d:4");
        }
    }

    #[test]
    fn nothing_leads_from_tls_to_a_connection_without_it_nor_from_a_single_address() {
        let nodes = Nodes::new("https://a:1,https://b:2");
        nodes.follow(&nodes.current(), "c:3");
        assert_eq!(in_use(&nodes), "https://c:3");
        for single in ["a:1", "unix:/run/a,b"] {
            let nodes = Nodes::new(single);
            nodes.follow(&nodes.current(), "c:3");
            nodes.leave(&nodes.current());
            assert_eq!(in_use(&nodes), single);
        }
    }
}
