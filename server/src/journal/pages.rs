//! A copy of the whole state as pages: each with a checksum over it and all before it, and a digest at the end. Snapshots
//! and backups are made of the same pages.

use std::convert::Infallible;

use prost::Message as _;
use prost::bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::record::{seal, unseal};
use super::stored::{self, Damaged, FORMAT, Header, KeyedEntry, Page, Trailer, unknown_format};
use crate::config::{COPY_ENTRIES_MAX, COPY_SLICE_BYTES};
use crate::machine::{
    AppliedRequest, CopyHead, CopySlice, Entry, Key, Machine, OpenedSession, StateMachine, Time,
};

/// A page is closed when it has so many bytes; one entry always fits. Large enough to cost little each, small enough to be
/// one message to a client.
const PAGE_BYTES: usize = 128 << 10;

/// What a state came to: SHA-256 over its revision, machines, sessions and entries in order. Answered requests are left
/// out, since they are forgotten as time goes by.
#[derive(Clone, Debug)]
pub(crate) struct StateDigest(Sha256);

impl StateDigest {
    fn of(head: &Header) -> Self {
        Self(Sha256::new().chain_update(head.revision.to_le_bytes()))
    }

    fn item(&mut self, kind: u8, item: &impl prost::Message) {
        let bytes = item.encode_length_delimited_to_vec();
        self.0.update([kind]);
        self.0.update(&bytes);
    }

    fn page(&mut self, page: &Page) {
        page.machines
            .iter()
            .for_each(|machine| self.item(1, machine));
        page.sessions
            .iter()
            .for_each(|session| self.item(2, session));
        page.entries.iter().for_each(|entry| self.item(3, entry));
    }

    fn end(self) -> Bytes {
        Bytes::copy_from_slice(&self.0.finalize())
    }
}

/// Makes pages of what it is given.
#[derive(Debug)]
pub(crate) struct PageWriter {
    digest: StateDigest,
    page: Page,
    page_bytes: usize,
    key_count: u64,
    crc: u32,
    full: Vec<Vec<u8>>,
}

impl PageWriter {
    pub(crate) fn new(head: Header, copy: &CopyHead) -> Self {
        let mut writer = Self {
            digest: StateDigest::of(&head),
            page_bytes: head.encoded_len(),
            page: Page {
                header: Some(head),
                ..Page::default()
            },
            key_count: 0,
            crc: 0,
            full: Vec::new(),
        };
        for machine in &copy.machines {
            let machine = stored::Machine::from(machine);
            writer.grow(machine.encoded_len());
            writer.page.machines.push(machine);
        }
        for session in &copy.sessions {
            let session = stored::OpenedSession::from(session);
            writer.grow(session.encoded_len());
            writer.page.sessions.push(session);
        }
        writer
    }

    fn entries(&mut self, entries: &[(Key, Entry)]) {
        for (key, entry) in entries {
            let entry = KeyedEntry::of(key, entry);
            self.grow(entry.encoded_len());
            self.page.entries.push(entry);
            self.key_count += 1;
        }
    }

    fn applied_requests(&mut self, applied_requests: &[AppliedRequest]) {
        for applied in applied_requests {
            let applied = stored::AppliedRequest::from(applied);
            self.grow(applied.encoded_len());
            self.page.applied_requests.push(applied);
        }
    }

    /// Writes what comes next in the copy. At its end returns the digest and how many keys there are.
    pub(crate) fn slice(&mut self, slice: &CopySlice) -> Option<(Bytes, u64)> {
        match slice {
            CopySlice::Entries(entries) => self.entries(entries),
            CopySlice::Requests(requests) => self.applied_requests(requests),
            CopySlice::End => return Some((self.end(), self.key_count)),
        }
        None
    }

    fn end(&mut self) -> Bytes {
        self.digest.page(&self.page);
        let digest = self.digest.clone().end();
        self.page.trailer = Some(Trailer {
            key_count: self.key_count,
            digest: digest.clone(),
        });
        self.close_page();
        digest
    }

    /// The pages that are full.
    pub(crate) fn take(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.full)
    }

    fn grow(&mut self, bytes: usize) {
        if self.page_bytes > 0 && self.page_bytes + bytes > PAGE_BYTES {
            self.digest.page(&self.page);
            self.close_page();
        }
        self.page_bytes += bytes;
    }

    fn close_page(&mut self) {
        let mut bytes = self.page.encode_to_vec();
        self.crc = seal(&mut bytes, self.crc);
        self.full.push(bytes);
        self.page = Page::default();
        self.page_bytes = 0;
    }
}

