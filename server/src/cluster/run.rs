//! The life of a node: it follows the owner, challenges when the owner is gone, and owns the store once it has won.

use std::fmt;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::info;

use super::NodeLost;
use super::death::died;
use crate::role::{NodeStatus, OwnerSeen, Step, Takeover};

/// Why a node tries to become the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// There is no owner: the cluster is new, or the owner's lease has ended.
    NoOwner,
    /// The owner's process has died.
    Died,
    /// The owner is an earlier process of this node.
    OwnPredecessor,
    /// The owner has made this node its successor.
    HandedOff,
}

impl Why {
    /// For people.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::NoOwner => "there was no owner",
            Self::Died => "the owner's process had died",
            Self::OwnPredecessor => "the owner was an earlier process of this node",
            Self::HandedOff => "the owner handed off to this node",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// What a follower sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) owner: Option<OwnerSeen>,
    /// Of that owner.
    pub(crate) epoch: i64,
    /// The last record that was applied.
    pub(crate) seq: u64,
    /// How old it was then.
    pub(crate) lag: Option<Duration>,
    /// Whether the follower has all that there was when it began.
    pub(crate) caught_up: bool,
}

/// What follows the owner's log, and may take the owner's place.
pub(crate) trait Candidate {
    /// What it has when it has won.
    type Won;

    /// Follows the owner until it is time to take its place, and shows what it sees. Cancelling it loses nothing.
    ///
    /// # Errors
    /// Why it cannot follow.
    async fn follow(&mut self, seen: &watch::Sender<Seen>) -> Result<Why, NodeLost>;

    /// Tries to take the owner's place. None if another node was faster.
    ///
    /// # Errors
    /// Why it cannot own the store.
    async fn challenge(&mut self, why: Why) -> Result<Option<Self::Won>, NodeLost>;
}

/// Follows until this node has won.
///
/// # Errors
/// Why the node cannot go on.
pub(crate) async fn until_won<C: Candidate>(
    candidate: &mut C,
    status: &watch::Sender<NodeStatus>,
) -> Result<C::Won, NodeLost> {
    let seen = watch::channel(Seen::default()).0;
    loop {
        status.send_modify(|status| {
            status.step = match seen.borrow().caught_up {
                true => Step::Following,
                false => Step::CatchingUp,
            };
        });
        let why = tokio::select! {
            biased;
            why = candidate.follow(&seen) => why?,
            never = show(seen.subscribe(), status) => match never {},
            why = owner_died(seen.subscribe(), status) => why,
        };
        let name = status.borrow().node.clone();
        info!(node = name, %why, "taking the owner's place");
        status.send_modify(|status| {
            status.step = Step::TakingOver;
            status.reaches_owner = false;
        });
        let (begun, at) = (Instant::now(), SystemTime::now());
        let Some(won) = candidate.challenge(why).await? else {
            info!(node = name, "another node was faster");
            continue;
        };
        let took = begun.elapsed();
        info!(node = name, ?took, "this node owns the store");
        let seen = seen.borrow();
        status.send_modify(|status| {
            status.takeover = Some(Takeover {
                at,
                why: why.text(),
                took,
            });
            status.seq = seen.seq;
            status.lag = None;
            status.owner = Some(OwnerSeen {
                node: status.node.clone(),
                address: status.address.clone(),
            });
        });
        return Ok(won);
    }
}

