//! Tests of several nodes that are one store, on a real etcd: processes are killed and stopped, links cut, and what clients were
//! told is checked. `./test --tools` installs etcd.
//!
//! SOLOIST_CLUSTER_ROUNDS makes them long: it is how often each fault comes. SOLOIST_CLUSTER_OPERATIONS is how many operations at
//! least `killed_owners_lose_nothing` makes, SOLOIST_CLUSTER_CLIENTS by how many clients, and SOLOIST_CLUSTER_SECONDS lets it kill for so
//! long instead of so often. SOLOIST_CLUSTER_REPORT names a file to which each test adds its figures, a line of JSON.
//! SOLOIST_CLUSTER_SYNC lets etcd wait for its disk.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod certificates;
mod clients;
mod clocks;
mod cluster;
mod credentials;
mod duplicates;
mod etcd;
mod etcd_faults;
mod flights;
mod harness;
mod link;
mod load;
mod locks;
mod namespaces;
mod place;
mod processes;
mod quota;
mod roles;
mod rounds;
mod single;
mod sizes;
mod takeovers;
mod values;
mod versions;
mod watcher;
