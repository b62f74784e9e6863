//! Every limit of the server: its name, unit, default and reason. Nothing here grows without one.
//!
//! Each field is a flag and an environment variable of `soloist-server`; the comments are what `--help` prints.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use clap::builder::RangedI64ValueParser;
use clap::value_parser;

use crate::machine::{Operation, StoreLimits};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// The largest limit for anything that travels in one message; protobuf itself ends at 2 GiB.
const MESSAGE_LIMIT_MAX: i64 = 1 << 30;

/// Messages that the owner takes from its mailbox in one go, and for which it reads the clock once. Large enough to
/// make a wake-up cheap, small enough that connections on the owner's thread get their turn.
pub const OWNER_BATCH_MAX: usize = 256;

/// Operations of frames that arrive together and go to the owner as one message: enough to make the way there cheap, and not
/// so many that others wait for them.
pub const GROUP_OPERATIONS_MAX: usize = 256;

/// Bytes of a message in the mailbox from which on the owner looks at the clock again after it: such a message may take
/// long enough to let the deadline of the next one pass.
pub const OWNER_MESSAGE_LARGE: usize = 8 * KIB;

/// Keys that end, or move on, between two goes at the mailbox: so many take about as long as the messages of one go.
pub const DUE_KEYS_MAX: usize = 256;

/// Of these, as many as end before the watches that sleep are woken: eight of the largest values are half of what is kept
/// for watches.
pub const DUE_KEYS_BETWEEN_WAKES: usize = 8;

/// Longest name of a session, machine or state, and longest request_id, in bytes: three UUIDs and what joins them.
pub const NAME_BYTES_MAX: usize = 128;

/// Ttl of a key, and timeout of a state. What ends earlier than it can be noticed is no use, and what ends in more than
/// ten years is a mistake in the unit.
pub const TTL_RANGE: RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// Ttl of a session: longer than a slow renewal takes, and short enough that what it holds is free again within a day.
pub const SESSION_TTL_RANGE: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(24 * 60 * 60);

/// How often a quiet watch may be told that nothing was missed.
pub const PROGRESS_RANGE: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(60 * 60);

/// Bytes of one message of a watch: large enough to be cheap, small enough for every client.
pub const WATCH_MESSAGE_BYTES: usize = MIB;

/// How long a caller is asked to wait before it tries again after OVERLOADED. A full mailbox of small messages is
/// worked off in about this time.
pub const RETRY_DELAY: Duration = Duration::from_millis(20);

/// The same where as many watches are open as may be: they stay open for long.
pub const WATCH_RETRY_DELAY: Duration = Duration::from_secs(1);

/// The answer to a deadline leaves this much before it, so that it arrives in time: an eighth of the timeout, at
/// most 10 ms.
pub fn answer_margin(timeout: Duration) -> Duration {
    (timeout / 8).min(Duration::from_millis(10))
}

/// Streams that a client may make us reset by errors of its own; beyond, the connection is closed with
/// ENHANCE_YOUR_CALM. A tight value for what h2 leaves at 1,024. (Streams that it resets itself before they are looked
/// at may be as many as it may have open: a client whose calls all run out of time does just that. More is
/// CVE-2023-44487, rapid reset.)
pub const LOCAL_ERROR_RESET_STREAMS_MAX: usize = 256;

/// File descriptors left to everything that is not a connection: listener, logs, lookups.
pub const SPARE_DESCRIPTORS: u64 = 64;

/// File descriptors that each thread takes for itself (event queue, wake-up, signals).
pub const THREAD_DESCRIPTORS: u64 = 4;

/// Bytes that a connection reads in one turn while it is the only one to read on its thread: some 250 small calls, as
/// many as it may have under way, which take a millisecond or two.
pub const TURN_BYTES: usize = 32 * KIB;

/// How long the turn of a connection may take, with all that follows from what it reads, while others read on its thread. A
/// call goes through five tasks (connection, handler, owner, handler, connection) and waits for a turn of everybody before each:
/// that is some 750 us beside one connection with no end of calls. Not shorter: with half of that, calls on eight connections
/// take a quarter more of the server's time, for system calls and wake-ups; with this they take no more than with long turns.
pub const SHARED_TURN: Duration = Duration::from_micros(150);

