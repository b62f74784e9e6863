//! What the fields of requests mean: each is classified once, and a request's head is made of classes.

mod field;
mod head;
mod list;
mod routes;

pub use field::{ContentType, Field, Malformed, Method, Route, Timeout};
pub use head::Head;
pub(crate) use list::FieldList;
pub use list::Fields;
pub use routes::Routes;
