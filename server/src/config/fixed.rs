//! Limits that no flag sets.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::parse::{KIB, MIB};

// The owner.

/// Most messages that the owner takes from its mailbox at once, and for which it reads the clock once. Large enough to
/// make a wake-up cheap, small enough for the connections on the owner's thread to get their turn.
pub const OWNER_BATCH_MAX: usize = 256;

/// Most operations of frames that arrived together and go to the owner as one message. Large enough to make the message
/// cheap, small enough for other callers not to wait long.
pub const GROUP_OPERATIONS_MAX: usize = 256;

/// Size of a message, in bytes, from which the owner reads the clock again after it. Such a message may take long
/// enough for the deadline of the next message to pass.
pub const OWNER_MESSAGE_LARGE_BYTES: usize = 8 * KIB;

/// Cost of the messages that wait in the mailbox without further ado. A message costs 1 for each key, operation, session or
/// 1,024 bytes that it can touch, which takes the owner and the handler together about 1 us. Unary calls that cost more go
/// into the mailbox a few at a time: as many as their connection's share, and all connections' room, allow.
pub const COST_SMALL_MAX: usize = 16;

/// Most cost of the unary calls above [`COST_SMALL_MAX`] that are in the mailbox at once. A small call waits for at most this
/// much: about 8 ms.
pub const COST_WAITING_MAX: usize = 8 * 1_024;

/// The part of it that one connection may use: two pages of a List, one for the owner and one on its way.
pub const COST_WAITING_CONNECTION_MAX: usize = 2 * 1_024;

/// Bytes of a message that cost as much as one key: copies are made for the history and the log.
pub const COST_BYTES: usize = KIB;

/// Cost of a message that asks a watch for its next changes when there are many: initial entries, or the history. It looks at
/// up to 4,096 changes, or shows 1,000 entries.
pub const COST_WATCH_BEHIND: usize = 1_024;

/// Most messages of watches in the mailbox at once. Each costs as much as what changed.
pub const WATCH_MESSAGES_MAX: usize = 64;

/// About how many keys expire, or change state after a timeout, between two batches of messages. They take about as
/// long as one batch.
pub const DUE_KEYS_MAX: usize = 256;

/// About how many of these keys are handled before sleeping watches are woken. Eight values of the largest size take
/// half of the default change history, so that no watch misses them.
pub const DUE_KEYS_BETWEEN_WAKES: usize = 8;

/// Most uncommitted changes. Beyond, calls that would change something are refused: a disk that does not keep up must
/// not fill the memory. One connection alone gets half of them. A disk needs a few milliseconds for this many.
pub const UNSYNCED_OPERATIONS_MAX: usize = 16_384;

/// How long a commit takes at least for the next batch to wait for more changes: timers have steps of a millisecond, and what a
/// shorter commit costs is not worth one. Those of a disk in this machine are shorter, those of etcd are not.
pub const GROUPED_COMMIT_MIN: Duration = Duration::from_micros(500);

/// Longest time for which a batch waits for more changes, however long the commit before it took: callers on a network nearby are back
/// by then.
pub const GROUP_WAIT_MAX: Duration = Duration::from_millis(4);

/// Bytes of changes that are worth a commit of their own. Beyond, what they cost by themselves is most of it.
pub const GROUP_BYTES_ENOUGH: usize = 256 * KIB;

/// Most commits between two waits for more changes that nobody brings. Waiting for nothing delays a commit in so many then.
pub const GROUP_SKIPS_MAX: u32 = 64;

/// Answers that may wait, for the disk or for a confirmation, before the ones whose callers have left are looked for and dropped.
/// Fewer are not worth a look.
pub const HELD_ANSWERS_LOOK_MIN: usize = 1_024;

/// Most answers of a node of a cluster that wait for the confirmation that it still owns the store. Beyond, calls that show state
/// are refused: while etcd says nothing, answers must not fill the memory. A confirmation takes a few hundred microseconds, in
/// which a server makes a hundred answers or two; this is half a second of them.
pub const UNCONFIRMED_ANSWERS_MAX: usize = 65_536;

/// Most bytes of uncommitted changes.
pub const UNSYNCED_BYTES_MAX: usize = 32 * MIB;

