//! The caller of a call: the owner's handle, behind the rights of who calls.
//!
//! Nothing else in `rpc` holds a handle. So nothing reaches the owner except through [`Caller`], whose methods are those of
//! [`OwnerHandle`] and check every operation first. Without an access file everybody may do everything.

use std::borrow::Cow;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;

use super::rights::{Permitted, PermittedFrames, Rights};
use super::status::{Refusal, certificate_refused, credentials_missing, credentials_unknown};
use crate::access::{Access, Credential, Identity, Needs};
use crate::machine::{
    Add, AddOutcome, AllOutcome, Cause, CloseOutcome, Condition, CopySlice, DefineMachine, Delete,
    DeleteMachine, DeleteOutcome, DeletePrefix, DeletePrefixOutcome, List, ListOutcome, Machine,
    Name, OpenOutcome, OpenSession, Operation, Page, PlainAnswers, Read, ReadOutcome, RequestId,
    Revision, Session, SessionLife, Transition, TransitionOutcome, Write, WriteOutcome,
};
use crate::owner::{
    CallError, ConnectionQuota, NewWatch, NextBatch, OpenBackup, OpenWatch, OwnerHandle, Pending,
    QuotaGuard, Successor, Usage,
};

/// Calls the owner for somebody. Cheap to clone.
///
/// # Errors
/// Every method can fail as that of [`OwnerHandle`] does, with CREDENTIALS_MISSING or CREDENTIALS_UNKNOWN if nobody is known by
/// what the caller shows (any more), and with NOT_PERMITTED.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    owner: OwnerHandle,
    /// None if there is no access file.
    who: Option<Arc<Who>>,
    /// Changes when the certificate of the connection is not accepted any more. None if the connection has shown none.
    refused: Option<watch::Receiver<()>>,
}

/// Somebody who shows something, or nothing, and who that is by the access file of one moment.
#[derive(Debug)]
struct Who {
    credential: Option<Credential>,
    /// Has changed if another access file is in use than the one that has `identity`.
    access: watch::Receiver<Arc<Access>>,
    identity: Option<Arc<Identity>>,
}

impl Who {
    fn new(credential: Option<Credential>, mut access: watch::Receiver<Arc<Access>>) -> Self {
        let identity = identify(&credential, &access.borrow_and_update());
        Self {
            credential,
            access,
            identity,
        }
    }

    /// Whether the access file that was looked at is the one in use. That takes an atomic load.
    fn is_current(&self) -> bool {
        // An error means that the file is not looked at any more, so that nobody knows.
        matches!(self.access.has_changed(), Ok(false))
    }

    /// Who it is by the access file in use now.
    fn identity(&self) -> Result<Cow<'_, Arc<Identity>>, Refusal> {
        let identity = match self.is_current() {
            true => self.identity.as_ref().map(Cow::Borrowed),
            false => identify(&self.credential, &self.access.borrow()).map(Cow::Owned),
        };
        identity.ok_or_else(|| match self.credential {
            Some(_) => credentials_unknown(),
            None => credentials_missing(),
        })
    }
}

fn identify(credential: &Option<Credential>, access: &Access) -> Option<Arc<Identity>> {
    access.identify(credential.as_ref()?).map(Arc::clone)
}

impl Caller {
    /// A caller that shows nothing. Without an access file it may do everything.
    pub(crate) fn new(owner: OwnerHandle, access: Option<watch::Receiver<Arc<Access>>>) -> Self {
        let who = access.map(|access| Arc::new(Who::new(None, access)));
        Self {
            owner,
            who,
            refused: None,
        }
    }

    /// The same caller, for the calls of one connection.
    pub(super) fn for_connection(&self, quota: ConnectionQuota) -> Self {
        Self {
            owner: self.owner.for_connection(quota),
            ..self.clone()
        }
    }

    /// The same caller, who may do nothing any more once `refused` changes.
    pub(super) fn until(&self, refused: watch::Receiver<()>) -> Self {
        Self {
            refused: Some(refused),
            ..self.clone()
        }
    }

    /// A caller that shows `credential`.
    pub(super) fn showing(
        &self,
        credential: Option<Credential>,
        access: &watch::Receiver<Arc<Access>>,
    ) -> Self {
        let who = Who::new(credential, access.clone());
        Self {
            who: Some(Arc::new(who)),
            ..self.clone()
        }
    }

    /// Whether the caller was looked up in the access file in use.
    pub(super) fn is_current(&self) -> bool {
        self.who.as_ref().is_none_or(|who| who.is_current())
    }

