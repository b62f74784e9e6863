//! Limits on calls, on the store, and on the owner's mailbox.

use std::time::Duration;

use clap::Args;
use clap::builder::ArgPredicate;

use crate::machine::StoreLimits;

use super::parse::{KIB, MESSAGE_LIMIT_MAX, MIB, bytes, duration, number};

/// Limits that a client can meet. `Admin.GetInfo` returns them.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Limits on calls and on the store")]
pub struct Limits {
    /// Longest key, in bytes. Long enough for any path or UUID, short enough for quick lookups.
    #[arg(long, value_name = "BYTES", env = "SOLOIST_MAX_KEY_BYTES", default_value_t = Self::DEFAULT.max_key_bytes,
          value_parser = bytes(1..=64 * KIB))]
    pub max_key_bytes: usize,
    /// Largest text or bytes value, in bytes. The state is for small shared values; large objects belong elsewhere.
    #[arg(long, value_name = "BYTES", env = "SOLOIST_MAX_VALUE_BYTES", default_value_t = Self::DEFAULT.max_value_bytes,
          value_parser = bytes(8..=64 * MIB))]
    pub max_value_bytes: usize,
    /// Most operations in one frame or Batch. Other calls wait while one is applied; 1,024 operations take well under 1
    /// ms.
    #[arg(long, value_name = "N", env = "SOLOIST_MAX_BATCH_OPS", default_value_t = Self::DEFAULT.max_batch_ops,
          value_parser = number(1, 1 << 20))]
    pub max_batch_ops: usize,
    /// Most bytes of keys and values in one atomic frame or Batch. It changes the store in one step, and watches are
    /// sent it as a whole.
    #[arg(long, value_name = "BYTES", env = "SOLOIST_MAX_BATCH_BYTES", default_value_t = Self::DEFAULT.max_batch_bytes,
          value_parser = bytes(8..=MESSAGE_LIMIT_MAX as usize))]
    pub max_batch_bytes: usize,
    /// Most entries on one page of a List. Other calls wait while a page is collected.
    #[arg(long, value_name = "N", env = "SOLOIST_MAX_PAGE_SIZE", default_value_t = Self::DEFAULT.max_page_size,
          value_parser = number(1, 1 << 20))]
    pub max_page_size: usize,
    /// Most bytes of keys and values on one page of a List. A page has at least one entry, whatever its size.
    #[arg(long, value_name = "BYTES", env = "SOLOIST_MAX_PAGE_BYTES", default_value_t = Self::DEFAULT.max_page_bytes,
          value_parser = bytes(1..=MESSAGE_LIMIT_MAX as usize))]
    pub max_page_bytes: usize,
    /// Largest encoded request message, in bytes. The default is 4 MiB of keys and values, and 64 KiB for the rest.
    #[arg(long, value_name = "BYTES", env = "SOLOIST_MAX_MESSAGE_BYTES", default_value_t = Self::DEFAULT.max_message_bytes,
          value_parser = bytes(KIB..=MESSAGE_LIMIT_MAX as usize))]
    pub max_message_bytes: usize,
    /// Most bytes of values in the answer to one frame. By default, gRPC clients refuse messages over 4 MiB; half of
    /// that leaves room for the errors of a thousand refused operations, which take more than 1 MiB.
    #[arg(long, value_name = "BYTES", env = "SOLOIST_MAX_ANSWER_BYTES", default_value_t = Self::DEFAULT.max_answer_bytes,
          value_parser = bytes(8..=MESSAGE_LIMIT_MAX as usize))]
    pub max_answer_bytes: usize,
    /// Most bytes that one connection keeps in memory: answers that its client has not read, in all its calls and
    /// streams together, and requests that have not arrived whole. Beyond, calls and frames are refused with OVERLOADED
    /// or ANSWER_TOO_LARGE, and watches wait.
    #[arg(long, value_name = "BYTES", env = "SOLOIST_MAX_UNREAD_BYTES", default_value_t = Self::DEFAULT.max_unread_bytes,
          value_parser = bytes(8..=MESSAGE_LIMIT_MAX as usize))]
    pub max_unread_bytes: usize,
    /// Most bytes that all connections together keep in memory in this way, with 4 KiB for each call in progress. No
    /// connection gets more of it than it leaves to the others.
    #[arg(long, value_name = "BYTES", env = "SOLOIST_MAX_CLIENT_BYTES", default_value_t = Self::DEFAULT.max_client_bytes,
          value_parser = bytes(MIB..=1 << 40))]
    pub max_client_bytes: usize,
    /// Most bytes in the store, counted as `Info.used_bytes`. Set it to about half of the memory that the computer can
    /// spare, because a server whose memory is swapped out is too slow to use. With --etcd the
    /// default is 256MiB, which fits into the quota that etcd has by itself.
    #[arg(long, value_name = "BYTES", env = "SOLOIST_MAX_STORE_BYTES", default_value_t = Self::DEFAULT.max_store_bytes,
          default_value_if("etcd", ArgPredicate::IsPresent, "256MiB"), value_parser = bytes(1..=i64::MAX as u64))]
    pub max_store_bytes: u64,
    /// Most live sessions. Allow for clients, their workers, and clients that died and whose sessions have not expired
    /// yet.
    #[arg(long, value_name = "N", env = "SOLOIST_MAX_SESSIONS", default_value_t = Self::DEFAULT.max_sessions,
          value_parser = number(1, 1 << 24))]
    pub max_sessions: usize,
    /// Most machines. People write them, so there are few; each new key is looked up among their prefixes.
    #[arg(long, value_name = "N", env = "SOLOIST_MAX_MACHINES", default_value_t = Self::DEFAULT.max_machines,
          value_parser = number(1, 1 << 20))]
    pub max_machines: usize,
    /// Most states of one machine: more than a protocol that people can understand has.
    #[arg(long, value_name = "N", env = "SOLOIST_MAX_STATES", default_value_t = Self::DEFAULT.max_states,
          value_parser = number(1, 1 << 16))]
    pub max_states: usize,
    /// Least time in which timeouts alone may lead a key of a machine back to a state: such keys move for ever, and each
    /// move is a change that is logged and shown to watches. DefineMachine refuses a shorter cycle.
    #[arg(long, value_name = "TIME", env = "SOLOIST_MIN_TIMEOUT_CYCLE", default_value = "10s",
          value_parser = duration)]
    pub min_timeout_cycle: Duration,
    /// How long a request_id and its answer are remembered. Set it to longer than clients keep retrying.
    #[arg(long, value_name = "TIME", env = "SOLOIST_REQUEST_ID_WINDOW", default_value = "10m",
          value_parser = duration)]
    pub request_id_window: Duration,
    /// Most request_ids remembered at once. At the limit, calls with a new request_id are refused with OVERLOADED,
    /// because none is forgotten early. The default allows 1,600 a second.
    #[arg(long, value_name = "N", env = "SOLOIST_REQUEST_ID_COUNT", default_value_t = Self::DEFAULT.request_id_count,
          value_parser = number(1, 1 << 28))]
    pub request_id_count: usize,
    /// Most bytes of remembered request_ids and their answers: 256 for each, and the values in the answer. At the
    /// limit, calls with a new request_id are refused with OVERLOADED.
    #[arg(long, value_name = "BYTES", env = "SOLOIST_REQUEST_ID_BYTES", default_value_t = Self::DEFAULT.request_id_bytes,
          value_parser = bytes(KIB..=1 << 40))]
    pub request_id_bytes: usize,
    /// Most changes in the history, from which a watch resumes after its client has reconnected.
    #[arg(long, value_name = "N", env = "SOLOIST_WATCH_RING_EVENTS", default_value_t = Self::DEFAULT.watch_ring_events,
          value_parser = number(1, 1 << 28))]
    pub watch_ring_events: usize,
    /// Most bytes of changes in the history: keys, values before and after, and from 10 to 150 bytes for each change.
    #[arg(long, value_name = "BYTES", env = "SOLOIST_WATCH_RING_BYTES", default_value_t = Self::DEFAULT.watch_ring_bytes,
          value_parser = bytes(KIB..=1 << 40))]
    pub watch_ring_bytes: usize,
    /// Most open watches. An idle watch takes about a kilobyte. One connection may have as many open as are left for others.
    #[arg(long, value_name = "N", env = "SOLOIST_MAX_WATCHES", default_value_t = Self::DEFAULT.max_watches,
          value_parser = number(1, 1 << 24))]
    pub max_watches: usize,
    /// Most frames of one Pipeline stream that wait for their answers. At the limit, a frame is refused with
    /// OVERLOADED, so that one stream cannot fill the mailbox.
    #[arg(long, value_name = "N", env = "SOLOIST_MAX_FRAMES_IN_FLIGHT", default_value_t = Self::DEFAULT.max_frames_in_flight,
          value_parser = number(1, 64 * KIB))]
    pub max_frames_in_flight: usize,
    /// Deadline of a call that sets none, and the longest deadline of any call, so that no call waits for ever.
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
        max_unread_bytes: 32 * MIB,
        max_client_bytes: 256 * MIB,
        max_store_bytes: 1 << 30,
        max_sessions: 100_000,
        max_machines: 1_000,
        max_states: 256,
        min_timeout_cycle: Duration::from_secs(10),
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
    /// Returns the limits that the machine itself checks.
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

/// Limits on messages that wait for the owner.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Limits on the owner's mailbox")]
pub struct MailboxLimits {
    /// Most messages (unary calls and frames) that wait for the owner. At the limit, calls are refused with OVERLOADED
    /// at once, because a longer queue would only make every call late. The frames of one connection are also refused
    /// if they use as much of the mailbox as is left, so that there is always room for others. Unary calls
    /// that cost the owner much, such as a List, wait for their turn instead.
    #[arg(long = "mailbox-messages", value_name = "N", env = "SOLOIST_MAILBOX_MESSAGES",
          default_value_t = Self::DEFAULT.messages, value_parser = number(1, MIB))]
    pub messages: usize,
    /// Most bytes in all messages that wait for the owner: keys, values, and the memory of each operation of a frame.
    #[arg(long = "mailbox-bytes", value_name = "BYTES", env = "SOLOIST_MAILBOX_BYTES",
          default_value_t = Self::DEFAULT.bytes, value_parser = bytes(KIB..=MESSAGE_LIMIT_MAX as usize))]
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
