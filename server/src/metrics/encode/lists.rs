//! The list of series that every server has: their names, and what they mean. docs/metrics.md has them, too.

use std::fmt;

use super::series::{Series, family, label};
use crate::metrics::calls::{CODES, MethodRow, OK};
use crate::metrics::cells::seconds;
use crate::metrics::snapshot::{JournalSum, OwnerSum, Snapshot};

impl Series<'_> {
    pub(super) fn calls(&mut self, snapshot: &Snapshot) -> fmt::Result {
        let all = &snapshot.calls;
        let labels = |row: &'static MethodRow| {
            [
                ("grpc_service", row.service),
                ("grpc_method", row.method),
                ("grpc_type", row.kind.label()),
            ]
        };
        self.counters(
            family("grpc_server_started", "gRPC calls that have begun."),
            all.iter().map(|sum| (labels(sum.row), sum.started)),
        )?;
        self.counters(
            family(
                "grpc_server_handled",
                "gRPC calls that have ended, by their code. A call whose client left first has the code Canceled.",
            ),
            all.iter().flat_map(|sum| {
                let [service, method, kind] = labels(sum.row);
                let codes = CODES.iter().zip(sum.handled).enumerate();
                codes
                    .filter(move |(code, (_, count))| *count > 0 || *code == OK)
                    .map(move |(_, (name, count))| {
                        ([service, method, kind, ("grpc_code", *name)], count)
                    })
            }),
        )?;
        self.times_of(
            family(
                "grpc_server_handling",
                "Seconds from the headers of a gRPC call to its answer, or to the end of a stream. Only methods that were called.",
            ),
            all.iter()
                .filter(|sum| sum.started > 0)
                .map(|sum| (labels(sum.row), &sum.handling)),
        )?;
        self.counters(
            family(
                "soloist_refusals",
                "Errors that clients were sent, of calls and of operations and frames in streams, by the reason in ErrorInfo.",
            ),
            snapshot
                .refusals
                .iter()
                .map(|(reason, count)| (label("reason", reason), *count)),
        )
    }

    pub(super) fn owner(&mut self, owner: &OwnerSum) -> fmt::Result {
        self.counters(
            family(
                "soloist_operations",
                "Operations that the owner has done (ok) or refused, each of a frame by itself. All of an atomic frame that is refused are.",
            ),
            owner.operations.iter().flat_map(|(name, ok, refused)| {
                [("ok", *ok), ("refused", *refused)].map(|(result, count)| {
                    ([("operation", *name), ("result", result)], count)
                })
            }),
        )?;
        self.counter(
            family(
                "soloist_owner_busy",
                "Seconds that the owner worked. Near 1 a second it is the limit.",
            )
            .seconds(),
            seconds(owner.busy_nanos),
        )?;
        self.counter(
            family(
                "soloist_owner_messages",
                "Messages that the owner has taken from its mailbox.",
            ),
            owner.messages,
        )?;
        self.counter(
            family(
                "soloist_owner_batches",
                "Times that the owner has woken up, for messages or for what is due.",
            ),
            owner.batches,
        )?;
        self.times(
            family(
                "soloist_mailbox_wait",
                "Seconds that messages waited in the owner's mailbox: one of 64 is measured.",
            ),
            &owner.mailbox_wait,
        )?;
        self.counters(
            family(
                "soloist_ended",
                "Keys that have ended because of their ttl (expired) or their session (session_ended), or moved on after a timeout (timed_out).",
            ),
            owner.ended.iter().map(|(cause, count)| (label("cause", cause), *count)),
        )?;
        self.counter(
            family(
                "soloist_watch_events",
                "Changes and initial entries that watches were sent.",
            ),
            owner.watch_events,
        )?;
        self.counter(
            family(
                "soloist_watch_lagged",
                "Watches that ended because they fell behind the history of changes.",
            ),
            owner.watches_lagged,
        )
    }

    pub(super) fn store(&mut self, snapshot: &Snapshot) -> fmt::Result {
        let owner = &snapshot.owner;
        for (name, help, value) in [
            ("soloist_revision", "The store revision.", owner.revision),
            (
                "soloist_durable_revision",
                "The revision up to which all changes may be shown: with --durability sync they are on disk.",
                owner.durable_revision,
            ),
            (
                "soloist_oldest_revision",
                "The revision after which a watch can begin: every later change is in the history.",
                owner.oldest_revision,
            ),
            ("soloist_keys", "Keys that exist.", owner.keys),
            (
                "soloist_sessions",
                "Sessions that are live.",
                owner.sessions,
            ),
            (
                "soloist_machines",
                "Machines that are defined.",
                owner.machines,
            ),
            ("soloist_watches", "Watches that are open.", owner.watches),
            (
                "soloist_request_ids",
                "Values of request_id that are remembered, with their answers.",
                owner.request_ids,
            ),
        ] {
            self.gauge(family(name, help), value)?;
        }
        self.gauge(
            family(
                "soloist_store",
                "Bytes that count towards --max-store-bytes.",
            )
            .bytes(),
            owner.store_bytes,
        )?;
        if let Some(limits) = snapshot.limits {
            self.gauge(
                family(
                    "soloist_store_bytes_limit",
                    "The limit of the store in bytes, --max-store-bytes.",
                ),
                limits.store_bytes,
            )?;
            self.gauge(
                family(
                    "soloist_mailbox_messages_limit",
                    "Most messages in the mailbox, --mailbox-messages.",
                ),
                limits.mailbox_messages,
            )?;
            if let Some(min_free_bytes) = limits.min_free_bytes {
                self.gauge(
                    family(
                        "soloist_disk_free_bytes_min",
                        "The free bytes of the disk below which changes except deletes are refused, --min-free-bytes.",
                    ),
                    min_free_bytes,
                )?;
            }
        }
        if let Some(mailbox) = snapshot.mailbox {
            self.gauge(
                family(
                    "soloist_mailbox_messages",
                    "Messages that wait in the owner's mailbox now.",
                ),
                mailbox.messages,
            )?;
            self.gauge(
                family(
                    "soloist_mailbox",
                    "Bytes of the messages that wait in the owner's mailbox now.",
                )
                .bytes(),
                mailbox.bytes,
            )?;
        }
        self.gauges(
            family(
                "soloist_keys_in_state",
                "Keys in each state of each machine: 2000 states at most, of the machines whose names come first.",
            ),
            snapshot.keys_in_state.iter().map(|keys| {
                let labels = [
                    ("machine", keys.machine.as_str()),
                    ("state", keys.state.as_str()),
                ];
                (labels, keys.keys as f64)
            }),
        )
    }

    pub(super) fn journal(&mut self, journal: &JournalSum, owner: &OwnerSum) -> fmt::Result {
        self.times(
            family(
                "soloist_commit_duration",
                "Seconds that a commit took, from when the journal had its changes to when they were written and, with --durability sync, on disk.",
            ),
            &journal.commits,
        )?;
        self.counter(
            family(
                "soloist_commit",
                "Bytes of the records that were committed.",
            )
            .bytes(),
            journal.commit_bytes,
        )?;
        self.counter(
            family(
                "soloist_commit_operations",
                "Effects of operations that were committed.",
            ),
            journal.commit_operations,
        )?;
        self.times_of(
            family(
                "soloist_fsync_duration",
                "Seconds that a sync of a file of the data directory took (fdatasync).",
            ),
            journal
                .syncs
                .iter()
                .map(|(file, times)| (label("file", file), times)),
        )?;
        self.gauge(
            family(
                "soloist_unsynced_operations",
                "Effects of operations that are applied and not committed yet.",
            ),
            owner.unsynced_operations,
        )?;
        self.gauge(
            family(
                "soloist_log",
                "Bytes of the records since the last snapshot.",
            )
            .bytes(),
            journal.log_bytes,
        )?;
        self.gauge(
            family(
                "soloist_disk_free",
                "Free bytes of the disk of the data directory.",
            )
            .bytes(),
            journal.disk_free_bytes,
        )?;
        self.times(
            family("soloist_snapshot_duration", "Seconds that a snapshot took."),
            &journal.snapshots,
        )?;
        self.gauge_seconds(
            family(
                "soloist_snapshot_timestamp",
                "When the last snapshot was complete, in seconds since 1970; 0 before the first since the start.",
            ),
            journal.snapshot_at_nanos,
        )?;
        self.counter(
            family(
                "soloist_snapshot_failures",
                "Snapshots that could not be written. They are tried again.",
            ),
            journal.snapshot_failures,
        )
    }

    pub(super) fn server(&mut self, snapshot: &Snapshot) -> fmt::Result {
        let server = &snapshot.server;
        self.gauge_seconds(
            family(
                "soloist_backup_timestamp",
                "When the last backup was handed over completely, in seconds since 1970; 0 before the first since the start.",
            ),
            server.backup_at_nanos,
        )?;
        self.gauge_seconds(
            family(
                "soloist_start",
                "Seconds that the start took, with the recovery; 0 while it goes on.",
            ),
            server.start_nanos,
        )?;
        self.gauge(
            family(
                "soloist_connections",
                "Connections of gRPC clients that are open.",
            ),
            snapshot.connections,
        )?;
        self.counter(
            // The word "total" is added to the name of a counter.
            family(
                "soloist_connections",
                "Connections of gRPC clients that were accepted.",
            ),
            server.connections_total,
        )?;
        self.counter(
            family(
                "soloist_connection_moves",
                "How often a connection of a gRPC client went to another thread.",
            ),
            server.connection_moves,
        )?;
        self.counter(
            family(
                "soloist_tls_handshake_failures",
                "TLS handshakes with gRPC clients that failed.",
            ),
            server.handshake_failures,
        )?;
        self.gauges(
            family(
                "soloist_certificate_expiry_timestamp",
                "When certificates end, the first of each use, in seconds since 1970.",
            )
            .seconds(),
            snapshot
                .certificates
                .iter()
                .map(|certificate| (label("use", certificate.used_as), certificate.ends as f64)),
        )?;
        self.counter(
            family(
                "soloist_auth_failures",
                "Calls that were refused because their caller is not known.",
            ),
            server.auth_failures,
        )?;
        self.counters(
            family(
                "soloist_permission_denied",
                "Refusals for want of a right, by identity of the access file: 200 identities at most, and the rest as (other).",
            ),
            server
                .denied
                .iter()
                .map(|(identity, count)| (label("identity", identity), *count)),
        )?;
        self.gauges(
            family(
                "soloist_reload_success",
                "1 if the files could be used when they were last looked at, otherwise 0.",
            ),
            snapshot
                .reloads
                .iter()
                .map(|it| (label("what", it.what), f64::from(u8::from(it.success)))),
        )?;
        self.gauges(
            family(
                "soloist_reload_timestamp",
                "When the files in use were read, in seconds since 1970.",
            )
            .seconds(),
            snapshot
                .reloads
                .iter()
                .map(|it| (label("what", it.what), seconds(it.at_nanos))),
        )?;
        self.counter(
            family(
                "soloist_log_lines_dropped",
                "Log lines that were dropped because nothing took them.",
            ),
            snapshot.log_lines_dropped,
        )?;
        self.gauges(
            family("soloist_build_info", "1, with the version of the server."),
            [(label("version", env!("CARGO_PKG_VERSION")), 1.0)],
        )
    }

    pub(super) fn process(&mut self, snapshot: &Snapshot) -> fmt::Result {
        let process = &snapshot.process;
        self.counter(
            family("process_cpu", "User and system CPU time in seconds.").seconds(),
            process.cpu.as_secs_f64(),
        )?;
        self.gauge(
            family("process_resident_memory", "Resident memory in bytes.").bytes(),
            process.resident_bytes,
        )?;
        self.gauge(
            family("process_virtual_memory", "Virtual memory in bytes.").bytes(),
            process.virtual_bytes,
        )?;
        self.gauge(family("process_threads", "Threads."), process.threads)?;
        self.gauge(
            family("process_open_fds", "Open file descriptors."),
            process.open_fds,
        )?;
        self.gauge(
            family("process_max_fds", "Most open file descriptors."),
            process.max_fds,
        )?;
        self.gauge_seconds(
            family(
                "process_start_time",
                "When the process started, in seconds since 1970.",
            ),
            u64::try_from(process.started_at.as_nanos()).unwrap_or(u64::MAX),
        )
    }
}
