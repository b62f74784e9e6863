//! The journal of a cluster, in etcd: one node owns the store and writes, the others follow.
//!
//! ```text
//! owner -- Command ---> commit ---> l/   one record a transaction, in the name of the epoch, after the record before
//!   ^   -- Confirm ---> confirm --> o    a linearizable read, which waits for nothing else
//!   |   -- CopySlice -> snapshot -> s/   chunks; then m, their manifest; then less of l/
//!   +----- Event <----- each of them
//! ```
//!
//! Where to begin: `keys` lists what is in etcd. An owner keeps two rules, which make all answers true whatever becomes of it:
//! `commit` adds a record only in a transaction that compares the epoch, and `confirm` reads the owner's key after an answer was
//! computed. `follow` is the life of a standby, and `takeover` its end.
//!
//! Imports go one way. From the bottom:
//!
//! | files | what they are for |
//! |---|---|
//! | `messages`, `keys`, `chunks` | what is in etcd, under which keys, and how a snapshot is cut |
//! | `cluster`, `trying`, `recent` | a cluster and one node of it; asking etcd again; how much of the log fills the history |
//! | `recover`, `restore` | reads the whole store; makes a new one of a backup |
//! | `compare`, `store_time`, `follow`, `takeover` | a standby |
//! | `owned` | an owner's requests, which all compare the epoch |
//! | `parts`, `commit`, `hand_off`, `confirm`, `truncate`, `snapshot`, `space` | an owner, each a task of its own or a step of one |
//! | `journal` | puts an owner together, behind the queues that `owner/` knows |

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
