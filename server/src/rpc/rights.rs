//! What a caller may do at one moment: checks the operations of the domain.

use std::borrow::Cow;
use std::sync::Arc;

use super::audit;
use super::status::{Refusal, not_permitted};
use crate::access::{Identity, Needs};
use crate::machine::{Add, Key, Operation, Read, RequestId, SetLifetime, WatchTarget, Write};
use crate::owner::EachFrame;

/// The rights of an identity. Without an access file, of everybody: every right.
pub(super) struct Rights<'a>(Option<Cow<'a, Arc<Identity>>>);

/// Something that [`Rights`] have permitted. Only they can make one.
pub(super) struct Permitted<T>(T);

impl<T> Permitted<T> {
    pub(super) fn into_inner(self) -> T {
        self.0
    }
}

impl<'a> Rights<'a> {
    pub(super) fn of(identity: Option<Cow<'a, Arc<Identity>>>) -> Self {
        Self(identity)
    }

    /// The name of the identity. None without an access file.
    pub(super) fn identity_name(&self) -> Option<&str> {
        self.0.as_ref().map(|identity| identity.name())
    }

    /// # Errors
    /// NOT_PERMITTED without this right.
    #[inline]
    pub(super) fn need(&self, needs: Needs<'_>) -> Result<(), Refusal> {
        match &self.0 {
            None => Ok(()),
            Some(identity) if identity.may(needs) => Ok(()),
            Some(identity) => {
                audit::denied(identity, needs);
                Err(not_permitted(identity, needs))
            }
        }
    }

    pub(super) fn read(&self, read: &Read) -> Result<(), Refusal> {
        self.need(Needs::Read(read.key.as_str()))
    }

    pub(super) fn write(&self, write: &Write) -> Result<(), Refusal> {
        let options = write.options.as_deref();
        self.attach(options.map(|options| &options.lifetime))?;
        self.change("Write", &write.key)
    }

    pub(super) fn add(&self, add: &Add) -> Result<(), Refusal> {
        let options = add.options.as_deref();
        self.attach(options.map(|options| &options.lifetime))?;
        self.change("Add", &add.key)
    }

    /// A change of a key, whose answer may show the key as it was.
    pub(super) fn change(&self, what: &str, key: &Key) -> Result<(), Refusal> {
        self.need(Needs::Write(key.as_str()))?;
        if let Some(identity) = self.0.as_deref().filter(|identity| identity.has_audit())
            && identity.is_audited(key.as_str())
        {
            audit::does(identity, what, key);
        }
        Ok(())
    }

    fn attach(&self, lifetime: Option<&SetLifetime>) -> Result<(), Refusal> {
        match lifetime {
            Some(SetLifetime::Session { id, .. }) => self.need(Needs::Session(id.as_str())),
            _ => Ok(()),
        }
    }

    pub(super) fn watch(&self, target: &WatchTarget) -> Result<(), Refusal> {
        self.need(match target {
            WatchTarget::Key(key) => Needs::Read(key.as_str()),
            WatchTarget::Prefix(prefix) => Needs::ReadPrefix(prefix),
        })
    }

    /// Permits a plain frame: all of it, or nothing.
    ///
    /// # Errors
    /// NOT_PERMITTED, with the index of the operation.
    pub(super) fn each(&self, mut frame: EachFrame) -> Result<Permitted<EachFrame>, Refusal> {
        if self.0.is_some() {
            self.operations(&frame.operations)?;
            for (_, request_id) in &mut frame.request_ids {
                self.make_own(request_id);
            }
        }
        Ok(Permitted(frame))
    }

    /// Permits an atomic frame: all of it, or nothing.
    ///
    /// # Errors
    /// NOT_PERMITTED, with the index of the operation.
    #[expect(clippy::type_complexity, reason = "a frame, and what it was")]
    pub(super) fn all(
        &self,
        operations: Vec<Operation>,
        request_id: Option<Box<RequestId>>,
    ) -> Result<Permitted<(Vec<Operation>, Option<Box<RequestId>>)>, Refusal> {
        if self.0.is_some() {
            self.operations(&operations)?;
        }
        Ok(Permitted((operations, self.own(request_id))))
    }

    fn operations(&self, operations: &[Operation]) -> Result<(), Refusal> {
        for (index, operation) in operations.iter().enumerate() {
            let permitted = match operation {
                Operation::Read(read) => self.read(read),
                Operation::Write(write) => self.write(write),
                Operation::Add(add) => self.add(add),
                Operation::Transition(transition) => self.change("Transition", &transition.key),
                Operation::Delete(delete) => self.change("Delete", &delete.key),
            };
            permitted.map_err(|refusal| refusal.at_operation(index))?;
        }
        Ok(())
    }

    /// The request id as an id of the caller's own: nobody gets the answer to a request of somebody else. Names have no control
    /// characters, so the two parts stay apart.
    pub(super) fn own(&self, mut request_id: Option<Box<RequestId>>) -> Option<Box<RequestId>> {
        if let Some(request_id) = &mut request_id {
            self.make_own(request_id);
        }
        request_id
    }

    fn make_own(&self, request_id: &mut RequestId) {
        if let Some(identity) = &self.0 {
            request_id.id = format!("{}\n{}", identity.name(), request_id.id).into();
        }
    }

    /// Whether every machine is inside the caller's right.
    pub(super) fn may_define_all(&self) -> bool {
        self.0
            .as_deref()
            .is_none_or(|identity| identity.may_define(""))
    }

    /// Logs what others must be able to look up.
    pub(super) fn audit(&self, what: &str, name: &str) {
        if let Some(identity) = &self.0 {
            audit::does(identity, what, name);
        }
    }
}

#[cfg(test)]
mod tests;
