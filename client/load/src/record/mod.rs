//! What is kept of each answer.

pub(crate) mod checker_terms;
pub(crate) mod history;
pub(crate) mod live;
pub(crate) mod recorder;
pub(crate) mod settle;
pub(crate) mod timeline;