/// Most entries in one slice of a copy, which the owner makes between two batches of messages: about 100 us.
pub const COPY_ENTRIES_MAX: usize = 1_000;

/// Most bytes in one slice of a copy.
pub const COPY_SLICE_BYTES: usize = 256 * KIB;

/// Most bytes that may be put aside for a copy: the old values of keys that change before the copy reaches them. A copy
/// of a million keys takes a second or two; this is enough if half of them change meanwhile.
pub const COPY_ASIDE_BYTES_MAX: usize = 256 * MIB;

/// Most backups at once, because each may put [`COPY_ASIDE_BYTES_MAX`] aside. One connection gets one of them.
pub const BACKUPS_MAX: usize = 2;

/// How often the log says how far a backup is.
pub const BACKUP_LOG_INTERVAL: Duration = Duration::from_secs(10);

// Calls.

/// Most bytes in the name of a session, machine or state, and in a request_id: enough for three UUIDs and separators.
pub const NAME_BYTES_MAX: usize = 128;

/// Range of a key's ttl, and of a state's timeout. A shorter time would pass unnoticed; a longer one is probably a
/// mistake in the unit.
pub const TTL_RANGE: RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// Range of a session's ttl: longer than a slow renewal takes, and short enough that the keys of a dead client go
/// within a day.
pub const SESSION_TTL_RANGE: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(24 * 60 * 60);

/// Range of the interval at which a quiet watch reports that it is alive and has missed nothing.
pub const PROGRESS_RANGE: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(60 * 60);

/// Most bytes in one message of a watch: large enough to be cheap, small enough for every client.
pub const WATCH_MESSAGE_BYTES: usize = MIB;

/// Bytes that a call or stream in progress takes by itself: its tasks, its state in HTTP/2, its headers.
pub const CALL_BYTES: usize = 4 * KIB;

/// Bytes of an unread answer besides its own: what HTTP/2 keeps of its stream.
pub const ANSWER_OVERHEAD_BYTES: usize = 512;

/// The first bytes that a connection holds, its calls included, which do not count for the process: a connection with a call
/// or two does not write to a counter that all threads share. Ten thousand connections hold 80 MB of such bytes at most.
pub const UNSHARED_BYTES: usize = 8 * KIB;

/// What a connection takes at a time of the memory for all connections: enough for eight calls, so that busy connections
/// seldom write to the counter that all threads share. A busy connection has at most three of them more than it uses.
pub const LEASE_BYTES: usize = 32 * KIB;

/// A connection that holds no more than this may use the last eighth of the memory for all connections: small calls go on
/// when others take all that they can get.
pub const SMALL_CONNECTION_BYTES: usize = 64 * KIB;

/// Bytes of an unfinished request that are not counted by themselves: the call has been counted.
pub const REQUEST_UNCOUNTED_BYTES: usize = CALL_BYTES;

/// Unary answers above this size end when they were not read by the deadline, even if HTTP/2 has taken them to send: the
/// trailers wait until the answer is on the socket. Smaller ones are not worth a further write.
pub const WATCHED_ANSWER_BYTES: usize = 16 * KIB;

/// How long after the deadline of a call its answer may still be read: the server's clock and the client's need not agree.
pub const UNREAD_GRACE: Duration = Duration::from_secs(1);

/// While memory is scarce, a connection must read at least this part of what waits for it within `--unread-timeout`.
pub const UNREAD_PART: usize = 8;

/// Bytes that a connection may send without a call in progress, until its next call: PINGs for days, and the rest of
/// requests that were refused. Beyond, it only makes work, and is closed.
pub const BYTES_WITHOUT_CALL_MAX: usize = 4 * MIB;

/// SETTINGS that a connection may send at once. Clients that adapt their windows send a dozen. Each can change the window of
/// every stream: with 250 streams that takes as long as several calls. Beyond, the connection is closed.
pub const SETTINGS_MAX: usize = 100;

/// How often a connection may send SETTINGS after that.
pub const SETTINGS_INTERVAL: Duration = Duration::from_secs(1);