/// Bytes of the shortest turn beside others, and by which turns grow: four small calls.
pub const SHARED_TURN_BYTES_MIN: usize = 512;

/// Bytes of the longest turn beside others, which is the first: some thirty small calls, so that many connections with a
/// few calls each read all of them at once. A large message is worth hundreds of microseconds in one piece, and of such pieces
/// there is then one in several turns.
pub const SHARED_TURN_BYTES_MAX: usize = 4 * KIB;

/// How long a thread counts as shared after another connection has read on it: one that asks for something ten times a second
/// is not to find the others with long turns, and one that only opens is not to cost them much.
pub const SHARED_FOR: Duration = Duration::from_millis(100);

/// How far apart a thread's own timers are; see `server.rs`. Calls that have longer to live set theirs without a system
/// call. Waking ten times a second costs a core less than a ten-thousandth of its time.
pub const TIMER_PULSE: Duration = Duration::from_millis(100);

/// How long the accept loop rests when the system refuses another connection (no descriptors, no memory), instead
/// of spinning.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Revisions that are left out after a process did not end in order: more than may have been under way and never
/// acknowledged (see [`UNSYNCED_OPERATIONS_MAX`]), some of which may have been named in an outcome that is unknown.
pub const REVISIONS_SKIPPED: i64 = 1 << 24;

/// The same where changes were answered before they were on disk, and after a restore: more than a server makes in the
/// days between a backup and its use, and few enough to be left out millions of times.
pub const REVISIONS_SKIPPED_UNSYNCED: i64 = 1 << 40;

/// How often the space on the disk is looked at.
pub const SPACE_INTERVAL: Duration = Duration::from_secs(1);

/// Changes that may wait for the disk. Beyond, what would change anything is refused: a disk that does not keep up must
/// not fill the memory. A few milliseconds' worth.
pub const UNSYNCED_OPERATIONS_MAX: usize = 8_192;

/// Bytes of them.
pub const UNSYNCED_BYTES_MAX: usize = 32 * MIB;

/// Bytes of the log's tail: what is written in front of the storage engine. A thousand of the smallest commits lie between
/// two transactions of the engine then, each of which holds up the next commit for a millisecond or two; and it is read in a
/// few more at a start.
pub const TAIL_BYTES: u64 = 4 * MIB as u64;

/// Most entries of a slice of a copy, between two goes at the mailbox: about 100 us.
pub const COPY_ENTRIES_MAX: usize = 1_000;

/// Bytes of one.
pub const COPY_SLICE_BYTES: usize = 256 * KIB;

/// Backups that are made at once: each may put so much aside.
pub const BACKUPS_MAX: usize = 2;

/// Bytes that a copy may put aside of what changes ahead of it. A copy of a million keys takes a second or two: this is
/// for changes of half of them.
pub const COPY_ASIDE_BYTES_MAX: usize = 256 * MIB;

/// Everything that can be set.
#[derive(Clone, Debug, Default, Args)]
pub struct Config {
    /// What one call, and the store as a whole, may hold.
    #[command(flatten)]
    pub limits: Limits,
    /// What may wait for the owner.
    #[command(flatten)]
    pub mailbox: MailboxLimits,
    /// What one connection, and all of them, may use.
    #[command(flatten)]
    pub transport: TransportLimits,
    /// Whether and how the state is kept on disk.
    #[command(flatten)]
    pub storage: StorageConfig,
}

