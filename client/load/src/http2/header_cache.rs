//! The encoded headers of requests on one connection: HEADERS frames, with CONTINUATION frames if they are long.
//!
//! The header block of a method stays the same until the server's dynamic table changes, which happens when a method is
//! called for the first time. So encoded headers are kept until the table changes. Meanwhile the headers of a call are
//! a copy of kept frames, with the stream id filled in.

use soloist_http2::HeaderBlock;
use soloist_http2::hpack::{Encoder, Validity};

use crate::http2::method::Method;

/// The most methods whose headers are kept. The load generator calls ten methods, and makes them anew when a token is
/// replaced.
const CACHED_MAX: usize = 32;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct HeaderCache {
    encoder: Encoder,
    /// Frames of stream 0 for methods whose block may be sent any number of times.
    cached: Vec<(Method, HeaderBlock)>,
}

impl HeaderCache {
    pub(super) fn new() -> Self {
        Self {
            encoder: Encoder::new(),
            cached: Vec::new(),
        }
    }

    /// Uses the dynamic table from now on: the server's first SETTINGS have come.
    pub(super) fn begin_indexing(&mut self) {
        self.cached.clear();
        self.encoder.begin_indexing();
    }

    /// Takes the server's HEADER_TABLE_SIZE.
    pub(super) fn set_table_size(&mut self, size: u32) {
        self.cached.clear();
        self.encoder.set_table_size_max(size);
    }

    /// Appends the header frames of a call on `stream`. They must be sent, because later blocks depend on them.
    #[inline]
    pub(super) fn put(&mut self, out: &mut Vec<u8>, method: &Method, stream: u32) {
        match self.cached.iter().find(|(of, _)| of.is(method)) {
            Some((_, frames)) => frames.put(out, stream),
            None => self.put_new(out, method, stream),
        }
    }

    #[cold]
    fn put_new(&mut self, out: &mut Vec<u8>, method: &Method, stream: u32) {
        let mut block = Vec::new();
        let validity = self.encoder.encode(method.fields(), &mut block);
        let frames = HeaderBlock::from_encoded(&block);
        frames.put(out, stream);
        match validity {
            Validity::Once => self.cached.clear(),
            Validity::UntilTableChanges => {
                // Most of them are of a token that has been replaced.
                if self.cached.len() == CACHED_MAX {
                    self.cached.clear();
                }
                self.cached.push((method.clone(), frames));
            }
        }
    }
}
