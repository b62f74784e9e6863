//! What came of a run, and the forms in which it is told: all of them functions of one `Report`.
//!
//! `model` is the report, and its JSON; `schema` publishes the form of that and reads it back. `distribution` makes the
//! figures of a histogram. `text`, `csv`, `hdr` and `html` tell all or part of it to people and tools, `compare` tells two
//! sets of runs apart, and `live` shows a run while it lasts.

pub(crate) mod compare;
pub(crate) mod csv;
pub(crate) mod distribution;
pub(crate) mod figures;
pub(crate) mod format;
pub(crate) mod hdr;
pub(crate) mod html;
pub(crate) mod live;
pub(crate) mod merge;
pub(crate) mod model;
pub(crate) mod numbers;
pub(crate) mod output;
#[cfg(test)]
pub(crate) mod sample;
pub(crate) mod schema;
pub(crate) mod style;
pub(crate) mod sweep;
pub(crate) mod text;
mod wrap;