/// How long a connection may stay without a call while there is no room for another one.
pub const CROWDED_IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// How often a stream that waits for memory looks whether other connections have given some back.
pub const ROOM_LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// How long a caller is asked to wait before it retries after OVERLOADED. The owner works off a full mailbox of small
/// messages in about this time.
pub const RETRY_DELAY: Duration = Duration::from_millis(20);

/// How long a caller is asked to wait if too many watches or backups are open, which stay open for long.
pub const WATCH_RETRY_DELAY: Duration = Duration::from_secs(1);

/// Returns how long before its deadline a call is answered, so that the answer arrives in time: an eighth of the
/// timeout, and at most 10 ms.
pub fn answer_margin(timeout: Duration) -> Duration {
    (timeout / 8).min(Duration::from_millis(10))
}

// Connections and threads.

/// File descriptors left for everything that is not a connection: listener, logs, name lookups.
pub const SPARE_DESCRIPTORS: u64 = 64;

/// File descriptors that each thread uses for itself: event queue, wake-up, signals.
pub const THREAD_DESCRIPTORS: u64 = 4;

/// How many tasks a thread runs before it asks the kernel which sockets have something to read: a call that arrives waits for so
/// many turns before it is seen. The runtime's own 61 is for short tasks. The turn of a connection beside others takes some 30 us, so
/// with 61 a call beside a connection with large frames is seen after two milliseconds, and with 8 after a quarter of one. Asking
/// takes less than a microsecond: the cost of calls on 110 connections did not change measurably.
pub const EVENT_INTERVAL: u32 = 8;

/// Most bytes that a connection reads in one turn while no other connection reads on its thread: about 250 small calls,
/// as many as it may have open, which take a millisecond or two.
pub const TURN_BYTES: usize = 32 * KIB;

/// Most bytes that a connection writes in one turn: a client that reads a backup as fast as it comes must not
/// keep the thread. As much as the sockets of this system take at once, so that a turn seldom ends for this.
pub const WRITE_TURN_BYTES: usize = 256 * KIB;

/// How many errors of a client's streams time makes up for each second. Streams that are refused because too many are open count,
/// too.
pub const STREAM_ERRORS_PER_SECOND: u32 = 10;

/// How long a connection's turn may take, with everything that follows from what it reads, while others read on its
/// thread. A call goes through five tasks (connection, handler, owner, handler, connection), and before each it waits
/// for a turn of every connection: about 750 us beside one connection with an endless stream of calls. A shorter turn
/// is worse: with half of this, calls on eight connections take a quarter more of the server's time, for system calls
/// and wake-ups. With this, they take no more than with long turns.
pub const SHARED_TURN: Duration = Duration::from_micros(150);

/// Bytes of the shortest turn beside other connections, and the step by which turns grow: four small calls.
pub const SHARED_TURN_BYTES_MIN: usize = 512;

/// Bytes of the first and longest turn beside other connections: about thirty small calls, so that each of many
/// connections with a few calls reads all of them at once. A part of this size of a large message takes hundreds of
/// microseconds, so there is then one part in several turns.
pub const SHARED_TURN_BYTES_MAX: usize = 4 * KIB;

/// Most calls that a connection of the own transport answers in one turn beside other connections: some 80 us. The answers of all its
/// calls may come at once.
pub const SHARED_TURN_CALLS: usize = 64;

/// How long a thread counts as shared after another connection has read on it. Long enough that a connection with ten
/// calls a second does not meet long turns of others, short enough that a connection that only opens costs the others
/// little.
pub const SHARED_FOR: Duration = Duration::from_millis(100);

/// A connection is busy if it is polled so many times within [`BUSY_WITHIN`]. Polls are counted in groups of this size, so a group
/// costs one look at the clock. A client that makes 640 calls a second is worth a move, which costs some 20 us.
pub const BUSY_POLLS: u32 = 64;

/// The period in which busy connections are counted, and so the time in which a connection moves to another thread for once.
pub const BUSY_WITHIN: Duration = Duration::from_millis(100);

/// Most bytes that a connection reads at a time, on average, if its client waits for each answer. One call has some hundred; many at
/// once have more, and then the thread of the owner may have enough to do.
pub const WAITING_BYTES: u64 = 256;