/// Makes a state of pages.
#[derive(Debug)]
pub(crate) struct PageReader {
    machine: StateMachine,
    head: Option<Header>,
    digest: Option<StateDigest>,
    end: Option<Trailer>,
    key_count: u64,
    crc: u32,
}

/// A copy, read to its end.
#[derive(Debug)]
pub(crate) struct Restored {
    pub(crate) machine: StateMachine,
    pub(crate) head: Header,
    pub(crate) digest: Bytes,
    pub(crate) key_count: u64,
}

impl PageReader {
    /// Reads into an empty state.
    pub(crate) fn new(machine: StateMachine) -> Self {
        Self {
            machine,
            head: None,
            digest: None,
            end: None,
            key_count: 0,
            crc: 0,
        }
    }

    /// Reads the next page.
    pub(crate) fn page(&mut self, bytes: &[u8]) -> Result<(), Damaged> {
        let (bytes, crc) = unseal(bytes, self.crc)?;
        self.crc = crc;
        let page = Page::decode(bytes)?;
        if self.end.is_some() {
            return Err(Damaged("it comes after the end".into()));
        }
        match (&self.head, &page.header) {
            (None, Some(head)) if head.format != FORMAT => {
                return Err(Damaged(unknown_format(head.format)));
            }
            (None, Some(head)) => {
                self.machine.restore_revision(head.revision);
                self.digest = Some(StateDigest::of(head));
                self.head = page.header.clone();
            }
            (None, None) => return Err(Damaged("it is not the first".into())),
            (Some(_), Some(_)) => return Err(Damaged("it is another first one".into())),
            (Some(_), None) => {}
        }
        let digest = self.digest.as_mut().expect("the first page had a head");
        digest.page(&page);
        self.end = page.trailer;
        self.key_count += page.entries.len() as u64;
        self.restore(
            page.machines,
            page.sessions,
            page.entries,
            page.applied_requests,
        )
    }

    fn restore(
        &mut self,
        machines: Vec<stored::Machine>,
        sessions: Vec<stored::OpenedSession>,
        entries: Vec<KeyedEntry>,
        applied_requests: Vec<stored::AppliedRequest>,
    ) -> Result<(), Damaged> {
        let damaged = |error: crate::machine::ReplayError| Damaged(error.to_string());
        for machine in machines {
            self.machine
                .restore_machine(Machine::from(machine))
                .map_err(damaged)?;
        }
        for session in sessions {
            self.machine
                .restore_session(OpenedSession::from(session))
                .map_err(damaged)?;
        }
        for entry in entries {
            let (key, entry) = entry.into_domain()?;
            self.machine.restore_entry(key, entry).map_err(damaged)?;
        }
        for applied in applied_requests {
            self.machine.restore_request(applied.try_into()?);
        }
        Ok(())
    }

    /// The whole copy.
    pub(crate) fn end(self) -> Result<Restored, Damaged> {
        let (Some(head), Some(digest), Some(end)) = (self.head, self.digest, self.end) else {
            return Err(Damaged("it ends too early".into()));
        };
        let digest = digest.end();
        if end.key_count != self.key_count {
            return Err(Damaged(format!(
                "it has {} keys, and should have {}",
                self.key_count, end.key_count
            )));
        }
        if end.digest != digest {
            return Err(Damaged("its digest is another than it should be".into()));
        }
        Ok(Restored {
            machine: self.machine,
            head,
            digest,
            key_count: end.key_count,
        })
    }
}

/// The digest of a state as it is.
pub(crate) fn digest_of(machine: &mut StateMachine) -> Bytes {
    let head = Header::of("", machine.revision(), Time::MIN);
    write_all(machine, head, |_| Ok::<_, Infallible>(())).unwrap_or_else(|never| match never {})
}

/// Writes a state that does not change meanwhile, page by page. Returns its digest.
pub(crate) fn write_all<E>(
    machine: &mut StateMachine,
    head: Header,
    mut each: impl FnMut(Vec<u8>) -> Result<(), E>,
) -> Result<Bytes, E> {
    let (id, copy) = machine.begin_copy(0);
    let mut writer = PageWriter::new(head, &copy);
    loop {
        let slice = machine.next_copy_slice(id, COPY_ENTRIES_MAX, COPY_SLICE_BYTES);
        let end = writer.slice(&slice.expect("nothing changes meanwhile"));
        if let Err(error) = writer.take().into_iter().try_for_each(&mut each) {
            machine.end_copy(id);
            return Err(error);
        }
        if let Some((digest, _)) = end {
            return Ok(digest);
        }
    }
}