/// Whether and how the state is kept on disk.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Storage")]
pub struct StorageConfig {
    /// Directory that keeps the state; it is made if there is none. Without it the state is in memory alone, and ends with
    /// the process.
    #[arg(long, value_name = "DIR", env = "SOLOIST_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// When a change is answered. "sync": when it is on disk; nothing that was answered is ever lost. "interval=MS": at
    /// once, and it is on disk at most so many milliseconds later: a power failure loses as much. "none": at once, and the
    /// system writes it when it sees fit: a power failure loses half a minute or more. With both, a killed process loses a
    /// few milliseconds.
    #[arg(
        long,
        value_name = "MODE",
        env = "SOLOIST_DURABILITY",
        default_value = "sync",
        requires = "data_dir"
    )]
    pub durability: Durability,
    /// Start although something is lost: what is left ends at REVISION, as the error said. The store gets a new store_id.
    #[arg(long, value_name = "REVISION", requires = "data_dir")]
    pub accept_data_loss: Option<i64>,
    /// A snapshot is made when the log has grown by so many bytes since the last one, and by as many as the state takes: a
    /// start has hardly more to read than twice the state.
    #[arg(long, value_name = "BYTES", env = "SOLOIST_SNAPSHOT_LOG_BYTES", default_value_t = Self::DEFAULT_SNAPSHOT_LOG_BYTES,
          value_parser = value_parser!(u64).range(KIB as u64..), requires = "data_dir")]
    pub snapshot_log_bytes: u64,
    /// Free bytes on the disk below which changes are refused with STORE_FULL, but for deletes: what is left is for them and
    /// for a snapshot. Never less than the log has, which grows by doubling. 0: until the disk is full.
    #[arg(long, value_name = "BYTES", env = "SOLOIST_MIN_FREE_BYTES", default_value_t = Self::DEFAULT_MIN_FREE_BYTES,
          value_parser = value_parser!(u64), requires = "data_dir")]
    pub min_free_bytes: u64,
}

impl StorageConfig {
    /// Small enough to be read in a fraction of a second.
    pub const DEFAULT_SNAPSHOT_LOG_BYTES: u64 = 64 * MIB as u64;
    /// As much as four times that.
    pub const DEFAULT_MIN_FREE_BYTES: u64 = 256 * MIB as u64;
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            data_dir: None,
            durability: Durability::Sync,
            accept_data_loss: None,
            snapshot_log_bytes: Self::DEFAULT_SNAPSHOT_LOG_BYTES,
            min_free_bytes: Self::DEFAULT_MIN_FREE_BYTES,
        }
    }
}

/// When a change is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// When it is on disk.
    Sync,
    /// At once; it is on disk at most so much later.
    Interval(Duration),
    /// At once; the system writes it when it sees fit.
    None,
}

impl Durability {
    /// What may be lost, for people.
    #[must_use]
    pub fn loss_window(self) -> String {
        match self {
            Self::Sync => "nothing that was answered is lost".into(),
            Self::Interval(interval) => format!(
                "a killed process loses the last milliseconds that were answered, a power failure up to the last {} ms",
                interval.as_millis()
            ),
            Self::None => "a killed process loses the last milliseconds that were answered, a power failure half a \
                           minute or more"
                .into(),
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sync => f.write_str("sync"),
            Self::Interval(interval) => write!(f, "interval={}", interval.as_millis()),
            Self::None => f.write_str("none"),
        }
    }
}

impl FromStr for Durability {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const MS: RangeInclusive<u64> = 1..=60_000;
        match text {
            "sync" => Ok(Self::Sync),
            "none" => Ok(Self::None),
            _ => {
                let ms = text
                    .strip_prefix("interval=")
                    .and_then(|ms| ms.parse().ok());
                ms.filter(|ms| MS.contains(ms))
                    .map(|ms| Self::Interval(Duration::from_millis(ms)))
                    .ok_or_else(|| {
                        let (first, last) = (MS.start(), MS.end());
                        format!("{text:?} is none of sync, none and interval=MS, with MS from {first} to {last}")
                    })
            }
        }
    }
}

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