/// Most bytes that such a connection writes at a time, on average. Answers of that size cost little more than small ones. A client that
/// is sent much, such as a backup, makes work on its thread, which the owner has better without.
pub const WAITING_WRITTEN_BYTES: u64 = 4 * KIB as u64;

/// Most bytes of log lines that wait to be written to standard error: some five thousand lines. Further ones are dropped
/// and counted, because a log that nobody reads must not stop the server, nor fill its memory.
pub const LOG_QUEUE_BYTES_MAX: usize = MIB;

/// How long the process waits at its end for the last log lines to be written. A reader that takes longer has stopped.
pub const LOG_FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Most bytes of a panic's text in the log. The text may quote what a client has sent.
pub const PANIC_TEXT_BYTES_MAX: usize = KIB;

/// How long a connection without a call may take to close when the server drains, or twice as long. A peer that lives
/// answers within a round trip.
pub const DRAIN_IDLE: Duration = Duration::from_millis(500);

/// Interval of each thread's own timer; `server.rs` says what it is for. Calls with a later deadline set their timers
/// without a system call. Ten wake-ups a second take less than a ten-thousandth of a core.
pub const TIMER_PULSE: Duration = Duration::from_millis(100);

/// How often a supervisor (systemd) is told that the server still opens its store; well within [`START_EXTEND_BY`].
pub const START_EXTEND_EVERY: Duration = Duration::from_secs(10);

/// How much more time a supervisor is asked for, from now on, while the server opens its store. A start whose process is
/// stopped or hangs in the kernel fails that much later.
pub const START_EXTEND_BY: Duration = Duration::from_secs(60);

/// What a supervisor is asked for to stop, besides the drain timeouts: for closing the files.
pub const STOP_SPARE: Duration = Duration::from_secs(10);

/// Most news for a supervisor that wait for it to read. More than happens in a whole life but for reloads.
pub const SUPERVISOR_NEWS_MAX: usize = 64;

/// How long the accept loop waits, instead of spinning, when the system refuses another connection for lack of
/// descriptors or memory.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

// A cluster.

/// How long after the time by which the owner must have answered a call that was sent on, the caller is told that it has not:
/// the answer has to travel.
pub const FORWARD_ANSWER_MARGIN: Duration = Duration::from_millis(5);

/// How long a member of etcd may take to answer the owner, or whoever looks for it or keeps a lease, until another one is asked
/// the same, too. An etcd that is well answers
/// in milliseconds, and after 300 ms a member is more often gone than slow. An election takes a second or two: with less, no
/// takeover and no end of one would come earlier.
pub const ETCD_PATIENCE: Duration = Duration::from_millis(300);

/// How often a node asks the members of etcd how they are, for GetNode: what people look at.
pub const ETCD_LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// How often a node notes, for GetNode, how long its commits took.
pub const JOURNAL_LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// How long a standby may take to connect to the owner before the calls that wait for it are refused with NOT_OWNER.
pub const FORWARD_CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Most connections of one thread of a standby to the owner. Each has as many calls as the owner permits on one.
pub const FORWARD_CONNECTIONS_MAX: usize = 16;

/// How long calls that were sent on to an owner may go on after it has lost its place: it answers them, or never will.
pub const FORWARD_LAST_ANSWERS: Duration = Duration::from_secs(2);

// HTTP, for operators.

/// Most connections of the HTTP listener at once: more than any monitoring has. Beyond, the oldest is closed, so that a probe
/// gets through.
pub const HTTP_CONNECTIONS_MAX: usize = 64;

/// How long a client of the HTTP listener may take for a handshake, for the head of a request, and until the next one.
pub const HTTP_HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Most bytes of the head of an HTTP request.
pub const HTTP_HEAD_BYTES_MAX: usize = 16 * KIB;

/// Most bytes of the body of an HTTP request, which means nothing, that are read before the connection is closed.
pub const HTTP_BODY_BYTES_MAX: usize = 64 * KIB;

/// How long an HTTP connection may stay open: clients connect again, and one that does not read its answer goes.
pub const HTTP_CONNECTION_TIME: Duration = Duration::from_secs(60);

