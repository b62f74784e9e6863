//! What one call, the store, and the owner's mailbox may hold.

use std::time::Duration;

use clap::{Args, value_parser};

use crate::machine::StoreLimits;

use super::parse::{KIB, MESSAGE_LIMIT_MAX, MIB, bytes, duration};

/// Limits that a client can meet; `Admin.GetInfo` tells them.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Limits on calls and on the store")]
pub struct Limits {
    /// Longest key, in bytes. Long enough for any path or UUID, short enough to be looked up quickly.
    #[arg(long, value_name = "BYTES", env = "SOLOIST_MAX_KEY_BYTES", default_value_t = Self::DEFAULT.max_key_bytes,
          value_parser = bytes(1, 64 * KIB))]
    pub max_key_bytes: usize,
    /// Largest text or bytes value, in bytes. The state is shared and small: blobs belong elsewhere.
    #[arg(long, value_name = "BYTES", env = "SOLOIST_MAX_VALUE_BYTES", default_value_t = Self::DEFAULT.max_value_bytes,
          value_parser = bytes(8, 64 * MIB))]
    pub max_value_bytes: usize,
    /// Most operations in one frame. Nothing else is served while a frame is applied: 1,024 take well under 1 ms.
    #[arg(long, value_name = "N", env = "SOLOIST_MAX_BATCH_OPS", default_value_t = Self::DEFAULT.max_batch_ops,
          value_parser = bytes(1, 1 << 20))]
    pub max_batch_ops: usize,
    /// Most bytes of keys and values in one atomic frame: it changes the store in one step and is passed on as one.
    #[arg(long, value_name = "BYTES", env = "SOLOIST_MAX_BATCH_BYTES", default_value_t = Self::DEFAULT.max_batch_bytes,
          value_parser = bytes(8, MESSAGE_LIMIT_MAX as usize))]
    pub max_batch_bytes: usize,
    /// Most entries on one page of a List: nothing else is served while a page is collected.
    #[arg(long, value_name = "N", env = "SOLOIST_MAX_PAGE_SIZE", default_value_t = Self::DEFAULT.max_page_size,
          value_parser = bytes(1, 1 << 20))]
    pub max_page_size: usize,
    /// Most bytes of keys and values on one page of a List; one entry always fits.
    #[arg(long, value_name = "BYTES", env = "SOLOIST_MAX_PAGE_BYTES", default_value_t = Self::DEFAULT.max_page_bytes,
          value_parser = bytes(1, MESSAGE_LIMIT_MAX as usize))]
    pub max_page_bytes: usize,
    /// Largest request message, encoded, in bytes: 4 MiB of payload and 64 KiB for what surrounds it.
    #[arg(long, value_name = "BYTES", env = "SOLOIST_MAX_MESSAGE_BYTES", default_value_t = Self::DEFAULT.max_message_bytes,
          value_parser = bytes(KIB, MESSAGE_LIMIT_MAX as usize))]
    pub max_message_bytes: usize,
    /// Most bytes of values in the answer to one frame: gRPC clients refuse messages over 4 MiB unless told otherwise,
    /// and a thousand refusals take more than one of them.
    #[arg(long, value_name = "BYTES", env = "SOLOIST_MAX_ANSWER_BYTES", default_value_t = Self::DEFAULT.max_answer_bytes,
          value_parser = bytes(8, MESSAGE_LIMIT_MAX as usize))]
    pub max_answer_bytes: usize,
    /// Most bytes of values in the answers to frames that one connection leaves unread, in all its streams together:
    /// they are kept until the client takes them.
    #[arg(long, value_name = "BYTES", env = "SOLOIST_MAX_UNREAD_BYTES", default_value_t = Self::DEFAULT.max_unread_bytes,
          value_parser = bytes(8, MESSAGE_LIMIT_MAX as usize))]
    pub max_unread_bytes: usize,
    /// Most bytes that the store holds, counted as `Info.used_bytes`. Memory is not swapped out politely: set it to
    /// about half of what the machine can spare.
    #[arg(long, value_name = "BYTES", env = "SOLOIST_MAX_STORE_BYTES", default_value_t = Self::DEFAULT.max_store_bytes,
          value_parser = value_parser!(u64).range(1..=i64::MAX as u64))]
    pub max_store_bytes: u64,
    /// Sessions that live at once: clients, their workers, and room for those that died without a word.
    #[arg(long, value_name = "N", env = "SOLOIST_MAX_SESSIONS", default_value_t = Self::DEFAULT.max_sessions,
          value_parser = bytes(1, 1 << 24))]
    pub max_sessions: usize,
    /// Machines. They are written by people, and looked up with each new key.
    #[arg(long, value_name = "N", env = "SOLOIST_MAX_MACHINES", default_value_t = Self::DEFAULT.max_machines,
          value_parser = bytes(1, 1 << 20))]
    pub max_machines: usize,
    /// States of one machine: more than a protocol that people can follow has.
    #[arg(long, value_name = "N", env = "SOLOIST_MAX_STATES", default_value_t = Self::DEFAULT.max_states,
          value_parser = bytes(1, 1 << 16))]
    pub max_states: usize,
    /// How long a request_id and its answer are remembered: longer than any client goes on trying.
    #[arg(long, value_name = "TIME", env = "SOLOIST_REQUEST_ID_WINDOW", default_value = "10m",
          value_parser = duration)]
    pub request_id_window: Duration,
    /// Request_ids that are remembered at once. Beyond, new ones are refused with OVERLOADED, as none is forgotten early.
    /// The default lasts for 1,600 a second.
    #[arg(long, value_name = "N", env = "SOLOIST_REQUEST_ID_COUNT", default_value_t = Self::DEFAULT.request_id_count,
          value_parser = bytes(1, 1 << 28))]
    pub request_id_count: usize,
    /// Bytes of remembered request_ids and their answers, 256 for each and the values that it shows. Beyond, new ones are
    /// refused with OVERLOADED.
    #[arg(long, value_name = "BYTES", env = "SOLOIST_REQUEST_ID_BYTES", default_value_t = Self::DEFAULT.request_id_bytes,
          value_parser = bytes(KIB, 1 << 40))]
    pub request_id_bytes: usize,
    /// Changes that are kept for watches to go on from: what happens while a client connects again.
    #[arg(long, value_name = "N", env = "SOLOIST_WATCH_RING_EVENTS", default_value_t = Self::DEFAULT.watch_ring_events,
          value_parser = bytes(1, 1 << 28))]
    pub watch_ring_events: usize,
    /// Bytes of them: keys, values before and after, and from 10 to 150 for what surrounds these.
    #[arg(long, value_name = "BYTES", env = "SOLOIST_WATCH_RING_BYTES", default_value_t = Self::DEFAULT.watch_ring_bytes,
          value_parser = bytes(KIB, 1 << 40))]
    pub watch_ring_bytes: usize,
    /// Watches that are open at once. One that is quiet costs about a kilobyte.
    #[arg(long, value_name = "N", env = "SOLOIST_MAX_WATCHES", default_value_t = Self::DEFAULT.max_watches,
          value_parser = bytes(1, 1 << 24))]
    pub max_watches: usize,
    /// Frames of one Pipeline stream that may wait for their answer. Beyond, a frame is answered OVERLOADED, so that
    /// one stream cannot fill the mailbox.
    #[arg(long, value_name = "N", env = "SOLOIST_MAX_FRAMES_IN_FLIGHT", default_value_t = Self::DEFAULT.max_frames_in_flight,
          value_parser = bytes(1, 64 * KIB))]
    pub max_frames_in_flight: usize,
    /// Deadline of a call that names none, and the most that any call gets: nothing waits for ever.
    #[arg(long, value_name = "TIME", env = "SOLOIST_MAX_DEADLINE", default_value = "10s",
          value_parser = duration)]
    pub max_deadline: Duration,
}

