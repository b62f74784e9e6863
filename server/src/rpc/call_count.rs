//! Counts calls: when they begin, and when they end, with their code and how long they took.

use tokio::time::Instant;
use tonic::{Code, Status};

use crate::metrics::{self, CANCELED, Method};

/// A call that has begun. If it is dropped before its end, its client has left, or reads nothing.
#[derive(Debug)]
pub(crate) struct CallCount {
    method: Method,
    begun: Instant,
    /// The number of the code that it ends with.
    code: usize,
}

impl CallCount {
    /// Counts a call that has begun. None if nobody counts.
    #[inline]
    pub(crate) fn begin(method: Method, begun: Instant) -> Option<Self> {
        metrics::here(|cells| cells.calls[method.index()].started.add(1))?;
        Some(Self {
            method,
            begun,
            code: CANCELED,
        })
    }

    /// Counts the end of the call.
    #[inline]
    pub(crate) fn end(mut self, code: Code) {
        self.code = code as usize;
    }

    /// Counts the end of the call, if these headers or trailers have its status. Otherwise returns the call.
    pub(crate) fn end_with(self, headers: &http::HeaderMap) -> Option<Self> {
        match headers.get(Status::GRPC_STATUS) {
            Some(code) => {
                self.end(Code::from_bytes(code.as_bytes()));
                None
            }
            None => Some(self),
        }
    }
}

impl Drop for CallCount {
    fn drop(&mut self) {
        metrics::here(|cells| {
            let calls = &cells.calls[self.method.index()];
            calls.handled[self.code].add(1);
            calls.handling.add(self.begun.elapsed());
        });
    }
}
