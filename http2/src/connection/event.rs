//! What a connection tells its user.

use crate::connection_error::ConnectionError;
use crate::error_code::ErrorCode;
use crate::fields::{Fields, Head};

/// Names an open stream. When it is closed the name means nothing any more, though another stream may have its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamKey {
    pub(crate) slot: u32,
    pub(crate) id: u32,
}

impl StreamKey {
    /// A number below the most streams that were ever open at once, which only one open stream has: the user may keep what
    /// belongs to a stream in an array.
    #[inline]
    #[must_use]
    pub fn slot(self) -> usize {
        self.slot as usize
    }

    /// The id of the stream in HTTP/2. No two streams of a connection have the same.
    #[inline]
    #[must_use]
    pub fn id(self) -> u32 {
        self.id
    }
}

/// Whether more follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// More of the request may follow.
    More,
    /// The request is whole.
    End,
}

/// Who closed a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client.
    Client,
    /// This side, because the client broke a rule.
    Server,
}

/// What a connection tells its user.
#[derive(Debug)]
pub enum Event<'a> {
    /// A request has begun.
    Request {
        /// Its stream, which is open until it is answered or reset.
        stream: StreamKey,
        /// What it asks for.
        head: Head<'a>,
        /// Whether it has a body.
        then: Then,
    },
    /// A part of a request's body.
    Data {
        /// The stream.
        stream: StreamKey,
        /// The part, without padding. Empty only at the end.
        data: &'a [u8],
        /// Whether it is the last.
        then: Then,
    },
    /// A request has ended with trailers.
    Trailers {
        /// The stream.
        stream: StreamKey,
        /// Their fields.
        fields: Fields<'a>,
    },
    /// A stream was closed before its answer was whole. It has no further events, and what is sent on it goes nowhere.
    Reset {
        /// The stream.
        stream: StreamKey,
        /// Why.
        code: ErrorCode,
        /// Who closed it.
        by: Side,
    },
    /// There is room again for the DATA of a stream, of which not all was taken. The streams take turns if the user goes on with
    /// each before it asks for the next event.
    Writable {
        /// The stream.
        stream: StreamKey,
    },
    /// The client has answered a ping.
    Pong {
        /// What the ping had.
        payload: [u8; 8],
    },
    /// The client will begin no further requests of its own will. Those that are open go on.
    GoAway {
        /// Why.
        code: ErrorCode,
    },
    /// The connection has ended. All streams are closed; the output ends with a GOAWAY that should be written.
    Failed(ConnectionError),
}
