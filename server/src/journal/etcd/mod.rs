//! The journal of a cluster, in etcd: one node owns the store and writes, the others follow.
//!
//! ```text
//! owner -- Command ---> commit ---> l/   one record a transaction, in the name of the epoch, after the record before
//!   ^   -- Confirm ---> confirm --> o    a linearizable read, which waits for nothing else
//!   |   -- CopySlice -> snapshot -> s/   chunks; then m, their manifest; then less of l/
//!   +----- Event <----- each of them
//! ```
//!
//! Imports go one way. From the bottom: `messages` (what is in etcd), `keys` (where it is), and `chunks` (how a snapshot is cut);
//! `cluster` (a cluster, and one node of it), `recent` (how much of the log fills the history). A standby: `trying` (asks etcd again), `recover` (reads the store), `compare` and
//! `store_time`; `follow` and `takeover`. An owner: `owned` (requests in the name of the epoch); `parts`, `commit` and
//! `hand_off`; `confirm`, `truncate`, `snapshot` and `space`; `journal` puts these together.

mod chunks;
mod cluster;
mod commit;
mod compare;
mod confirm;
mod follow;
mod hand_off;
mod journal;
#[cfg(test)]
mod journal_tests;
mod keys;
mod messages;
mod owned;
mod parts;
mod recent;
mod recover;
mod restore;
mod snapshot;
mod space;
#[cfg(test)]
mod standby_tests;
mod store_time;
mod takeover;
mod truncate;
mod trying;

pub(crate) use cluster::{Cluster, FORMATS};
pub(crate) use follow::{Follower, Following, Reason};
pub(crate) use journal::start;
pub(crate) use keys::Keys;
pub(crate) use messages::{Cluster as ClusterRecord, HandOff, Node, Owner};
pub(crate) use restore::{NewCluster, restore};
pub(crate) use takeover::{Challenge, Won};