/// Has the status say what the follower sees, for ever.
async fn show(
    mut seen: watch::Receiver<Seen>,
    status: &watch::Sender<NodeStatus>,
) -> std::convert::Infallible {
    loop {
        let now = seen.borrow_and_update().clone();
        status.send_if_modified(|status| {
            let before = status.clone();
            status.owner = now.owner;
            status.epoch = now.epoch;
            status.seq = now.seq;
            status.lag = now.lag;
            status.step = match now.caught_up {
                true => Step::Following,
                false => Step::CatchingUp,
            };
            *status != before
        });
        if seen.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Waits until the owner's process has died.
async fn owner_died(mut seen: watch::Receiver<Seen>, status: &watch::Sender<NodeStatus>) -> Why {
    let reaches = |reaches| {
        status.send_if_modified(|status| {
            std::mem::replace(&mut status.reaches_owner, reaches) != reaches
        });
    };
    loop {
        let (owner, epoch) = {
            let seen = seen.borrow_and_update();
            (seen.owner.clone(), seen.epoch)
        };
        let other = |seen: &Seen| seen.epoch != epoch || seen.owner != owner;
        reaches(false);
        match &owner {
            // The follower tells an earlier process of this node from this one.
            Some(owner) if owner.node == status.borrow().node => {
                let _ = seen.wait_for(other).await;
            }
            Some(owner) => {
                tokio::select! {
                    biased;
                    _ = seen.wait_for(other) => {}
                    () = died(&owner.address, reaches) => return Why::Died,
                }
            }
            None => {
                let _ = seen.wait_for(other).await;
            }
        }
        if seen.has_changed().is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use std::collections::VecDeque;

    use tokio::net::TcpListener;
    use tokio::sync::mpsc;
    use tokio::time::timeout;

    use super::*;

    const WAIT: Duration = Duration::from_secs(20);

    /// A follower that sees what the test says, and wins or loses as it says.
    struct Scripted {
        sees: mpsc::Receiver<Result<Seen, Why>>,
        outcomes: VecDeque<bool>,
        challenges: mpsc::Sender<Why>,
    }

    impl Candidate for Scripted {
        type Won = ();

        async fn follow(&mut self, seen: &watch::Sender<Seen>) -> Result<Why, NodeLost> {
            loop {
                match self.sees.recv().await {
                    Some(Ok(now)) => drop(seen.send_replace(now)),
                    Some(Err(why)) => return Ok(why),
                    None => return Err(NodeLost::new("cannot follow")),
                }
            }
        }

        async fn challenge(&mut self, why: Why) -> Result<Option<()>, NodeLost> {
            self.challenges.send(why).await.unwrap();
            Ok(self.outcomes.pop_front().unwrap().then_some(()))
        }
    }

    type Script = (
        Scripted,
        mpsc::Sender<Result<Seen, Why>>,
        mpsc::Receiver<Why>,
    );

    fn script(outcomes: &[bool]) -> Script {
        let (says, sees) = mpsc::channel(10);
        let (challenges, challenged) = mpsc::channel(10);
        let scripted = Scripted {
            sees,
            outcomes: outcomes.iter().copied().collect(),
            challenges,
        };
        (scripted, says, challenged)
    }

    fn owner(node: &str, address: impl ToString, epoch: i64) -> Seen {
        Seen {
            owner: Some(OwnerSeen {
                node: node.into(),
                address: address.to_string(),
            }),
            epoch,
            caught_up: true,
            ..Seen::default()
        }
    }

    fn node() -> watch::Sender<NodeStatus> {
        watch::channel(NodeStatus::new("b", "127.0.0.1:1")).0
    }

    #[tokio::test]
    async fn a_node_follows_again_when_another_was_faster() {
        let (mut follower, says, mut challenged) = script(&[false, true]);
        let status = node();
        let mut shown = status.subscribe();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let test = async {
            says.send(Err(Why::NoOwner)).await.unwrap();
            assert_eq!(challenged.recv().await, Some(Why::NoOwner));
            says.send(Ok(owner("a", address, 5))).await.unwrap();
            let reached = shown.wait_for(|it| it.step == Step::Following && it.reaches_owner);
            assert_eq!(reached.await.unwrap().epoch, 5);
            // Nothing but a death, or the follower's word, lets it challenge.
            assert!(challenged.try_recv().is_err());
            says.send(Err(Why::HandedOff)).await.unwrap();
            assert_eq!(challenged.recv().await, Some(Why::HandedOff));
        };
        let (won, ()) = timeout(WAIT, async {
            tokio::join!(until_won(&mut follower, &status), test)
        })
        .await
        .unwrap();
        won.unwrap();
        let status = status.borrow().clone();
        assert_eq!(status.owner.unwrap().node, "b");
        assert_eq!(status.takeover.unwrap().why, Why::HandedOff.text());
    }

    #[tokio::test]
    async fn an_owner_that_dies_is_challenged_at_once() {
        let (mut follower, says, mut challenged) = script(&[true]);
        let status = node();
        let mut shown = status.subscribe();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let test = async {
            says.send(Ok(owner("a", address, 5))).await.unwrap();
            let (connection, _) = listener.accept().await.unwrap();
            shown.wait_for(|it| it.reaches_owner).await.unwrap();
            drop((listener, connection));
            assert_eq!(challenged.recv().await, Some(Why::Died));
        };
        let (won, ()) = timeout(WAIT, async {
            tokio::join!(until_won(&mut follower, &status), test)
        })
        .await
        .unwrap();
        won.unwrap();
        drop(says);
    }

    #[tokio::test]
    async fn a_follower_that_cannot_go_on_ends_the_node() {
        let (mut follower, says, _challenged) = script(&[]);
        drop(says);
        let lost = until_won(&mut follower, &node()).await.unwrap_err();
        assert_eq!(lost, NodeLost::new("cannot follow"));
    }
}
