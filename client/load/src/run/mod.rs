//! One run, from connecting to its report.

pub(crate) mod barrier;
pub(crate) mod before;
pub(crate) mod error;
pub(crate) mod measure;
pub(crate) mod prepare;
pub(crate) mod runner;
pub(crate) mod signals;
pub(crate) mod summary;
pub(crate) mod target;
pub(crate) mod verdict;
pub(crate) mod view;