/// An owner that has taken no message for this long is stuck: `/livez` says so, and only a restart helps.
pub const OWNER_ALIVE_WITHIN: Duration = Duration::from_secs(10);

/// How often the owner is sent a message, to see whether it takes it.
pub const OWNER_LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How long a scrape waits for what only the owner knows.
pub const SCRAPE_OWNER_TIMEOUT: Duration = Duration::from_secs(1);

/// Most states that have a series each: more than people define by hand, and few enough for any Prometheus.
pub const KEYS_IN_STATE_SERIES_MAX: usize = 2_000;

/// How often a sample is taken for the page: what people see move.
pub const HISTORY_INTERVAL: Duration = Duration::from_secs(1);

/// How many samples the page can look back: ten minutes, about 100 KB. Whoever opens it because something has just happened sees how it
/// began; for more there is Prometheus.
pub const HISTORY_SAMPLES: usize = 600;

/// Most machines that the page draws.
pub const PAGE_MACHINES_MAX: usize = 50;

/// Most identities of the access file that have a series each. Others are counted together.
pub const IDENTITY_SERIES_MAX: usize = 200;

// The disk.

/// How far ahead of the system's clock the time of a store must be at a start to be logged. Clocks that are kept by NTP
/// differ by less from one start to the next.
pub const CLOCK_AHEAD_MIN: Duration = Duration::from_secs(1);

/// By how much the system's clock must be set while a server runs to be logged. NTP corrects less without a step.
pub const CLOCK_STEP_MIN: Duration = Duration::from_secs(1);

/// Revisions that are skipped after a process did not end in order. More than [`UNSYNCED_OPERATIONS_MAX`], the most
/// that may have been applied and lost; some of them may have been reported with an unknown outcome, and must not be
/// used twice.
pub const REVISIONS_SKIPPED: i64 = 1 << 24;

/// Revisions that are skipped after such an end if changes were answered before they were on disk, and after a restore.
/// More than a server uses in the days between a backup and its restore, and few enough to be skipped millions of
/// times.
pub const REVISIONS_SKIPPED_UNSYNCED: i64 = 1 << 40;

/// How often the free space on the disk is checked.
pub const SPACE_INTERVAL: Duration = Duration::from_secs(1);

/// How often it is checked while there is little, so that refusals name the present figures.
pub const LITTLE_SPACE_INTERVAL: Duration = Duration::from_millis(100);

/// Bytes of free space, beyond what must be free, above which writers cannot use it all up between two checks: four times
/// [`UNSYNCED_BYTES_MAX`], because one batch is being written, another one waits, and pages may be half empty. Below, the
/// space is checked after fewer bytes, and fewer bytes of changes may wait.
pub const MUCH_SPACE_BYTES: u64 = 4 * UNSYNCED_BYTES_MAX as u64;

/// Bytes of changes that may wait for the disk however little space there is: so deletes always go on.
pub const UNSYNCED_BYTES_MIN: usize = 64 * KIB;

/// Bytes of the file `reserve`, which is given up when the disk is full: for the records of the write-ahead log, which take
/// up to twice their size in the storage engine, and for a snapshot of a small state. So a start needs no free space, and
/// deletes of some ten thousand keys go on.
pub const RESERVE_BYTES: u64 = 2 * WAL_BYTES_MAX + MIB as u64;

/// Bytes beyond the state's own needs that files may keep on a disk with little space before a snapshot is made to have them
/// back. A small snapshot and a small log take less.
pub const SHRINK_SLACK_BYTES: u64 = 4 * MIB as u64;

/// Most bytes of the write-ahead log, which is written before the storage engine. A thousand of the smallest commits
/// fit between two transactions of the engine; each transaction delays the next commit by a millisecond or two. Reading
/// the whole log at a start takes a few milliseconds more.
pub const WAL_BYTES_MAX: u64 = 4 * MIB as u64;

/// TLS handshakes of a thread that go on before the thread's other tasks have had their turn. A handshake with certificates of
/// both sides takes about 0.4 ms, in two steps, and calls wait for that long a time.
pub const HANDSHAKE_STEPS_AT_ONCE: usize = 1;
