//! The journal of a cluster, in etcd: one node owns the store and writes, the others follow.
//!
//! Imports go one way. From the bottom: `messages` (what is in etcd), `keys` (where it is), and `chunks` (how a snapshot is cut).

#![allow(
    dead_code,
    unused_imports,
    reason = "the journal of a cluster is not whole yet"
)]

mod chunks;
mod keys;
mod messages;

pub(crate) use keys::{Generation, Keys};
pub(crate) use messages::{Cluster, Contents, Manifest, Node, Owner, Parts, Record};
