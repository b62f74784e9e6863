//! What a node of a cluster is at one moment: plain values that several rooms show.

use std::time::{Duration, SystemTime};

/// What a node does in its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It owns the store.
    Owner,
    /// It follows another node that does, or tries to own the store.
    Standby,
}

/// How far a standby is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It has not reached etcd yet.
    Connecting,
    /// It reads what the store has.
    CatchingUp,
    /// It has the state, and follows the owner's log.
    Following,
    /// It takes the owner's place.
    TakingOver,
    /// It owns the store.
    Owning,
}

impl Step {
    /// In words, for people.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Connecting => "connecting to etcd",
            Self::CatchingUp => "reading the store",
            Self::Following => "standby",
            Self::TakingOver => "taking over",
            Self::Owning => "owner",
        }
    }
}

/// The node that owns the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OwnerSeen {
    pub(crate) node: String,
    /// HOST:PORT, where it is reached.
    pub(crate) address: String,
}

/// A node that took the owner's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Takeover {
    pub(crate) at: SystemTime,
    /// Why, for people.
    pub(crate) why: &'static str,
    /// From the challenge to the first commit.
    pub(crate) took: Duration,
}

/// The etcd that a cluster is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EtcdSeen {
    /// The lowest version of its members.
    pub(crate) version: String,
    /// The member that leads; 0 for none.
    pub(crate) leader: u64,
    /// Bytes of the largest file of a member.
    pub(crate) file_bytes: i64,
    /// The quota that it was given, as the node was told.
    pub(crate) quota_bytes: u64,
}

/// How long something took, of all that ended in the last minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    pub(crate) count: u64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

/// What a node is now, and what it sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeStatus {
    /// Its name; empty if it is no node of a cluster.
    pub(crate) node: String,
    /// Where it is reached.
    pub(crate) address: String,
    pub(crate) step: Step,
    /// The owner, as far as this node knows; itself, if it is the owner.
    pub(crate) owner: Option<OwnerSeen>,
    /// The epoch of that owner. 0: none was seen.
    pub(crate) epoch: i64,
    /// The number of the last record that this node has applied.
    pub(crate) seq: u64,
    /// How long ago the last record was committed when this node applied it. None if it is not known.
    pub(crate) lag: Option<Duration>,
    /// Whether there is a connection to the owner, so that calls can be sent on.
    pub(crate) reaches_owner: bool,
    /// How this node became the owner.
    pub(crate) takeover: Option<Takeover>,
    /// None before it was reached.
    pub(crate) etcd: Option<EtcdSeen>,
    /// The commits and confirmations of this node in the last minute. None if it made none.
    pub(crate) commit: Option<Pace>,
    pub(crate) confirm: Option<Pace>,
    /// How often it has sent a commit again.
    pub(crate) commit_retries: u64,
}

impl NodeStatus {
    /// A node that has seen nothing yet.
    pub(crate) fn new(node: impl Into<String>, address: impl Into<String>) -> Self {
        Self {
            node: node.into(),
            address: address.into(),
            step: Step::Connecting,
            owner: None,
            epoch: 0,
            seq: 0,
            lag: None,
            reaches_owner: false,
            takeover: None,
            etcd: None,
            commit: None,
            confirm: None,
            commit_retries: 0,
        }
    }

    /// A server that is no node of a cluster: it owns its store.
    pub(crate) fn alone() -> Self {
        Self {
            step: Step::Owning,
            ..Self::new("", "")
        }
    }

    pub(crate) fn role(&self) -> Role {
        match self.step {
            Step::Owning => Role::Owner,
            Step::Connecting | Step::CatchingUp | Step::Following | Step::TakingOver => {
                Role::Standby
            }
        }
    }

    /// What the node is, for people.
    pub(crate) fn text(&self) -> String {
        let step = self.step.text();
        match self.other_owner() {
            Some(owner) => format!("{step}, the owner is {}", owner.node),
            None => step.into(),
        }
    }

    /// Another node that owns the store, to which calls can be sent on.
    pub(crate) fn other_owner(&self) -> Option<&OwnerSeen> {
        let owner = self.owner.as_ref()?;
        (self.role() == Role::Standby && owner.node != self.node).then_some(owner)
    }
}
