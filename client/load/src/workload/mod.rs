//! What to send, and whether an answer can be an answer to it.
//!
//! [`generator`] draws the operations of one worker: [`steps`] says which, [`keys`] of which key, [`values`] with which
//! value. [`operation`] is an operation on its way to the server and back, and [`outcome`] is what its answer means.

pub(crate) mod generator;
pub(crate) mod keys;
pub(crate) mod operation;
pub(crate) mod outcome;
pub(crate) mod steps;
pub(crate) mod values;
