//! Checks the arguments of requests, and turns them into the machine's types.
//!
//! Everything that can be checked without the state is checked here, before anything reaches the owner. An error names the
//! field by its path in the request, the limit, and the actual value.

mod condition;
pub(crate) mod duration;
pub(crate) mod frame;
mod lifetime;
pub(crate) mod machines;
pub(crate) mod names;
mod operations;
mod page;
mod path;
mod request_id;
pub(crate) mod sessions;
mod value;
pub(crate) mod watch;

pub(crate) use operations::{add, delete, read, transition, write};
pub(crate) use page::{delete_prefix, list};
pub(crate) use path::BadArgument;
