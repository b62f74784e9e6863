//! Who owns the store after the owner of this process.

use std::sync::{Arc, OnceLock};

use tokio::sync::oneshot;

use super::error::{CallError, HandOffError};

/// The store is to be handed off.
#[derive(Debug)]
pub(super) struct HandOff {
    /// The node that gets it. None leaves the choice to the journal.
    pub(super) to: Option<String>,
    pub(super) done: oneshot::Sender<Result<String, HandOffError>>,
}

/// The address of the node that the owner has given the store to, once it has. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Successor(Arc<OnceLock<Box<str>>>);

impl Successor {
    /// Notes that the store belongs to the node at `address`. There is one successor only.
    pub(crate) fn set(&self, address: Box<str>) {
        let _ = self.0.set(address);
    }

    /// The error of a call, which says where the owner is if this one has handed off the store: then nobody has begun with the call.
    #[must_use]
    pub fn explain(&self, error: CallError) -> CallError {
        match (error, self.0.get()) {
            (CallError::OwnerLost, Some(address)) => CallError::HandedOff(address.clone()),
            (error, _) => error,
        }
    }
}
