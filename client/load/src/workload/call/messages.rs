//! The messages of one call on their way to the server.

use std::sync::Arc;

use bytes::Bytes;

use crate::workload::call::program::CallProgram;

/// The messages of one call, with what they are sent to.
#[derive(Clone, Debug)]
pub(crate) struct Messages {
    pub(crate) program: Arc<CallProgram>,
    pub(crate) messages: Arc<[Bytes]>,
}

impl PartialEq for Messages {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.program, &other.program) && self.messages == other.messages
    }
}