/// Limits on threads, connections and HTTP/2.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Threads and connections")]
pub struct TransportLimits {
    /// Threads that serve connections; the owner lives on the first. 0: one per core.
    #[arg(long, value_name = "N", env = "SOLOIST_THREADS", default_value_t = Self::DEFAULT.threads,
          value_parser = bytes(0, 1024))]
    pub threads: usize,
    /// Open connections; more wait in the listener's backlog. Never more than the descriptors that the process may
    /// open, less a few.
    #[arg(long, value_name = "N", env = "SOLOIST_MAX_CONNECTIONS", default_value_t = Self::DEFAULT.max_connections,
          value_parser = bytes(1, MIB))]
    pub max_connections: usize,
    /// Calls and streams open at once on one connection (HTTP/2 MAX_CONCURRENT_STREAMS). Clients wait or open another
    /// connection.
    #[arg(long, value_name = "N", env = "SOLOIST_MAX_STREAMS", default_value_t = Self::DEFAULT.max_streams,
          value_parser = value_parser!(u32).range(1..=65_536))]
    pub max_streams: u32,
    /// Largest header list of a call, in bytes.
    #[arg(long, value_name = "BYTES", env = "SOLOIST_MAX_HEADER_BYTES", default_value_t = Self::DEFAULT.max_header_bytes,
          value_parser = value_parser!(u32).range(1_024..=1_048_576))]
    pub max_header_bytes: u32,
    /// HTTP/2 window of one stream, in bytes: what may be sent before it is read.
    #[arg(long, value_name = "BYTES", env = "SOLOIST_STREAM_WINDOW_BYTES", default_value_t = Self::DEFAULT.stream_window_bytes,
          value_parser = value_parser!(u32).range(16_384..=16_777_216))]
    pub stream_window_bytes: u32,
    /// HTTP/2 window of one connection, in bytes: bounds what all its streams together keep in memory unread.
    #[arg(long, value_name = "BYTES", env = "SOLOIST_CONNECTION_WINDOW_BYTES",
          default_value_t = Self::DEFAULT.connection_window_bytes,
          value_parser = value_parser!(u32).range(65_535..=134_217_728))]
    pub connection_window_bytes: u32,
    /// How long a new connection may take to show that it speaks HTTP/2.
    #[arg(long, value_name = "TIME", env = "SOLOIST_PREFACE_TIMEOUT", default_value = "5s", value_parser = duration)]
    pub preface_timeout: Duration,
    /// A connection that is silent this long is pinged, to find peers that are gone.
    #[arg(long, value_name = "TIME", env = "SOLOIST_KEEPALIVE_INTERVAL", default_value = "30s", value_parser = duration)]
    pub keepalive_interval: Duration,
    /// A ping not answered within this time closes the connection.
    #[arg(long, value_name = "TIME", env = "SOLOIST_KEEPALIVE_TIMEOUT", default_value = "10s", value_parser = duration)]
    pub keepalive_timeout: Duration,
    /// On SIGTERM or SIGINT, how long calls in flight may take to finish before their connections are closed.
    #[arg(long, value_name = "TIME", env = "SOLOIST_DRAIN_TIMEOUT", default_value = "10s", value_parser = duration)]
    pub drain_timeout: Duration,
}

impl TransportLimits {
    /// The defaults.
    pub const DEFAULT: Self = Self {
        threads: 0,
        max_connections: 10_000,
        max_streams: 256,
        max_header_bytes: 16 * KIB as u32,
        stream_window_bytes: 64 * KIB as u32,
        connection_window_bytes: MIB as u32,
        preface_timeout: Duration::from_secs(5),
        keepalive_interval: Duration::from_secs(30),
        keepalive_timeout: Duration::from_secs(10),
        drain_timeout: Duration::from_secs(10),
    };
}

