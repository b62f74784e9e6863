//! One HTTP/2 connection of a server, without a socket.

use std::sync::Arc;
use std::time::Duration;

use crate::connection::budget::Budget;
use crate::connection::output::Output;
use crate::connection::sending::Sending;
use crate::connection::streams::Streams;
use crate::connection::windows::ReceiveWindow;
use crate::connection_error::ConnectionError;
use crate::fields::{Field, FieldList, Routes};
use crate::frame::{self, PAYLOAD_MAX, PREFACE, WINDOW_INITIAL, setting};
use crate::hpack::Decoder;
use crate::limits::Limits;

/// A header block whose last CONTINUATION has not come.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenBlock {
    pub(super) stream: u32,
    pub(super) flags: u8,
    pub(super) frames: u32,
    pub(super) since: Duration,
}

/// How far the goodbye is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goodbye {
    /// Nothing was said.
    No,
    /// The client was told to begin no further streams. Those that are under way are taken.
    Announced,
    /// Streams above this one are not taken.
    Last(u32),
}

/// Whether there is more to come.
#[derive(Debug)]
pub(super) enum Health {
    Sound,
    /// The connection has failed, and the user was not told yet.
    Failed(ConnectionError),
    /// The connection has ended, and the user knows.
    Over,
}

/// One connection of a server: see the crate's documentation.
///
/// Time is a duration since any moment, the same for all calls. It must not go back.
#[derive(Debug)]
pub struct Connection {
    pub(super) limits: Limits,
    pub(super) routes: Arc<Routes>,
    pub(super) decoder: Decoder<Field>,
    /// The fields of the last header block.
    pub(super) fields: FieldList,
    pub(super) streams: Streams,
    pub(super) sending: Sending,
    pub(super) receiving: ReceiveWindow,
    /// Bytes of the client's preface that have not come.
    pub(super) preface_left: usize,
    /// Whether the client's first SETTINGS have come.
    pub(super) has_settings: bool,
    /// Whether the client has acknowledged the SETTINGS of this side.
    pub(super) is_acknowledged: bool,
    pub(super) since: Duration,
    /// The beginning of a frame whose rest has not come; or a frame that was just handled.
    pub(super) partial: Vec<u8>,
    /// Whether the frame in `partial` was handled.
    pub(super) is_partial_done: bool,
    pub(super) block: Vec<u8>,
    pub(super) open_block: Option<OpenBlock>,
    /// The highest stream that the client has opened.
    pub(super) last_stream: u32,
    /// The last streams that the client has left out: above the first of these, and below the second.
    pub(super) left_out: (u32, u32),
    /// The highest stream that this side has closed before the client had ended it. What still comes on it, or below it, may
    /// have been under way.
    pub(super) highest_reset: u32,
    pub(super) goodbye: Goodbye,
    pub(super) health: Health,
    pub(super) cancellations: Budget,
    pub(super) stream_errors: Budget,
    pub(super) idle_frames: Budget,
}

impl Connection {
    /// A connection that was just accepted. Its output begins with SETTINGS.
    #[must_use]
    pub fn new(limits: Limits, routes: Arc<Routes>, now: Duration) -> Self {
        let mut output = Output::new(limits.output_bytes_max);
        let settings = [
            (setting::HEADER_TABLE_SIZE, limits.header_table_bytes),
            (setting::MAX_CONCURRENT_STREAMS, limits.streams_max),
            (setting::INITIAL_WINDOW_SIZE, limits.stream_window),
            (setting::MAX_FRAME_SIZE, PAYLOAD_MAX as u32),
            (setting::MAX_HEADER_LIST_SIZE, limits.header_list_bytes_max),
        ];
        frame::put_settings(&mut output.bytes, &settings);
        let window = limits.connection_window.max(WINDOW_INITIAL);
        if window > WINDOW_INITIAL {
            frame::put_window_update(&mut output.bytes, 0, window - WINDOW_INITIAL);
        }
        // Until the client has acknowledged another size, the default of HTTP/2 holds.
        let table = 4_096.max(limits.header_table_bytes) as usize;
        Self {
            decoder: Decoder::new(table, limits.header_bytes_decoded_max as usize),
            fields: FieldList::new(limits.header_list_bytes_max as usize),
            streams: Streams::default(),
            sending: Sending::new(output),
            receiving: ReceiveWindow::new(window),
            preface_left: PREFACE.len(),
            has_settings: false,
            is_acknowledged: false,
            since: now,
            partial: Vec::new(),
            is_partial_done: false,
            block: Vec::new(),
            open_block: None,
            last_stream: 0,
            left_out: (0, 0),
            highest_reset: 0,
            goodbye: Goodbye::No,
            health: Health::Sound,
            cancellations: Budget::new(limits.cancellations, now),
            stream_errors: Budget::new(limits.stream_errors, now),
            idle_frames: Budget::new(limits.idle_frames, now),
            routes,
            limits,
        }
    }

    /// The bytes to write next: whole frames, or the rest of them. Say with [`wrote`](Self::wrote) how many were written.
    #[inline]
    #[must_use]
    pub fn output(&self) -> &[u8] {
        self.sending.output.unwritten()
    }

    /// Removes the first `count` bytes of the output, which were written. There may be events then: streams whose answers have
    /// room again.
    #[inline]
    pub fn wrote(&mut self, count: usize) {
        self.sending.output.wrote(count);
    }

    /// The number of open streams.
    #[inline]
    #[must_use]
    pub fn open_streams(&self) -> usize {
        self.streams.open()
    }

    /// Whether the client's preface and SETTINGS have come.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.has_settings
    }

    /// Whether the connection has failed or was closed: no more events come, and what is sent goes nowhere.
    #[must_use]
    pub fn is_over(&self) -> bool {
        !matches!(self.health, Health::Sound)
    }

    /// The paths that the connection knows.
    #[must_use]
    pub fn routes(&self) -> &Routes {
        &self.routes
    }

    /// Bytes of memory that the connection holds, beside itself.
    ///
    /// Whatever the client sends, these are less than its [`Limits`] in all: streams, the table twice, one header block and its
    /// fields, one frame; and the output, with what the user has sent on open streams.
    #[must_use]
    pub fn held(&self) -> usize {
        self.decoder.held()
            + self.fields.held()
            + self.streams.held()
            + self.sending.held()
            + self.partial.capacity()
            + self.block.capacity()
    }
}
