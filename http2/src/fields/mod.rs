//! What the fields of requests mean: each is classified once, and a request's head is made of classes.

mod field;
mod routes;

pub use field::{ContentType, Field, Malformed, Method, Route, Timeout};
pub use routes::Routes;
