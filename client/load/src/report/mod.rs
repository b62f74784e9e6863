//! The report of a run, and its forms. Every form is a function of one `Report`.
//!
//! - `model` is the report, and its JSON form. `schema` publishes that form, and reads it back. `distribution` makes
//!   the figures of a histogram, and `merge` one report of several. `faults` is the part about lost connections and operations.
//! - `text`, `csv`, `hdr` and `html` are the other forms. `figures`, `numbers`, `style` and `wrap` serve several of
//!   them.
//! - `call` is the part that is about a method that the user named.
//! - `compare` compares two sets of runs, and `sweep` is the result of runs at several rates.
//! - `live` shows a run while it lasts.

pub(crate) mod call;
pub(crate) mod compare;
pub(crate) mod csv;
pub(crate) mod distribution;
pub(crate) mod faults;
pub(crate) mod figures;
pub(crate) mod format;
#[cfg(test)]
mod forms_tests;
pub(crate) mod hdr;
pub(crate) mod html;
pub(crate) mod live;
pub(crate) mod merge;
pub(crate) mod model;
pub(crate) mod numbers;
pub(crate) mod output;
pub(crate) mod printable;
#[cfg(test)]
pub(crate) mod sample;
pub(crate) mod schema;
pub(crate) mod sweep;
pub(crate) mod text;
pub(crate) mod wrap;
