//! The limits of `soloist-http2`, made of those of the server.

use soloist_http2::frame::PAYLOAD_MAX;
use soloist_http2::{Limits, Rate};

use crate::config::{STREAM_ERRORS_PER_SECOND, TransportLimits};

/// The limits of each connection.
pub(super) fn limits(transport: &TransportLimits) -> Limits {
    let list = transport.max_header_bytes;
    // A connection of few streams may give as many calls up, one after the other.
    let calls = transport.max_streams.max(Limits::DEFAULT.streams_max);
    // What a list of that size may take as a block: no string gets longer by Huffman's code, and a field has a few bytes more.
    let decoded = list
        .saturating_mul(4)
        .max(Limits::DEFAULT.header_bytes_decoded_max);
    Limits {
        streams_max: transport.max_streams,
        header_list_bytes_max: list,
        header_bytes_decoded_max: decoded,
        header_frames_max: Limits::DEFAULT
            .header_frames_max
            .max(2 * decoded / PAYLOAD_MAX as u32),
        stream_window: transport.stream_window_bytes,
        connection_window: transport.connection_window_bytes,
        // The calls of a client may all time out at once, and again a second later.
        cancellations: Rate {
            burst: calls.saturating_mul(4),
            per_second: calls,
        },
        stream_errors: Rate {
            burst: Limits::DEFAULT
                .stream_errors
                .burst
                .max(transport.max_streams),
            per_second: STREAM_ERRORS_PER_SECOND,
        },
        preface_timeout: transport.preface_timeout,
        // Like a ping without an answer.
        settings_timeout: transport.keepalive_interval + transport.keepalive_timeout,
        ..Limits::DEFAULT
    }
}
