//! A copy of the whole state as pages: the content of snapshots and backups.
//!
//! A checksum over the page and all pages before it follows each page. The last page has a digest of the state.

use std::convert::Infallible;

use prost::Message as _;
use prost::bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::record::{seal, unseal};
use super::stored::{self, Damaged, FORMAT, Header, KeyedEntry, Page, Trailer, unknown_format};
use crate::config::{COPY_ENTRIES_MAX, COPY_SLICE_BYTES};
use crate::machine::{
    AppliedRequest, CopyHead, CopyId, CopySlice, Entry, Key, Machine, OpenedSession, StateMachine,
    Time,
};
use crate::progress::{Progress, Unit};

/// Bytes after which a page is full; a larger entry has a page of its own. Large enough to make the cost of a page small,
/// small enough for one message to a client.
const PAGE_BYTES: usize = 128 << 10;

/// The digest of a state: SHA-256 of its revision, machines, sessions and entries, in order. Applied requests are left out,
/// because they are forgotten as time passes.
///
/// With it, or alone, comes the digest of the contents, which leaves out the revision. It stays the same when a restore or a
/// crash skips revisions, so it is the one that people are shown.
#[derive(Clone, Debug)]
pub(crate) struct StateDigest {
    state: Sha256,
    /// `None` if nobody asks for the digest of the contents.
    contents: Option<Sha256>,
}

impl StateDigest {
    fn of(header: &Header) -> Self {
        Self {
            state: Sha256::new().chain_update(header.revision.to_le_bytes()),
            contents: None,
        }
    }

    fn with_contents(header: &Header) -> Self {
        Self {
            contents: Some(Sha256::new()),
            ..Self::of(header)
        }
    }

    fn add(&mut self, kind: u8, item: &impl prost::Message) {
        let bytes = item.encode_length_delimited_to_vec();
        for digest in [Some(&mut self.state), self.contents.as_mut()]
            .into_iter()
            .flatten()
        {
            digest.update([kind]);
            digest.update(&bytes);
        }
    }

    fn add_page(&mut self, page: &Page) {
        page.machines
            .iter()
            .for_each(|machine| self.add(1, machine));
        page.sessions
            .iter()
            .for_each(|session| self.add(2, session));
        page.entries.iter().for_each(|entry| self.add(3, entry));
    }

    fn finish(self) -> Bytes {
        Bytes::copy_from_slice(&self.state.finalize())
    }

    fn finish_contents(self) -> Option<Bytes> {
        let contents = self.contents?;
        Some(Bytes::copy_from_slice(&contents.finalize()))
    }
}

/// Encodes the slices of a copy as pages.
#[derive(Debug)]
pub(crate) struct PageWriter {
    digest: StateDigest,
    /// The page that is being filled, and its bytes.
    page: Page,
    page_bytes: usize,
    key_count: u64,
    /// The checksum of the last full page.
    crc: u32,
    /// Encoded pages that were not taken yet.
    full: Vec<Vec<u8>>,
}

impl PageWriter {
    pub(crate) fn new(header: Header, copy: &CopyHead) -> Self {
        let digest = StateDigest::of(&header);
        Self::begin(digest, header, copy)
    }

    /// Like [`new`](Self::new), for a copy whose [contents digest](Self::contents_digest) is asked for.
    pub(crate) fn with_contents_digest(header: Header, copy: &CopyHead) -> Self {
        let digest = StateDigest::with_contents(&header);
        Self::begin(digest, header, copy)
    }

    fn begin(digest: StateDigest, header: Header, copy: &CopyHead) -> Self {
        let mut writer = Self {
            digest,
            page_bytes: header.encoded_len(),
            page: Page {
                header: Some(header),
                ..Page::default()
            },
            key_count: 0,
            crc: 0,
            full: Vec::new(),
        };
        for machine in &copy.machines {
            let machine = stored::Machine::from(machine);
            writer.make_room(machine.encoded_len());
            writer.page.machines.push(machine);
        }
        for session in &copy.sessions {
            let session = stored::OpenedSession::from(session);
            writer.make_room(session.encoded_len());
            writer.page.sessions.push(session);
        }
        writer
    }

