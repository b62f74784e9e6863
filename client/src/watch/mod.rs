//! Watches: every change of a key, or of the keys with a prefix, as it happens.

mod call;
mod event;
mod open;
mod position;
mod stream;

pub use self::call::WatchCall;
pub use self::event::{Cause, Event, WatchMessage};
pub use self::stream::Watch;
