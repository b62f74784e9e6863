//! A small client of etcd, and (feature `sim`) a simulated etcd for tests.
//!
//! [`Etcd`] is either. It has what a log with one owner needs: transactions, linearizable reads, leases, watches, compaction.
//! Nothing is tried again by itself, except that a token is renewed, and by a client that [hedges](Etcd::hedging): only the caller
//! knows what a second attempt means.

mod client;
mod error;
mod etcd;
#[cfg(feature = "sim")]
pub mod sim;
mod types;

pub use error::{Error, ErrorKind};
pub use etcd::{Etcd, Watch};
pub use types::{
    Compare, Get, KeyRange, KeyValue, Lease, Member, Op, OpAnswer, Options, RangeAnswer, Tls, Txn,
    TxnAnswer, WatchAnswer, WatchEvent,
};