    /// The number of keys that were written so far.
    pub(super) fn key_count(&self) -> u64 {
        self.key_count
    }

    /// The digest of the contents, after the last slice; `None` if it was not asked for.
    pub(crate) fn contents_digest(&self) -> Option<Bytes> {
        self.digest.clone().finish_contents()
    }

    fn write_entries(&mut self, entries: &[(Key, Entry)]) {
        for (key, entry) in entries {
            let entry = KeyedEntry::of(key, entry);
            self.make_room(entry.encoded_len());
            self.page.entries.push(entry);
            self.key_count += 1;
        }
    }

    fn write_requests(&mut self, applied_requests: &[AppliedRequest]) {
        for applied in applied_requests {
            let applied = stored::AppliedRequest::from(applied);
            self.make_room(applied.encoded_len());
            self.page.applied_requests.push(applied);
        }
    }

    /// Writes the next slice. After the last one, returns the digest and the number of keys.
    pub(crate) fn write(&mut self, slice: &CopySlice) -> Option<(Bytes, u64)> {
        match slice {
            CopySlice::Entries(entries) => self.write_entries(entries),
            CopySlice::Requests(requests) => self.write_requests(requests),
            CopySlice::End => return Some((self.finish(), self.key_count)),
        }
        None
    }

    fn finish(&mut self) -> Bytes {
        self.digest.add_page(&self.page);
        let digest = self.digest.clone().finish();
        self.page.trailer = Some(Trailer {
            key_count: self.key_count,
            digest: digest.clone(),
        });
        self.close_page();
        digest
    }

