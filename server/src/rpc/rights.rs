//! What a caller may do at one moment: checks the operations of the domain.

use std::borrow::Cow;
use std::sync::Arc;

use super::audit;
use super::status::{Refusal, not_permitted};
use crate::access::{Identity, Needs};
use crate::machine::{
    Add, Mark, Operation, OperationRef, PlainFrames, Read, RequestId, SetLifetime, WatchTarget,
    Write,
};

/// The rights of an identity. Without an access file, of everybody: every right.
pub(super) struct Rights<'a>(Option<Cow<'a, Arc<Identity>>>);

/// Something that [`Rights`] have permitted. Only they can make one.
pub(super) struct Permitted<T>(T);

impl<T> Permitted<T> {
    pub(super) fn into_inner(self) -> T {
        self.0
    }
}

/// Plain frames, each of which was permitted.
#[derive(Default)]
pub(super) struct PermittedFrames(PlainFrames);

impl PermittedFrames {
    pub(super) fn into_inner(self) -> PlainFrames {
        self.0
    }

    pub(super) fn mark(&self) -> Mark {
        self.0.mark()
    }

    pub(super) fn frame_count(&self) -> usize {
        self.0.frame_count()
    }

    pub(super) fn operation_count(&self) -> usize {
        self.0.operation_count()
    }

    /// Moves what was added since `mark` to frames of their own.
    pub(super) fn split_off(&mut self, mark: &Mark) -> Self {
        Self(self.0.split_off(mark))
    }

    /// Has `append` add a frame, and permits all of it, or nothing. A frame that is not permitted is taken back, and so is what
    /// was added before an error. If `append` has shown the check all operations, and they are permitted, that is all.
    ///
    /// # Errors
    /// That of `append`; NOT_PERMITTED, with the index of the operation; or the one for a caller without rights.
    pub(super) fn append<T, E: From<Refusal>>(
        &mut self,
        rights: &Result<Rights<'_>, Refusal>,
        append: impl FnOnce(&mut PlainFrames, &mut KeyCheck<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let before = self.0.mark();
        let mut check = KeyCheck::of(rights);
        let appended = append(&mut self.0, &mut check).and_then(|appended| {
            let rights = rights.as_ref().map_err(Refusal::again)?;
            if check.permitted != self.0.operation_count_since(&before) {
                rights.each(&mut self.0, &before)?;
            }
            Ok(appended)
        });
        if appended.is_err() {
            self.0.truncate(&before);
        }
        appended
    }
}

/// Counts the operations that an identity may do, while their keys are at hand. To look at them again takes longer than the check.
pub(crate) struct KeyCheck<'a> {
    /// None if nothing is counted.
    identity: Option<&'a Identity>,
    permitted: usize,
}

impl<'a> KeyCheck<'a> {
    /// A check that counts nothing.
    #[cfg(any(test, feature = "bench"))]
    pub(crate) fn of_nobody() -> Self {
        Self {
            identity: None,
            permitted: 0,
        }
    }

    fn of(rights: &'a Result<Rights<'_>, Refusal>) -> Self {
        let identity = rights.as_ref().ok().and_then(|rights| rights.0.as_ref());
        Self {
            // What is to be logged is looked at in its order.
            identity: identity
                .map(|identity| &***identity)
                .filter(|identity| !identity.has_audit()),
            permitted: 0,
        }
    }

    /// Notes an operation that shows this key, and has no request id.
    #[inline]
    pub(super) fn read(&mut self, key: &str) {
        if let Some(identity) = self.identity {
            self.permitted += usize::from(identity.may_read(key));
        }
    }

    /// Notes an operation that changes this key, and has neither a session nor a request id.
    #[inline]
    pub(super) fn change(&mut self, key: &str) {
        if let Some(identity) = self.identity {
            self.permitted += usize::from(identity.may_write(key));
        }
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
        self.change("Write", write.key.as_str())
    }

    pub(super) fn add(&self, add: &Add) -> Result<(), Refusal> {
        let options = add.options.as_deref();
        self.attach(options.map(|options| &options.lifetime))?;
        self.change("Add", add.key.as_str())
    }

    /// A change of a key, whose answer may show the key as it was.
    pub(super) fn change(&self, what: &str, key: &str) -> Result<(), Refusal> {
        self.need(Needs::Write(key))?;
        if let Some(identity) = self.0.as_deref().filter(|identity| identity.has_audit())
            && identity.is_audited(key)
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

    /// Permits the operations that were added to `frames` since `before`.
    ///
    /// # Errors
    /// NOT_PERMITTED, with the index of the operation.
    fn each(&self, frames: &mut PlainFrames, before: &Mark) -> Result<(), Refusal> {
        if self.0.is_some() {
            self.operations(frames.operations_since(before))?;
            for request_id in frames.request_ids_since(before) {
                self.make_own(request_id);
            }
        }
        Ok(())
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
            self.operations(operations.iter().map(OperationRef::Other))?;
        }
        Ok(Permitted((operations, self.own(request_id))))
    }

    fn operations<'o>(
        &self,
        operations: impl Iterator<Item = OperationRef<'o>>,
    ) -> Result<(), Refusal> {
        for (index, operation) in operations.enumerate() {
            let permitted = match operation {
                OperationRef::Read(key) => self.need(Needs::Read(key)),
                OperationRef::Write(key) => self.change("Write", key),
                OperationRef::Add(key) => self.change("Add", key),
                OperationRef::Transition(key) => self.change("Transition", key),
                OperationRef::Delete(key) => self.change("Delete", key),
                OperationRef::Other(operation) => self.operation(operation),
            };
            permitted.map_err(|refusal| refusal.at_operation(index))?;
        }
        Ok(())
    }

    fn operation(&self, operation: &Operation) -> Result<(), Refusal> {
        match operation {
            Operation::Read(read) => self.read(read),
            Operation::Write(write) => self.write(write),
            Operation::Add(add) => self.add(add),
            Operation::Transition(transition) => self.change("Transition", transition.key.as_str()),
            Operation::Delete(delete) => self.change("Delete", delete.key.as_str()),
        }
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
