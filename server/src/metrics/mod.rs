//! What the server counts of itself, and the text in which Prometheus reads it.
//!
//! ```text
//! thread cells, owner cells, journal cells -> Snapshot -> text
//! ```
//!
//! Each cell is written by one thread, with plain moves, and read at a scrape by the thread that answers it. Nothing is
//! counted while nobody can look: without `--http-listen` threads have no cells. No label is a key, a peer or a session, and
//! every label has a limited number of values.

mod calls;
mod cells;
mod cluster;
mod encode;
mod history;
mod journal;
mod last_minute;
mod owner;
mod process;
mod reloads;
mod server;
mod snapshot;
mod thread;

pub(crate) use calls::{CANCELED, Method};
pub(crate) use cluster::{ClusterShown, EtcdShown, TakeoverShown};
pub(crate) use encode::{CONTENT_TYPE, encode};
pub(crate) use history::{History, Quantiles, Sample};
pub(crate) use journal::{FILES, JournalCells};
pub(crate) use last_minute::{LastMinute, Latency};
pub(crate) use owner::{DISK_ENOUGH, DISK_FULL, DISK_LOW, OperationKind, OwnerCells};
pub(crate) use reloads::{ReloadCells, Reloads};
pub(crate) use server::now_nanos;
pub(crate) use snapshot::{
    Certificate, JournalSum, KeysInState, LimitsShown, MailboxLevel, Metrics, Snapshot,
};
pub(crate) use thread::{count_here, here};