    /// Takes the pages that are full.
    pub(crate) fn take_pages(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.full)
    }

    /// Closes the page if it has no room for `bytes` more.
    fn make_room(&mut self, bytes: usize) {
        if self.page_bytes > 0 && self.page_bytes + bytes > PAGE_BYTES {
            self.digest.add_page(&self.page);
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

/// Restores a state from pages.
#[derive(Debug)]
pub(crate) struct PageReader {
    machine: StateMachine,
    header: Option<Header>,
    digest: Option<StateDigest>,
    trailer: Option<Trailer>,
    key_count: u64,
    crc: u32,
}

/// A complete copy, restored.
#[derive(Debug)]
pub(crate) struct Restored {
    pub(crate) machine: StateMachine,
    pub(crate) header: Header,
    pub(crate) digest: Bytes,
    pub(crate) key_count: u64,
}

impl PageReader {
    /// Starts with an empty state.
    pub(crate) fn new(machine: StateMachine) -> Self {
        Self {
            machine,
            header: None,
            digest: None,
            trailer: None,
            key_count: 0,
            crc: 0,
        }
    }

    /// The number of keys so far.
    pub(super) fn key_count(&self) -> u64 {
        self.key_count
    }

    /// Reads the next page.
    ///
    /// # Errors
    /// [`Damaged`] if no server can have written this page after the pages before. The reader is of no use then.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Result<(), Damaged> {
        let (bytes, crc) = unseal(bytes, self.crc)?;
        self.crc = crc;
        let page = Page::decode(bytes)?;
        if self.trailer.is_some() {
            return Err(Damaged("there is a page after the last one".into()));
        }
        match (&self.header, &page.header) {
            (None, Some(header)) if header.format != FORMAT => {
                return Err(Damaged(unknown_format(header.format)));
            }
            (None, Some(header)) => {
                self.machine.restore_revision(header.revision);
                self.digest = Some(StateDigest::of(header));
                self.header = page.header.clone();
            }
            (None, None) => return Err(Damaged("the first page is missing".into())),
            (Some(_), Some(_)) => return Err(Damaged("there is a second first page".into())),
            (Some(_), None) => {}
        }
        let digest = self.digest.as_mut().expect("the first page has a header");
        digest.add_page(&page);
        self.trailer = page.trailer;
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

    /// The restored state, after the last page.
    ///
    /// # Errors
    /// [`Damaged`] if the last page is missing, or the state is not the one that was copied.
    pub(crate) fn finish(self) -> Result<Restored, Damaged> {
        let (Some(header), Some(digest), Some(trailer)) = (self.header, self.digest, self.trailer)
        else {
            return Err(Damaged("the copy ends too early".into()));
        };
        let digest = digest.finish();
        if trailer.key_count != self.key_count {
            return Err(Damaged(format!(
                "the copy has {} keys, but should have {}",
                self.key_count, trailer.key_count
            )));
        }
        if trailer.digest != digest {
            return Err(Damaged("the digest of the state is wrong".into()));
        }
        Ok(Restored {
            machine: self.machine,
            header,
            digest,
            key_count: trailer.key_count,
        })
    }
}

/// The header in the first page of a copy.
///
/// # Errors
/// [`Damaged`] if this is not the first page of a copy.
pub(super) fn header_of(first_page: &[u8]) -> Result<Header, Damaged> {
    let (bytes, _) = unseal(first_page, 0)?;
    let header = Page::decode(bytes)?.header;
    header.ok_or_else(|| Damaged("the first page is missing".into()))
}

/// The number of keys in a copy, as its last page has it. That page is not checked here, so the number is only to be shown.
pub(super) fn key_count_of(last_page: &[u8]) -> Option<u64> {
    let (bytes, _checksum) = last_page.split_last_chunk::<4>()?;
    Some(Page::decode(bytes).ok()?.trailer?.key_count)
}

/// The digest of the present state.
pub(crate) fn digest_of(machine: &mut StateMachine, progress: &Progress) -> Bytes {
    let header = Header::of("", machine.revision(), Time::MIN);
    begin(progress, DIGEST, machine);
    write_all(machine, header, progress, |_| Ok::<_, Infallible>(()))
        .unwrap_or_else(|never| match never {})
}

/// The digest of the contents of the present state, without its revision.
pub(crate) fn contents_digest_of(machine: &mut StateMachine, progress: &Progress) -> Bytes {
    let header = Header::of("", machine.revision(), Time::MIN);
    begin(progress, DIGEST, machine);
    let (id, copy) = machine.begin_copy(0);
    let mut writer = PageWriter::with_contents_digest(header, &copy);
    let nowhere = |_| Ok::<_, Infallible>(());
    write_slices(machine, id, &mut writer, progress, nowhere)
        .unwrap_or_else(|never| match never {});
    let digest = writer.contents_digest();
    digest.expect("the writer was asked for it")
}

const DIGEST: &str = "computing the digest";

/// Begins a step that goes through all keys.
pub(super) fn begin(progress: &Progress, what: impl Into<String>, machine: &StateMachine) {
    let key_count = machine.usage().key_count as u64;
    progress.begin(what, Unit::Things("keys"), Some(key_count));
}

/// Passes the pages of the present state to `each`, until it fails. Returns the digest. Counts the keys.
pub(crate) fn write_all<E>(
    machine: &mut StateMachine,
    header: Header,
    progress: &Progress,
    each: impl FnMut(Vec<u8>) -> Result<(), E>,
) -> Result<Bytes, E> {
    let (id, copy) = machine.begin_copy(0);
    let mut writer = PageWriter::new(header, &copy);
    write_slices(machine, id, &mut writer, progress, each)
}

/// Writes the slices of a copy, and passes the pages to `each`, until it fails. Returns the digest. Counts the keys.
fn write_slices<E>(
    machine: &mut StateMachine,
    copy: CopyId,
    writer: &mut PageWriter,
    progress: &Progress,
    mut each: impl FnMut(Vec<u8>) -> Result<(), E>,
) -> Result<Bytes, E> {
    loop {
        let slice = machine.next_copy_slice(copy, COPY_ENTRIES_MAX, COPY_SLICE_BYTES);
        let end = writer.write(&slice.expect("the state does not change during the copy"));
        progress.set(writer.key_count);
        if let Err(error) = writer.take_pages().into_iter().try_for_each(&mut each) {
            machine.end_copy(copy);
            return Err(error);
        }
        if let Some((digest, _)) = end {
            return Ok(digest);
        }
    }
}
