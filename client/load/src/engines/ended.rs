//! The end of operations that were sent.

use crate::record::settle::Completion;
use crate::workload::operation::InFlight;

/// Operations that were sent together and have an end: an answer, or none.
pub(crate) type Ended = (InFlight, Completion<'static>);