impl Limits {
    /// The defaults.
    pub const DEFAULT: Self = Self {
        max_key_bytes: KIB,
        max_value_bytes: MIB,
        max_batch_ops: 1024,
        max_batch_bytes: 2 * MIB,
        max_page_size: 1000,
        max_page_bytes: MIB,
        max_message_bytes: 4 * MIB + 64 * KIB,
        max_answer_bytes: 2 * MIB,
        max_unread_bytes: 16 * MIB,
        max_store_bytes: 1 << 30,
        max_sessions: 100_000,
        max_machines: 1_000,
        max_states: 256,
        request_id_window: Duration::from_secs(10 * 60),
        request_id_count: 1_000_000,
        request_id_bytes: 512 * MIB,
        watch_ring_events: 1 << 18,
        watch_ring_bytes: 16 * MIB,
        max_watches: 20_000,
        max_frames_in_flight: 256,
        max_deadline: Duration::from_secs(10),
    };
}

impl Limits {
    /// What the state itself keeps to.
    #[must_use]
    pub fn store_limits(&self) -> StoreLimits {
        StoreLimits {
            store_bytes: self.max_store_bytes,
            sessions: self.max_sessions,
            machines: self.max_machines,
            request_id_window: self.request_id_window,
            request_ids: self.request_id_count,
            request_id_bytes: self.request_id_bytes,
            ring_changes: self.watch_ring_events,
            ring_bytes: self.watch_ring_bytes,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Limits on what waits for the owner.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Limits on the owner's mailbox")]
pub struct MailboxLimits {
    /// Messages (unary calls and frames) that may wait for the owner. Beyond, calls are refused with OVERLOADED at
    /// once: a longer queue would only make everybody late. Frames of one connection also beyond as many as there are
    /// places left, so that there is always room for others.
    #[arg(long = "mailbox-messages", value_name = "N", env = "SOLOIST_MAILBOX_MESSAGES",
          default_value_t = Self::DEFAULT.messages, value_parser = bytes(1, MIB))]
    pub messages: usize,
    /// Bytes that may wait for the owner in all messages together: keys, values, and what an operation of a frame takes
    /// in memory.
    #[arg(long = "mailbox-bytes", value_name = "BYTES", env = "SOLOIST_MAILBOX_BYTES",
          default_value_t = Self::DEFAULT.bytes, value_parser = bytes(KIB, MESSAGE_LIMIT_MAX as usize))]
    pub bytes: usize,
}

impl MailboxLimits {
    /// The defaults.
    pub const DEFAULT: Self = Self {
        messages: 4096,
        bytes: 16 * MIB,
    };
}

impl Default for MailboxLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
