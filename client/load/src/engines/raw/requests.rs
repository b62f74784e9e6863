//! Encoded requests.

use std::sync::Arc;

use crate::engines::raw::rpc::Rpc;
use crate::plan::key_names::KeyNames;
use crate::plan::kind::Kind;
use crate::plan::settings::Settings;
use crate::workload::call::program::CallProgram;
use crate::workload::operation::{Call, SentOp};

/// The most keys whose Read is kept encoded: some megabytes.
const KEYS_MAX: u64 = 16_384;

/// Encodes the requests of a thread. Reads of the first keys are encoded only once.
pub(crate) struct Requests {
    names: KeyNames,
    /// The method that the user names, if there is one.
    program: Option<Arc<CallProgram>>,
    /// By key. Empty until the key is read for the first time.
    reads: Vec<Vec<u8>>,
    /// The last request of any other kind.
    message: Vec<u8>,
}

impl Requests {
    pub(crate) fn new(settings: &Settings, program: Option<Arc<CallProgram>>) -> Self {
        let kept = settings.keys.min(KEYS_MAX);
        Self {
            names: settings.key_names(),
            program,
            reads: (0..kept).map(|_| Vec::new()).collect(),
            message: Vec::new(),
        }
    }

    /// Returns the RPC and the encoded request of an operation. Without a call, it is a plain Read of the key, or the message
    /// of a turn that never changes.
    #[inline]
    pub(crate) fn encode(&mut self, op: SentOp, call: Option<&Call>) -> (Rpc, &[u8]) {
        let Some(call) = call else {
            return match (op.kind, &self.program) {
                (Kind::Call, Some(program)) => (Rpc::Call, program.fixed_message(op.key)),
                _ => (
                    Rpc::Read,
                    Self::read(&mut self.reads, &mut self.message, &self.names, op.key),
                ),
            };
        };
        let rpc = Rpc::encode(call, &mut self.message);
        (rpc, &self.message)
    }

    fn read<'a>(
        reads: &'a mut [Vec<u8>],
        message: &'a mut Vec<u8>,
        names: &KeyNames,
        key: u64,
    ) -> &'a [u8] {
        let message = match reads.get_mut(key as usize) {
            Some(kept) if !kept.is_empty() => return kept,
            Some(kept) => kept,
            None => message,
        };
        Rpc::encode(&Call::read(names.of(key)), message);
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command_line::resolve::tests::settings;

    #[test]
    fn a_kept_read_is_the_read_of_its_key() {
        let settings = settings("--engine raw --keys 20000 -n 1").unwrap();
        let mut requests = Requests::new(&settings, None);
        for key in [0, 7, KEYS_MAX - 1, KEYS_MAX, 19_999, 7, 0] {
            let mut expected = Vec::new();
            Rpc::encode(&Call::read(settings.key_names().of(key)), &mut expected);
            let kind = Kind::Read;
            let encoded = requests.encode(SentOp { kind, key }, None);
            assert_eq!(encoded, (Rpc::Read, &expected[..]), "{key}");
        }
    }
}
