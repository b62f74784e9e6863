//! The operations that workers send, and the judgement of their answers.
//!
//! [`generator`] draws the operations of one worker: [`steps`] says which, [`keys`] of which key, [`values`] with which
//! value. [`call`] has those of any gRPC service. [`operation`] is an operation on its way to the server and back, and [`outcome`] is what its answer means.

pub(crate) mod call;
pub(crate) mod generator;
pub(crate) mod keys;
pub(crate) mod operation;
pub(crate) mod outcome;
pub(crate) mod steps;
pub(crate) mod values;
