//! Another node owns the store.

use soloist::v1::error::Reason;
use tonic::Code;

use super::refusal::Refusal;
use crate::role::NodeStatus;

/// This node does not own the store; nothing was applied.
#[must_use]
pub(crate) fn not_owner(node: &NodeStatus) -> Refusal {
    let name = &node.node;
    let message = match &node.owner {
        Some(owner) if owner.node == *name => {
            format!("node {name} is about to own the store, and does not answer yet")
        }
        Some(owner) => format!(
            "node {name} does not own the store: {} does, at {}",
            owner.node, owner.address
        ),
        None => format!("node {name} does not own the store, and does not know who does"),
    };
    let refusal = Refusal::new(Code::Unavailable, Reason::NotOwner, message);
    match &node.owner {
        Some(owner) => refusal
            .with("owner", &owner.address)
            .with("owner_node", &owner.node)
            .with("epoch", node.epoch),
        None => refusal,
    }
}
