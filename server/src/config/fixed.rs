//! Limits that cannot be set.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::parse::{KIB, MIB};

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
pub const WAL_BYTES_MAX: u64 = 4 * MIB as u64;

/// Most entries of a slice of a copy, between two goes at the mailbox: about 100 us.
pub const COPY_ENTRIES_MAX: usize = 1_000;

/// Bytes of one.
pub const COPY_SLICE_BYTES: usize = 256 * KIB;

/// Backups that are made at once: each may put so much aside.
pub const BACKUPS_MAX: usize = 2;

/// Bytes that a copy may put aside of what changes ahead of it. A copy of a million keys takes a second or two: this is
/// for changes of half of them.
pub const COPY_ASIDE_BYTES_MAX: usize = 256 * MIB;
