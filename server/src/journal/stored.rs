//! What is kept on disk, as protobuf messages: the records of the log, and the pages of copies.
//!
//! A field is never given another meaning: what an older server wrote can be read for as long as [`FORMAT`] is the same.
//! Times and durations are in nanoseconds, times since 1970-01-01 00:00 UTC.

mod convert;

use std::fmt;

use bytes::Bytes;
use prost::{Message, Oneof};

use crate::machine::{self, Revision, Time};

pub(crate) use convert::{nanos, time};

/// Of everything that is kept here. One that is not known is refused.
pub(crate) const FORMAT: u32 = 1;

pub(crate) fn unknown_format(format: u32) -> String {
    format!("its format is {format}, and this server knows {FORMAT} alone")
}

/// What cannot have been written by a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Damaged(pub(crate) String);

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<prost::DecodeError> for Damaged {
    fn from(error: prost::DecodeError) -> Self {
        Self(error.to_string())
    }
}

fn lacks(what: &str) -> Damaged {
    Damaged(format!("it has no {what}"))
}

/// What happened between two commits.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Record {
    #[prost(uint32, tag = "1")]
    pub(crate) format: u32,
    /// Counts the starts of the server.
    #[prost(uint64, tag = "2")]
    pub(crate) epoch: u64,
    /// One more than the record's before.
    #[prost(uint64, tag = "3")]
    pub(crate) seq: u64,
    /// The store revision after it.
    #[prost(int64, tag = "4")]
    pub(crate) revision: Revision,
    /// The owner's time at its end.
    #[prost(uint64, tag = "5")]
    pub(crate) time: u64,
    /// The checksum at the end of the record before.
    #[prost(fixed32, tag = "6")]
    pub(crate) previous_crc: u32,
    #[prost(message, repeated, tag = "7")]
    pub(crate) effects: Vec<Effect>,
}

impl Record {
    /// What it says that happened.
    pub(crate) fn into_effects(self) -> Result<Vec<machine::Effect>, Damaged> {
        self.effects.into_iter().map(TryInto::try_into).collect()
    }
}

/// What is known of the store as a whole. Written with the commits that change it.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Meta {
    #[prost(uint32, tag = "1")]
    pub(crate) format: u32,
    #[prost(string, tag = "2")]
    pub(crate) store_id: String,
    #[prost(uint64, tag = "3")]
    pub(crate) epoch: u64,
    /// Whether the server shut down in order.
    #[prost(bool, tag = "4")]
    pub(crate) closed: bool,
    /// No revision up to here may be given again.
    #[prost(int64, tag = "5")]
    pub(crate) used_revision: Revision,
    /// The owner's time when this was written.
    #[prost(uint64, tag = "6")]
    pub(crate) time: u64,
    /// The snapshots that are complete, the latest last.
    #[prost(message, repeated, tag = "7")]
    pub(crate) snapshots: Vec<SnapshotMeta>,
    /// How answers and syncs went together, as `--durability` says it, since the last start.
    #[prost(string, tag = "8")]
    pub(crate) durability: String,
}

/// A snapshot that is complete.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct SnapshotMeta {
    /// In which file: 0 or 1.
    #[prost(uint32, tag = "1")]
    pub(crate) slot: u32,
    /// It has the effects of every record up to this one.
    #[prost(uint64, tag = "2")]
    pub(crate) seq: u64,
    #[prost(int64, tag = "3")]
    pub(crate) revision: Revision,
    /// The digest at its end.
    #[prost(bytes = "bytes", tag = "4")]
    pub(crate) digest: Bytes,
}

/// A part of a copy of the whole state. The first has the head, the last the end.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Page {
    #[prost(message, optional, tag = "1")]
    pub(crate) head: Option<Head>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) machines: Vec<Machine>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) sessions: Vec<OpenedSession>,
    #[prost(message, repeated, tag = "4")]
    pub(crate) entries: Vec<KeyedEntry>,
    #[prost(message, repeated, tag = "5")]
    pub(crate) answered: Vec<Answered>,
    #[prost(message, optional, tag = "6")]
    pub(crate) end: Option<End>,
}

/// What a copy is of.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Head {
    #[prost(uint32, tag = "1")]
    pub(crate) format: u32,
    #[prost(string, tag = "2")]
    pub(crate) store_id: String,
    /// As of this revision.
    #[prost(int64, tag = "3")]
    pub(crate) revision: Revision,
    /// The owner's time then.
    #[prost(uint64, tag = "4")]
    pub(crate) time: u64,
    /// The record after which it is; 0 where there is no log.
    #[prost(uint64, tag = "5")]
    pub(crate) seq: u64,
    /// That record's checksum.
    #[prost(fixed32, tag = "6")]
    pub(crate) record_crc: u32,
    /// The server's version.
    #[prost(string, tag = "7")]
    pub(crate) version: String,
}

impl Head {
    /// Of a state at this revision and time, where there is no log.
    pub(crate) fn of(store_id: &str, revision: Revision, time: Time) -> Self {
        Self {
            format: FORMAT,
            store_id: store_id.into(),
            revision,
            time: nanos(time),
            version: env!("CARGO_PKG_VERSION").into(),
            ..Self::default()
        }
    }
}

