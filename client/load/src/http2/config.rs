//! What a connection is allowed.

/// The limits of one connection.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Calls open at once, if the server allows as many.
    pub(crate) streams_max: usize,
    /// The first call's stream id: odd. Ids end at 2^31 - 1.
    pub(crate) stream_first: u32,
    /// Largest message of an answer.
    pub(crate) message_bytes_max: usize,
    /// Window of a stream. An answer that fits needs no WINDOW_UPDATE of its own.
    pub(crate) stream_window: u32,
    /// Window of the connection: what may come in before we say that we have read it.
    pub(crate) connection_window: u32,
    /// Parts of messages of which the rest has not come, all together.
    pub(crate) buffered_bytes_max: usize,
    /// Bytes that wait for the socket; beyond them no call is taken.
    pub(crate) output_bytes_max: usize,
    /// Messages that wait for the server's windows, all together.
    pub(crate) unsent_bytes_max: usize,
}

impl Config {
    const KIB: usize = 1 << 10;
    const MIB: usize = 1 << 20;
}

impl Default for Config {
    fn default() -> Self {
        Self {
            // More than servers allow: Soloist 256 by default, others 100 to 1,000.
            streams_max: 65_536,
            stream_first: 1,
            // gRPC's own limit is 4 MiB; Soloist's answers may be a little longer than the values in them.
            message_bytes_max: 4 * Self::MIB + 64 * Self::KIB,
            stream_window: 1 << 20,
            // Eight milliseconds at 1 GB/s: the answers of many calls between two reads.
            connection_window: 8 << 20,
            // All 256 calls of a Soloist connection with 1 MiB each.
            buffered_bytes_max: 256 * Self::MIB,
            // More than a socket takes at once.
            output_bytes_max: Self::MIB,
            unsent_bytes_max: 64 * Self::MIB,
        }
    }
}
