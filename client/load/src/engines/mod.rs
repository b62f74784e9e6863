//! How operations travel.

pub(crate) mod calls;
pub(crate) mod connection;
pub(crate) mod lane;
pub(crate) mod raw;
pub(crate) mod thread;
pub(crate) mod threads;
pub(crate) mod watchers;
pub(crate) mod worker;
