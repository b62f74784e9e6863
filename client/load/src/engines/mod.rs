//! How operations travel.

pub(crate) mod connection;
pub(crate) mod lane;
pub(crate) mod raw;
pub(crate) mod threads;
pub(crate) mod watchers;
pub(crate) mod worker;
