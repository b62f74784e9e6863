//! A node of a cluster: one node owns the store, and the others follow it with the state in memory, each ready to take its
//! place. What decides is in etcd.
//!
//! A node's life goes one way: standby, owner, end. It never goes back: the process ends, and is started again as a standby.

mod connect;
mod death;
mod member;
mod newcomers;
mod register;
mod run;
mod wishes;

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::runtime;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

pub(crate) use connect::client;
use member::Member;
use run::{Candidate, Seen, Why, until_won};

use crate::config::Config;
use crate::progress::Progress;
use crate::role::{NodeStatus, OwnerSeen, Step};
use crate::store::Store;

/// A node, as the server sees it.
#[derive(Debug)]
pub struct Node {
    status: Arc<watch::Sender<NodeStatus>>,
    events: mpsc::Receiver<NodeEvent>,
    /// True once the node is to end.
    stop: watch::Sender<bool>,
}

/// What happens to a node.
#[derive(Debug)]
pub(crate) enum NodeEvent {
    /// It owns the store from now on.
    Won(Box<Store>),
    /// Somebody wishes that the owner hands off to the node `to`. If it does not, it says why.
    HandOff {
        to: String,
        refused: oneshot::Sender<String>,
    },
    /// Another node follows from now on, after this one has won.
    Joined,
    /// It cannot go on.
    Ended(NodeLost),
}

/// Why a node has ended by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeLost {
    why: String,
    is_about_data: bool,
}

impl NodeLost {
    pub(crate) fn new(why: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            is_about_data: false,
        }
    }

    /// Whether data is missing or damaged, so that it is in vain to start the node again until somebody has looked at it.
    #[must_use]
    pub fn is_about_data(&self) -> bool {
        self.is_about_data
    }
}

impl std::error::Error for NodeLost {}

impl fmt::Display for NodeLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// Tells the role of a node whenever it changes, for people.
#[derive(Clone, Debug)]
pub struct Roles {
    status: watch::Receiver<NodeStatus>,
    /// What was told last.
    told: Option<String>,
}

impl Roles {
    pub(crate) fn of(node: &Node) -> Self {
        Self {
            status: node.status(),
            told: None,
        }
    }

    /// Waits until the role is another than the one that was returned last. `None` when the node has ended.
    pub async fn next(&mut self) -> Option<String> {
        loop {
            let text = self.status.borrow_and_update().text();
            if self.told.as_ref() != Some(&text) {
                self.told = Some(text.clone());
                return Some(text);
            }
            self.status.changed().await.ok()?;
        }
    }
}

/// How long a node may take to say that it leaves. Otherwise its leases end by themselves.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);

impl Node {
    /// Begins as a node of the cluster that `config` names. It has a thread of its own, which is called `etcd`. Meanwhile a clone of
    /// `progress` shows how far the reading of the store is.
    ///
    /// # Errors
    /// The system's error if no thread can be started.
    pub fn begin(config: &Config, progress: &Progress) -> io::Result<Self> {
        let text = |name: Option<String>| name.unwrap_or_default();
        let node = config.cluster.node.as_ref().map(ToString::to_string);
        let address = config.cluster.advertise.as_ref().map(ToString::to_string);
        let status = NodeStatus::new(text(node), text(address));
        let (config, progress) = (config.clone(), progress.clone());
        Self::start(status, move |status, happens, stopped| {
            let member = Member {
                config,
                progress,
                status,
                happens,
            };
            member.live(stopped)
        })
    }

    /// Starts the thread of a node, and its life there.
    fn start<F>(
        status: NodeStatus,
        life: impl FnOnce(
            Arc<watch::Sender<NodeStatus>>,
            mpsc::Sender<NodeEvent>,
            watch::Receiver<bool>,
        ) -> F
        + Send
        + 'static,
    ) -> io::Result<Self>
    where
        F: Future<Output = ()>,
    {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let status = Arc::new(watch::channel(status).0);
        let (happens, events) = mpsc::channel(1);
        let (stop, stopped) = watch::channel(false);
        let shown = Arc::clone(&status);
        thread::Builder::new()
            .name("etcd".into())
            .spawn(move || runtime.block_on(life(shown, happens, stopped)))?;
        Ok(Self {
            status,
            events,
            stop,
        })
    }

    /// A node `name` without etcd, which is told where the owner is and never takes its place: to test what a standby answers.
    ///
    /// # Errors
    /// The system's error if no thread can be started.
    #[doc(hidden)]
    pub fn standing_by(name: &str, owner: Option<(&str, &str)>) -> io::Result<Self> {
        let seen = Seen {
            owner: owner.map(|(node, address)| OwnerSeen {
                node: node.into(),
                address: address.into(),
            }),
            epoch: i64::from(owner.is_some()),
            caught_up: true,
            ..Seen::default()
        };
        let mut status = NodeStatus::new(name, "");
        (status.owner, status.epoch) = (seen.owner.clone(), seen.epoch);
        Self::start(status, |status, happens, stopped| {
            bystand(Bystander(seen), status, happens, stopped)
        })
    }

    /// What the node is, now and later.
    pub(crate) fn status(&self) -> watch::Receiver<NodeStatus> {
        self.status.subscribe()
    }

    /// What happens to the node next. Cancelling it loses nothing.
    pub(crate) async fn next(&mut self) -> NodeEvent {
        let event = self.events.recv().await;
        event.unwrap_or_else(|| {
            NodeEvent::Ended(NodeLost::new("the thread that talks to etcd has ended"))
        })
    }

    /// Notes that the store is served from now on, with this epoch.
    pub(crate) fn owns(&self, epoch: u64) {
        self.status.send_modify(|status| {
            status.step = Step::Owning;
            status.epoch = epoch.cast_signed();
        });
    }

    /// Ends the node: it is none of the cluster any more.
    pub(crate) async fn leave(mut self) {
        self.stop.send_replace(true);
        // The thread drops its end of the queue last.
        let ended = async { while self.events.recv().await.is_some() {} };
        let _ = timeout(LEAVE_WITHIN, ended).await;
    }
}

/// The life of a node that only looks on.
async fn bystand(
    mut bystander: Bystander,
    status: Arc<watch::Sender<NodeStatus>>,
    happens: mpsc::Sender<NodeEvent>,
    mut stopped: watch::Receiver<bool>,
) {
    tokio::select! {
        _ = stopped.wait_for(|stop| *stop) => {}
        ended = until_won(&mut bystander, &status) => match ended {
            Ok(never) => match never {},
            Err(lost) => drop(happens.send(NodeEvent::Ended(lost)).await),
        }
    }
}

/// Sees one owner for ever.
struct Bystander(Seen);

impl Candidate for Bystander {
    type Won = Infallible;

    async fn follow(&mut self, seen: &watch::Sender<Seen>) -> Result<Why, NodeLost> {
        seen.send_replace(self.0.clone());
        std::future::pending().await
    }

    async fn challenge(&mut self, _: Why) -> Result<Option<Infallible>, NodeLost> {
        Ok(None)
    }
}
