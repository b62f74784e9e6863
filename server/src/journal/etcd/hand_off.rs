//! How an owner ends: it gives the store to another node, or leaves it to whoever comes.

use std::time::Duration;

use prost::Message as _;
use soloist_etcd::{Compare, ErrorKind, Get, KeyRange, KeyValue, Op};
use tokio::time::timeout;
use tracing::{info, warn};

use super::commit::{Append, Appended, Log};
use super::messages::{Node, Owner};
use super::owned::{NoAnswer, Owned, Stop, WhenFull, between};
use crate::journal::stored::FORMAT;
use crate::machine::{Revision, Time};

/// How often another successor is looked for when one has left.
const TRIES: usize = 5;

/// How long etcd may take to note that the store is closed. It loses nothing if it does not.
const CLOSE_WITHIN: Duration = Duration::from_secs(3);

/// What an owner is given to hand off.
pub(super) struct HandOff {
    /// The successor's name; `None` for any node.
    pub(super) to: Option<String>,
    pub(super) revision: Revision,
    pub(super) time: Time,
}

/// A node that can go on with the store.
#[derive(Debug)]
struct Successor {
    name: String,
    record: KeyValue,
    node: Node,
}

impl Log {
    /// Gives the store to another node, together with a last record. Returns why not, if this process goes on.
    pub(super) async fn hand_off(
        &self,
        owned: &Owned,
        own_node: &str,
        hand_off: &HandOff,
    ) -> Result<String, Stop> {
        let mut why = String::new();
        for _ in 0..TRIES {
            let successor = match successor(owned, own_node, hand_off.to.as_deref()).await? {
                Ok(successor) => successor,
                Err(why) => return Ok(why),
            };
            let append = self.handing_off(owned, hand_off, &successor);
            match append.append(owned).await {
                Ok(Appended::Yes) => {
                    info!(node = successor.name, "handed the store off");
                    return Err(Stop::HandedOff(successor.node.address));
                }
                Ok(Appended::No) => why = format!("node {} has just changed", successor.name),
                // Its lease has ended.
                Err(NoAnswer::Refused(error)) if error.kind == ErrorKind::LeaseGone => {
                    why = format!("node {} has just gone", successor.name);
                }
                Err(NoAnswer::Refused(error) | NoAnswer::Full(error)) => {
                    return Ok(error.to_string());
                }
                Err(NoAnswer::Stop(stop)) => return Err(stop),
            }
        }
        Ok(why)
    }

    fn handing_off(&self, owned: &Owned, hand_off: &HandOff, to: &Successor) -> Append {
        let (seq, value) = self.closing(owned, hand_off.revision, hand_off.time);
        let owner = Owner {
            node: to.name.clone(),
            address: to.node.address.clone(),
            instance: to.node.instance.clone(),
        };
        Append {
            seq,
            value,
            // Still the same process, with the same lease.
            when: vec![Compare::ModRevision(
                to.record.key.clone(),
                to.record.mod_revision,
            )],
            then: vec![Op::Put {
                key: owned.keys.owner(),
                value: owner.encode_to_vec().into(),
                lease: to.record.lease,
            }],
            full: WhenFull::GiveUp,
        }
    }

    /// Notes that the store was closed in order, and leaves it to whoever takes it.
    pub(super) async fn close(&self, owned: &Owned, revision: Revision, time: Time) -> Stop {
        let (seq, value) = self.closing(owned, revision, time);
        let append = Append {
            seq,
            value,
            when: Vec::new(),
            then: vec![Op::Delete(KeyRange::One(owned.keys.owner()))],
            full: WhenFull::GiveUp,
        };
        match timeout(CLOSE_WITHIN, append.append(owned)).await {
            Ok(Ok(_)) => {}
            Ok(Err(NoAnswer::Stop(stop))) => return stop,
            Ok(Err(error)) => not_noted(&error.to_string()),
            Err(_) => not_noted("etcd does not answer"),
        }
        Stop::Closed
    }
}

fn not_noted(why: &str) {
    warn!(
        "cannot note in etcd that the store was closed in order: {why}. Nothing is lost, but the next owner begins as after a crash"
    );
}

/// Looks for the node that goes on with the store. Returns why there is none.
async fn successor(
    owned: &Owned,
    own_node: &str,
    to: Option<&str>,
) -> Result<Result<Successor, String>, Stop> {
    if to == Some(own_node) {
        return Ok(Err(format!("node {own_node} owns the store already")));
    }
    let get = Get::range(between(owned.keys.nodes()));
    let nodes = owned.get(&get);
    let nodes = nodes
        .await
        .map_err(|error| error.fatal("look for the other nodes"))?;
    let mut others: Vec<_> = nodes
        .kvs
        .into_iter()
        .filter_map(|record| of(owned, record))
        .collect();
    // Without a lease its death would go unnoticed.
    others.retain(|other| other.name != own_node && other.record.lease != 0);
    if let Some(to) = to {
        let found = others.into_iter().find(|other| other.name == to);
        return Ok(match found {
            None => Err(format!("there is no node {to}")),
            Some(other) if !can_read(&other.node) => Err(format!(
                "node {to} has a version that cannot read the log: {}",
                other.node.version
            )),
            Some(other) if !other.node.caught_up => {
                Err(format!("node {to} does not have the whole state yet"))
            }
            Some(other) => Ok(other),
        });
    }
    let is_ready = |other: &Successor| can_read(&other.node) && other.node.caught_up;
    let ready = others.into_iter().find(is_ready);
    Ok(ready.ok_or_else(|| "there is no other node that has the whole state".into()))
}

fn of(owned: &Owned, record: KeyValue) -> Option<Successor> {
    Some(Successor {
        name: owned.keys.node_of(&record.key)?.into(),
        node: Node::decode(&*record.value).ok()?,
        record,
    })
}

/// Whether a node can read what this one writes.
fn can_read(node: &Node) -> bool {
    (node.format_min..=node.format_max).contains(&FORMAT)
}
