//! The limits of a connection.

/// The limits of one connection.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// The most open calls. The server may allow fewer.
    pub(crate) streams_max: usize,
    /// The stream id of the first call: odd, at most 2^31 - 1. Tests begin near the end.
    pub(crate) stream_first: u32,
    /// The largest message of a response.
    pub(crate) message_bytes_max: usize,
    /// The receive window of a stream. A response that uses at most half of it needs no WINDOW_UPDATE.
    pub(crate) stream_window: u32,
    /// The receive window of the connection, at least 65,535 bytes.
    pub(crate) connection_window: u32,
    /// The most bytes of incomplete responses. With more the connection is closed.
    pub(crate) buffered_bytes_max: usize,
    /// Unwritten bytes of output from which on calls are refused.
    pub(crate) output_bytes_max: usize,
    /// The most bytes of requests that wait for the server's windows. A larger request is sent if no other waits.
    pub(crate) unsent_bytes_max: usize,
}

impl Config {
    const KIB: usize = 1 << 10;
    const MIB: usize = 1 << 20;
}

impl Default for Config {
    fn default() -> Self {
        Self {
            // More than servers allow: Soloist allows 256 by default, others 100 to 1,000.
            streams_max: 65_536,
            stream_first: 1,
            // 4 MiB is gRPC's usual limit. Responses are a little longer than the values in them.
            message_bytes_max: 4 * Self::MIB + 64 * Self::KIB,
            stream_window: 1 << 20,
            // What arrives in 8 ms at 1 GB/s: enough for the responses between two reads.
            connection_window: 8 << 20,
            // 1 MiB for each of the 256 calls that a Soloist server allows.
            buffered_bytes_max: 256 * Self::MIB,
            // More than a socket accepts in one write.
            output_bytes_max: Self::MIB,
            unsent_bytes_max: 64 * Self::MIB,
        }
    }
}
