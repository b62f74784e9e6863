//! Watches: streams of the changes of one key, or of all keys with a prefix.

mod call;
mod event;
mod open;
mod position;
mod stream;

pub use self::call::WatchCall;
pub use self::event::{Cause, Event, WatchMessage};
#[cfg(test)]
pub(crate) use self::position::Position;
pub use self::stream::Watch;