impl Default for TransportLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A limit that cannot be, alone or beside another one.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError(String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Checks the limits, each alone and against each other: what may be stored must fit into a message, and a message
    /// into the mailbox.
    ///
    /// # Errors
    /// The first limit that cannot be, with the reason.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let Self {
            limits,
            mailbox,
            transport,
            storage: _,
        } = self;
        // The flags have these ranges already; whoever embeds a server sets the fields.
        for (name, value) in [
            ("max-key-bytes", limits.max_key_bytes),
            ("max-value-bytes", limits.max_value_bytes),
            ("max-batch-ops", limits.max_batch_ops),
            ("max-batch-bytes", limits.max_batch_bytes),
            ("max-page-size", limits.max_page_size),
            ("max-page-bytes", limits.max_page_bytes),
            ("max-message-bytes", limits.max_message_bytes),
            ("max-answer-bytes", limits.max_answer_bytes),
            ("max-unread-bytes", limits.max_unread_bytes),
            ("max-frames-in-flight", limits.max_frames_in_flight),
            ("max-sessions", limits.max_sessions),
            ("max-machines", limits.max_machines),
            ("max-states", limits.max_states),
            ("request-id-count", limits.request_id_count),
            ("watch-ring-events", limits.watch_ring_events),
            ("max-watches", limits.max_watches),
            ("mailbox-messages", mailbox.messages),
            ("mailbox-bytes", mailbox.bytes),
            ("max-connections", transport.max_connections),
        ] {
            if !(1..=MESSAGE_LIMIT_MAX as usize).contains(&value) {
                return Err(ConfigError(format!(
                    "--{name} is {value}, but must be in 1..={MESSAGE_LIMIT_MAX}"
                )));
            }
        }
        let entry_bytes = limits.max_key_bytes + limits.max_value_bytes;
        let at_least = |name: &str, actual: usize, needed: usize, what: &str| {
            if actual >= needed {
                return Ok(());
            }
            Err(ConfigError(format!(
                "--{name} is {actual}, but must be at least {needed}: {what}"
            )))
        };
        at_least(
            "max-message-bytes",
            limits.max_message_bytes,
            // Tags, lengths and revisions around one key and one value.
            entry_bytes + KIB,
            "--max-key-bytes, --max-value-bytes, and what surrounds them",
        )?;
        at_least(
            "max-batch-bytes",
            limits.max_batch_bytes,
            entry_bytes,
            "--max-key-bytes and --max-value-bytes",
        )?;
        at_least(
            "max-answer-bytes",
            limits.max_answer_bytes,
            limits.max_value_bytes,
            "--max-value-bytes",
        )?;
        at_least(
            "max-unread-bytes",
            limits.max_unread_bytes,
            limits.max_answer_bytes,
            "--max-answer-bytes",
        )?;
        at_least(
            "watch-ring-bytes",
            limits.watch_ring_bytes,
            // A batch must fit, or no watch would ever see one.
            2 * limits.max_batch_bytes + limits.max_batch_ops * KIB,
            "twice --max-batch-bytes, and 1 KiB for each of --max-batch-ops",
        )?;
        at_least(
            "mailbox-bytes",
            mailbox.bytes,
            limits.max_message_bytes + limits.max_batch_ops * size_of::<Operation>(),
            "--max-message-bytes, and what --max-batch-ops operations take in memory",
        )
    }
}

/// A whole number from `min` to `max`, both included.
fn bytes(min: usize, max: usize) -> impl clap::builder::TypedValueParser<Value = usize> {
    use clap::builder::TypedValueParser as _;
    RangedI64ValueParser::<u64>::new()
        .range(min as i64..=max as i64)
        .map(|n| usize::try_from(n).expect("the range is within usize"))
}

/// A time such as `500ms`, `10s`, `2m`: from 1 ms to 1 day.
fn duration(text: &str) -> Result<Duration, String> {
    const MIN: Duration = Duration::from_millis(1);
    const MAX: Duration = Duration::from_secs(24 * 60 * 60);
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if (MIN..=MAX).contains(&duration) {
        Ok(duration)
    } else {
        Err(format!("{text} is not in 1ms..=1day"))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        config: Config,
    }

    #[test]
    fn flags_and_default_agree() {
        let flags = Flags::parse_from(["test"]).config;
        assert_eq!(format!("{flags:?}"), format!("{:?}", Config::default()));
        assert_eq!(flags.validate(), Ok(()));
    }

    #[test]
    fn out_of_range_names_flag_limit_and_actual() {
        for (flag, value, says) in [
            ("--max-key-bytes", "0", "1..=65536"),
            ("--max-key-bytes", "x", "invalid digit"),
            ("--max-deadline", "0s", "1ms..=1day"),
            ("--max-deadline", "soon", "expected number"),
        ] {
            let error = Flags::try_parse_from(["test", flag, value])
                .map(|_| ())
                .unwrap_err()
                .to_string();
            for part in [flag, value, says] {
                assert!(error.contains(part), "{error:?} lacks {part:?}");
            }
        }
    }

    #[test]
    fn contradictions_are_refused() {
        let mut config = Config::default();
        config.limits.max_value_bytes = 8 * MIB;
        let error = config.validate().unwrap_err().to_string();
        assert!(error.contains("--max-message-bytes is 4259840"), "{error}");

        let mut config = Config::default();
        config.limits.max_frames_in_flight = 0;
        let error = config.validate().unwrap_err().to_string();
        assert!(error.contains("--max-frames-in-flight is 0"), "{error}");
    }
}