/// What a copy must have come to.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct End {
    #[prost(uint64, tag = "1")]
    pub(crate) key_count: u64,
    /// SHA-256 of the state, as [`StateDigest`](super::pages::StateDigest) takes it.
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) digest: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct KeyedEntry {
    #[prost(string, tag = "1")]
    pub(crate) key: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) entry: Option<Entry>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Effect {
    #[prost(oneof = "EffectKind", tags = "1, 2, 3, 4, 5, 6")]
    pub(crate) kind: Option<EffectKind>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum EffectKind {
    #[prost(message, tag = "1")]
    Changed(Changed),
    #[prost(message, tag = "2")]
    SessionOpened(OpenedSession),
    #[prost(message, tag = "3")]
    SessionEnded(Named),
    #[prost(message, tag = "4")]
    MachineDefined(Machine),
    #[prost(message, tag = "5")]
    MachineDeleted(Named),
    #[prost(message, tag = "6")]
    Answered(Answered),
}

/// Something of a name, at a revision.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Named {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(int64, tag = "2")]
    pub(crate) revision: Revision,
}

/// A key changed.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Changed {
    #[prost(string, tag = "1")]
    pub(crate) key: String,
    #[prost(int64, tag = "2")]
    pub(crate) revision: Revision,
    #[prost(enumeration = "Cause", tag = "3")]
    pub(crate) cause: i32,
    /// As it was after; none: gone.
    #[prost(message, optional, tag = "4")]
    pub(crate) entry: Option<Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum Cause {
    Unknown = 0,
    Written = 1,
    Transitioned = 2,
    Deleted = 3,
    Expired = 4,
    SessionEnded = 5,
    TimedOut = 6,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Entry {
    #[prost(message, optional, tag = "1")]
    pub(crate) value: Option<Value>,
    #[prost(int64, tag = "2")]
    pub(crate) revision: Revision,
    #[prost(int64, tag = "3")]
    pub(crate) create_revision: Revision,
    #[prost(message, optional, tag = "4")]
    pub(crate) ttl: Option<Ttl>,
    #[prost(message, optional, tag = "5")]
    pub(crate) session: Option<Named>,
    #[prost(message, optional, tag = "6")]
    pub(crate) place: Option<Place>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Value {
    #[prost(oneof = "ValueKind", tags = "1, 2, 3")]
    pub(crate) kind: Option<ValueKind>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum ValueKind {
    #[prost(int64, tag = "1")]
    Int(i64),
    #[prost(string, tag = "2")]
    Text(String),
    #[prost(bytes = "bytes", tag = "3")]
    Bytes(Bytes),
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Ttl {
    #[prost(uint64, tag = "1")]
    pub(crate) ttl: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) ends: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Place {
    #[prost(string, tag = "1")]
    pub(crate) machine: String,
    #[prost(string, tag = "2")]
    pub(crate) state: String,
    #[prost(uint64, tag = "3")]
    pub(crate) since: u64,
    /// Only in what was shown.
    #[prost(uint64, optional, tag = "4")]
    pub(crate) timeout_at: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct OpenedSession {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(uint64, tag = "2")]
    pub(crate) ttl: u64,
    #[prost(int64, tag = "3")]
    pub(crate) create_revision: Revision,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Machine {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) key_prefix: String,
    #[prost(string, tag = "3")]
    pub(crate) initial: String,
    #[prost(message, repeated, tag = "4")]
    pub(crate) states: Vec<State>,
    #[prost(int64, tag = "5")]
    pub(crate) revision: Revision,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct State {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, repeated, tag = "2")]
    pub(crate) next: Vec<String>,
    #[prost(uint64, optional, tag = "3")]
    pub(crate) timeout: Option<u64>,
    #[prost(string, tag = "4")]
    pub(crate) timeout_next: String,
}

/// A request that was answered.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Answered {
    #[prost(uint64, tag = "1")]
    pub(crate) at: u64,
    #[prost(string, tag = "2")]
    pub(crate) request_id: String,
    /// 16 bytes, the lowest first.
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) fingerprint: Bytes,
    #[prost(oneof = "AnswerKind", tags = "4, 5, 6, 7")]
    pub(crate) answer: Option<AnswerKind>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum AnswerKind {
    #[prost(message, tag = "4")]
    One(Outcome),
    #[prost(message, tag = "5")]
    All(All),
    #[prost(message, tag = "6")]
    Opened(Opened),
    #[prost(message, tag = "7")]
    Closed(Closed),
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct All {
    #[prost(message, repeated, tag = "1")]
    pub(crate) outcomes: Vec<Outcome>,
    #[prost(int64, tag = "2")]
    pub(crate) revision: Revision,
    #[prost(uint64, tag = "3")]
    pub(crate) answer_bytes: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Opened {
    #[prost(message, optional, tag = "1")]
    pub(crate) session: Option<OpenedSession>,
    #[prost(uint64, tag = "2")]
    pub(crate) ends: u64,
    #[prost(int64, optional, tag = "3")]
    pub(crate) taken_over: Option<Revision>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Closed {
    #[prost(uint64, tag = "1")]
    pub(crate) key_count: u64,
    #[prost(int64, tag = "2")]
    pub(crate) revision: Revision,
    #[prost(int64, tag = "3")]
    pub(crate) create_revision: Revision,
}

/// The answer to one operation: of the fields beside the revision, each kind has its own.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Outcome {
    #[prost(enumeration = "OutcomeKind", tag = "1")]
    pub(crate) kind: i32,
    #[prost(int64, tag = "2")]
    pub(crate) revision: Revision,
    #[prost(int64, tag = "3")]
    pub(crate) create_revision: Revision,
    /// The entry that was read, or that there was before.
    #[prost(message, optional, tag = "4")]
    pub(crate) entry: Option<Entry>,
    #[prost(int64, tag = "5")]
    pub(crate) value: i64,
    #[prost(int64, tag = "6")]
    pub(crate) applied: i64,
    #[prost(string, tag = "7")]
    pub(crate) from: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum OutcomeKind {
    Unknown = 0,
    Read = 1,
    Write = 2,
    Add = 3,
    Transition = 4,
    Delete = 5,
}

#[cfg(test)]
mod tests;