    /// Looks the caller up again if the access file has changed. [`rights`](Self::rights) would do so every time.
    pub(super) fn look_up_again(&mut self) {
        if let Some(who) = self.who.as_ref().filter(|who| !who.is_current()) {
            let who = Who::new(who.credential.clone(), who.access.clone());
            self.who = Some(Arc::new(who));
        }
    }

    /// What the caller may do now. There is no lock unless the access file has changed since the caller was looked up.
    ///
    /// # Errors
    /// CREDENTIALS_MISSING or CREDENTIALS_UNKNOWN if nobody is known by what the caller shows (any more).
    pub(super) fn rights(&self) -> Result<Rights<'_>, Refusal> {
        if let Some(refused) = &self.refused
            && matches!(refused.has_changed(), Ok(true))
        {
            return Err(certificate_refused());
        }
        let who = self.who.as_ref();
        Ok(Rights::of(who.map(|who| who.identity()).transpose()?))
    }

    /// The name of the identity that calls. None without an access file, and if nobody is known by what the caller shows.
    pub(super) fn identity_name(&self) -> Option<String> {
        Some(self.rights().ok()?.identity_name()?.to_owned())
    }

    /// Waits until `check` fails, because the access file has changed, or the connection's certificate is not accepted any
    /// more. Returns the refusal.
    pub(super) async fn lost(&self, check: impl Fn(&Rights<'_>) -> Result<(), Refusal>) -> Refusal {
        let mut access = self.who.as_ref().map(|who| who.access.clone());
        let mut refused = self.refused.clone();
        loop {
            if let Some(access) = &mut access {
                access.borrow_and_update();
            }
            if let Err(refusal) = self.rights().and_then(|rights| check(&rights)) {
                return refusal;
            }
            tokio::select! {
                biased;
                () = changed(&mut access) => {}
                () = changed(&mut refused) => {}
            }
        }
    }

    /// Refuses a caller without this right.
    fn need(&self, needs: Needs<'_>) -> Result<Rights<'_>, Refusal> {
        let rights = self.rights()?;
        rights.need(needs)?;
        Ok(rights)
    }

    pub(super) async fn read(&self, read: Read, deadline: Instant) -> Result<ReadOutcome, Refusal> {
        self.rights()?.read(&read)?;
        Ok(self.owner.read(read, deadline).await?)
    }

    pub(super) async fn write(
        &self,
        write: Write,
        request_id: Option<Box<RequestId>>,
        deadline: Instant,
    ) -> Result<WriteOutcome, Refusal> {
        let rights = self.rights()?;
        rights.write(&write)?;
        let request_id = rights.own(request_id);
        Ok(self.owner.write(write, request_id, deadline).await?)
    }

    pub(super) async fn add(
        &self,
        add: Add,
        request_id: Option<Box<RequestId>>,
        deadline: Instant,
    ) -> Result<AddOutcome, Refusal> {
        let rights = self.rights()?;
        rights.add(&add)?;
        let request_id = rights.own(request_id);
        Ok(self.owner.add(add, request_id, deadline).await?)
    }

    pub(super) async fn transition(
        &self,
        transition: Transition,
        request_id: Option<Box<RequestId>>,
        deadline: Instant,
    ) -> Result<TransitionOutcome, Refusal> {
        let rights = self.rights()?;
        rights.change("Transition", transition.key.as_str())?;
        let request_id = rights.own(request_id);
        let outcome = self.owner.transition(transition, request_id, deadline);
        Ok(outcome.await?)
    }

    pub(super) async fn delete(
        &self,
        delete: Delete,
        request_id: Option<Box<RequestId>>,
        deadline: Instant,
    ) -> Result<DeleteOutcome, Refusal> {
        let rights = self.rights()?;
        rights.change("Delete", delete.key.as_str())?;
        let request_id = rights.own(request_id);
        Ok(self.owner.delete(delete, request_id, deadline).await?)
    }

    pub(super) async fn delete_prefix(
        &self,
        delete: DeletePrefix,
        request_id: Option<Box<RequestId>>,
        deadline: Instant,
    ) -> Result<DeletePrefixOutcome, Refusal> {
        let rights = self.need(Needs::WritePrefix(&delete.prefix))?;
        rights.audit("DeletePrefix", &delete.prefix);
        let request_id = rights.own(request_id);
        let outcome = self.owner.delete_prefix(delete, request_id, deadline);
        Ok(outcome.await?)
    }

    pub(super) async fn list(&self, list: List, deadline: Instant) -> Result<ListOutcome, Refusal> {
        self.need(Needs::ReadPrefix(&list.prefix))?;
        Ok(self.owner.list(list, deadline).await?)
    }

    /// Who owns the store after the owner that this one calls: it explains the errors of frames.
    pub(super) fn successor(&self) -> Successor {
        self.owner.successor()
    }

    /// Frames must be permitted first, each by itself: see [`PermittedFrames::append`].
    pub(super) fn apply_each<A: PlainAnswers + 'static>(
        &self,
        frames: PermittedFrames,
        answers: A,
        quota: ConnectionQuota,
        deadline: Instant,
    ) -> Result<Pending<(A, QuotaGuard)>, CallError> {
        self.owner
            .apply_each(frames.into_inner(), answers, quota, deadline)
    }

    /// The operations must be permitted first: see [`Rights::all`].
    pub(super) fn apply_all(
        &self,
        frame: Permitted<(Vec<Operation>, Option<Box<RequestId>>)>,
        quota: ConnectionQuota,
        deadline: Instant,
    ) -> Result<Pending<(AllOutcome, QuotaGuard)>, CallError> {
        let (operations, request_id) = frame.into_inner();
        self.owner
            .apply_all(operations, request_id, quota, deadline)
    }

    /// The operations must be permitted first: see [`Rights::all`].
    pub(super) async fn batch(
        &self,
        batch: Permitted<(Vec<Operation>, Option<Box<RequestId>>)>,
        deadline: Instant,
    ) -> Result<(AllOutcome, QuotaGuard), CallError> {
        let (operations, request_id) = batch.into_inner();
        self.owner.batch(operations, request_id, deadline).await
    }

    pub(super) async fn open_session(
        &self,
        open: OpenSession,
        request_id: Option<Box<RequestId>>,
        deadline: Instant,
    ) -> Result<OpenOutcome, Refusal> {
        let rights = self.need(Needs::Session(open.id.as_str()))?;
        let request_id = rights.own(request_id);
        let outcome = self.owner.open_session(open, request_id, deadline).await?;
        if outcome.taken_over.is_some() && !outcome.replayed {
            rights.audit("take-over", outcome.session.id.as_str());
        }
        Ok(outcome)
    }

    pub(super) async fn renew_session(
        &self,
        life: SessionLife,
        deadline: Instant,
    ) -> Result<Session, Refusal> {
        self.need(Needs::Session(life.id.as_str()))?;
        Ok(self.owner.renew_session(life, deadline).await?)
    }

    pub(super) async fn close_session(
        &self,
        life: SessionLife,
        request_id: Option<Box<RequestId>>,
        deadline: Instant,
    ) -> Result<CloseOutcome, Refusal> {
        let rights = self.need(Needs::Session(life.id.as_str()))?;
        let request_id = rights.own(request_id);
        let outcome = self.owner.close_session(life, request_id, deadline);
        Ok(outcome.await?)
    }

    pub(super) async fn list_sessions(
        &self,
        after: Option<String>,
        page_size: usize,
        deadline: Instant,
    ) -> Result<Page<Session>, Refusal> {
        self.need(Needs::Admin)?;
        let page = self.owner.list_sessions(after, page_size, deadline);
        Ok(page.await?)
    }

    /// The new definition must lie inside the caller's right, and so must the one that it replaces.
    pub(super) async fn define_machine(
        &self,
        define: DefineMachine,
        deadline: Instant,
    ) -> Result<Machine, Refusal> {
        let rights = self.need(Needs::Define(define.machine.key_prefix.as_str()))?;
        let name = define.machine.name.clone();
        let machine = self.define_own(&rights, define, deadline).await?;
        rights.audit("DefineMachine", name.as_str());
        Ok(machine)
    }

    async fn define_own(
        &self,
        rights: &Rights<'_>,
        mut define: DefineMachine,
        deadline: Instant,
    ) -> Result<Machine, Refusal> {
        if rights.may_define_all() || define.expect == Some(Condition::Exists(false)) {
            return Ok(self.owner.define_machine(define, deadline).await?);
        }
        let asked = define.expect.take();
        loop {
            // The definition that was looked at must still be there when it is replaced.
            let present = self.own_machine(rights, &define.machine.name, deadline);
            let revision = present.await?;
            let guarded = match &asked {
                Some(Condition::Revision(expected)) if *expected != revision => {
                    let (expected, actual) = (*expected, revision);
                    return Err(rejected(
                        &define,
                        Cause::MachineChanged { expected, actual },
                    ));
                }
                Some(Condition::Exists(true)) if revision == 0 => {
                    return Err(rejected(&define, Cause::MachineNotFound));
                }
                _ => DefineMachine {
                    expect: Some(Condition::Revision(revision)),
                    ..define.clone()
                },
            };
            match self.owner.define_machine(guarded, deadline).await {
                Err(error) if has_changed(&error) => {}
                outcome => return Ok(outcome?),
            }
        }
    }

    /// The revision of the machine of this name, which the caller may define; 0 if there is none.
    async fn own_machine(
        &self,
        rights: &Rights<'_>,
        name: &Name,
        deadline: Instant,
    ) -> Result<Revision, Refusal> {
        match self.owner.get_machine(name.clone(), deadline).await {
            Ok(machine) => {
                rights.need(Needs::Define(machine.key_prefix.as_str()))?;
                Ok(machine.revision)
            }
            Err(CallError::Rejected(rejection)) if rejection.cause == Cause::MachineNotFound => {
                Ok(0)
            }
            Err(error) => Err(error.into()),
        }
    }

    pub(super) async fn get_machine(
        &self,
        name: Name,
        deadline: Instant,
    ) -> Result<Machine, Refusal> {
        let rights = self.need(Needs::AskForMachine(name.as_str()))?;
        let machine = self.owner.get_machine(name, deadline).await?;
        rights.need(Needs::SeeMachine(machine.key_prefix.as_str()))?;
        Ok(machine)
    }

    pub(super) async fn list_machines(
        &self,
        after: Option<String>,
        page_size: usize,
        deadline: Instant,
    ) -> Result<Page<Machine>, Refusal> {
        self.need(Needs::SeeMachines)?;
        let page = self.owner.list_machines(after, page_size, deadline);
        Ok(page.await?)
    }

    pub(super) async fn delete_machine(
        &self,
        mut delete: DeleteMachine,
        deadline: Instant,
    ) -> Result<Revision, Refusal> {
        let rights = self.need(Needs::UndefineMachine(delete.name.as_str()))?;
        if !rights.may_define_all() {
            let revision = self.own_machine(&rights, &delete.name, deadline).await?;
            // The definition that was looked at must still be there when it is deleted.
            delete.revision = Some(revision);
        }
        let name = delete.name.clone();
        let revision = self.owner.delete_machine(delete, deadline).await?;
        rights.audit("DeleteMachine", name.as_str());
        Ok(revision)
    }

    pub(super) async fn watch(
        &self,
        watch: NewWatch,
        deadline: Instant,
    ) -> Result<OpenWatch, Refusal> {
        self.rights()?.watch(&watch.target)?;
        Ok(self.owner.watch(watch, deadline).await?)
    }

    /// The watch was permitted when it was opened. [`lost`](Self::lost) tells when it is not any more.
    pub(super) async fn next_batch(
        &self,
        watch: &OpenWatch,
        quota: ConnectionQuota,
        deadline: Instant,
    ) -> Result<NextBatch, CallError> {
        self.owner.next_batch(watch, quota, deadline).await
    }

    pub(super) async fn begin_backup(&self, deadline: Instant) -> Result<OpenBackup, Refusal> {
        self.need(Needs::Admin)?.audit("Backup", "");
        Ok(self.owner.begin_backup(deadline).await?)
    }

    /// The backup was permitted when it was begun. [`lost`](Self::lost) tells when it is not any more.
    pub(super) async fn next_backup_slice(
        &self,
        backup: &OpenBackup,
        deadline: Instant,
    ) -> Result<CopySlice, CallError> {
        self.owner.next_backup_slice(backup, deadline).await
    }

    /// Checks that the caller may see what the server is.
    pub(super) fn may_see_node(&self) -> Result<(), Refusal> {
        self.need(Needs::Anything).map(drop)
    }

    pub(super) async fn usage(&self, deadline: Instant) -> Result<Usage, Refusal> {
        self.need(Needs::Anything)?;
        Ok(self.owner.usage(deadline).await?)
    }
}

/// Whether the machine was changed after it was looked at.
fn has_changed(error: &CallError) -> bool {
    matches!(error, CallError::Rejected(rejection) if matches!(rejection.cause, Cause::MachineChanged { .. }))
}

fn rejected(define: &DefineMachine, cause: Cause) -> Refusal {
    let subject = define.machine.name.clone();
    crate::machine::Rejection { subject, cause }.into()
}

/// Waits for a change. If there can be none (any more), waits for ever.
async fn changed<T>(receiver: &mut Option<watch::Receiver<T>>) {
    if let Some(receiver) = receiver
        && receiver.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}
