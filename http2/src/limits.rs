//! What a peer may use of this side.

use std::time::Duration;

/// How often something may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How often at once.
    pub burst: u32,
    /// How often in each second after that.
    pub per_second: u32,
}

/// The limits of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Streams that may be open at once (MAX_CONCURRENT_STREAMS). A further one is refused with REFUSED_STREAM. Each has some 50
    /// bytes here, and whatever its call has at the user.
    pub streams_max: u32,
    /// Bytes of a header list, counted with 32 more for each field (MAX_HEADER_LIST_SIZE). A request with more is answered with
    /// status 431. gRPC's implementations take 8 to 16 KiB.
    pub header_list_bytes_max: u32,
    /// Bytes of a header list that are decoded at all, and bytes of a block. A larger list ends the connection with
    /// ENHANCE_YOUR_CALM: each byte of a block may stand for an entry of thousands, and a block cannot be skipped, because later
    /// ones depend on it.
    pub header_bytes_decoded_max: u32,
    /// Frames of a header block. Its bytes alone would be no limit: a frame may be empty (CVE-2024-27316). The largest list has
    /// four.
    pub header_frames_max: u32,
    /// Bytes of the dynamic table with which blocks are decoded (HEADER_TABLE_SIZE). The default of HTTP/2 has room for some sixty
    /// fields; twice as much memory is held.
    pub header_table_bytes: u32,
    /// Bytes of DATA that a stream may have sent, and of which the user has not said that they are consumed
    /// (INITIAL_WINDOW_SIZE).
    pub stream_window: u32,
    /// The same for all streams together; at least 65,535, with which HTTP/2 begins.
    pub connection_window: u32,
    /// Bytes in the output above which nothing more is read and no DATA is taken. What the peer does not read waits at the user,
    /// or is not made.
    pub output_bytes_max: usize,
    /// Settings in one SETTINGS frame. There are six; each one is looked at.
    pub settings_max: usize,
    /// Requests that the client gives up before they are answered (CVE-2023-44487). Each has cost as much as one that is answered,
    /// so this only has to end what has no other purpose. Every request that is answered allows one more.
    pub cancellations: Rate,
    /// Streams that this side resets because of the client's faults (CVE-2025-8671), also of those that the user sees
    /// ([`Connection::reset_at_fault`](crate::Connection::reset_at_fault)), or refuses. h2 allows 1,024 of a connection
    /// in all.
    pub stream_errors: Rate,
    /// Frames that carry nothing: SETTINGS, PING, PRIORITY, WINDOW_UPDATE, empty DATA, frames on closed streams, frames of
    /// unknown types (CVE-2019-9511, 9512, 9513, 9515, 9518). A frame costs 20 ns. Each frame that carries something allows four
    /// more, so that no client reaches the limit that does something: some send a WINDOW_UPDATE for each DATA, and two.
    pub idle_frames: Rate,
    /// How long a client may take from the first byte to its SETTINGS.
    pub preface_timeout: Duration,
    /// How long a client may take to acknowledge SETTINGS.
    pub settings_timeout: Duration,
    /// How long a header block may take from its first frame to its last: nothing else can be received meanwhile.
    pub header_timeout: Duration,
}

impl Limits {
    /// What suits a server of small calls.
    pub const DEFAULT: Self = Self {
        streams_max: 256,
        header_list_bytes_max: 16 * 1_024,
        header_bytes_decoded_max: 64 * 1_024,
        header_frames_max: 16,
        header_table_bytes: 4_096,
        stream_window: 64 * 1_024,
        connection_window: 1_024 * 1_024,
        output_bytes_max: 64 * 1_024,
        settings_max: 32,
        cancellations: Rate {
            burst: 10_000,
            per_second: 1_000,
        },
        stream_errors: Rate {
            burst: 1_000,
            per_second: 100,
        },
        idle_frames: Rate {
            burst: 10_000,
            per_second: 1_000,
        },
        preface_timeout: Duration::from_secs(5),
        settings_timeout: Duration::from_secs(10),
        header_timeout: Duration::from_secs(10),
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
