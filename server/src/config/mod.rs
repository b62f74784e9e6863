//! Every limit of the server, with its unit, default and reason. Nothing in the server grows without a limit.
//!
//! Each field of [`Config`] is a flag and an environment variable of `soloist-server`, and its comment is what `--help`
//! prints. `fixed.rs` has the limits without a flag.

mod access;
mod cluster;
mod fixed;
#[cfg(feature = "hyper")]
mod hyper;
mod limits;
mod log;
mod parse;
mod storage;
mod tls;
mod transport;

use std::fmt;

use clap::Args;

use crate::machine::Operation;

pub use access::{AccessConfig, Reflection};
pub(crate) use cluster::check_endpoints;
pub use cluster::{
    Advertise, CLUSTER_NAME_BYTES_MAX, ClusterConfig, ClusterName, ETCD_ENDPOINTS_MAX,
    ETCD_PASSWORD, ETCD_QUOTA_SPARE, EtcdLogin, EtcdUrl, Forward,
};
pub use fixed::*;
#[cfg(feature = "hyper")]
pub use hyper::Transport;
pub use limits::{Limits, MailboxLimits};
pub use log::LogConfig;
pub use storage::{Durability, StorageConfig};
pub use tls::{ClientAuth, TlsConfig, TlsVersion};
pub use transport::TransportLimits;

use parse::{KIB, MESSAGE_LIMIT_MAX};

/// All settings of a server.
#[derive(Clone, Debug, Default, Args)]
pub struct Config {
    /// Limits on calls and on the store.
    #[command(flatten)]
    pub limits: Limits,
    /// Limits on the owner's mailbox.
    #[command(flatten)]
    pub mailbox: MailboxLimits,
    /// Threads, and limits on connections.
    #[command(flatten)]
    pub transport: TransportLimits,
    /// Certificates.
    #[command(flatten)]
    pub tls: TlsConfig,
    /// Identities and rights.
    #[command(flatten)]
    pub access: AccessConfig,
    /// Whether and how the state is kept on disk.
    #[command(flatten)]
    pub storage: StorageConfig,
    /// Whether this server is a node of a cluster.
    #[command(flatten)]
    pub cluster: ClusterConfig,
    /// What is logged of calls.
    #[command(flatten)]
    pub log: LogConfig,
}

/// A limit that is out of range, or contradicts another limit.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError(String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Checks each limit's range, and that the limits fit together: an entry must fit into a message, and a message
    /// into the mailbox.
    ///
    /// # Errors
    /// The first limit that does not fit, with its flag, its value and the values allowed.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.check_ranges()?;
        self.check_fit()?;
        self.tls.validate()?;
        self.access.validate()?;
        self.cluster.validate(self)
    }

    fn check_ranges(&self) -> Result<(), ConfigError> {
        let Self {
            limits,
            mailbox,
            transport,
            tls: _,
            access: _,
            storage: _,
            cluster: _,
            log: _,
        } = self;
        // clap checks flags already, but a program that embeds a server sets the fields directly.
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
        Ok(())
    }

    fn check_fit(&self) -> Result<(), ConfigError> {
        let limits = &self.limits;
        let entry_bytes = limits.max_key_bytes + limits.max_value_bytes;
        at_least(
            "max-message-bytes",
            limits.max_message_bytes,
            // 1 KiB for the tags, lengths and revisions around one key and one value.
            entry_bytes + KIB,
            "--max-key-bytes, --max-value-bytes and 1 KiB for the rest of the message",
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
            "max-client-bytes",
            limits.max_client_bytes,
            // A connection gets at most as much as it leaves to the others.
            2 * limits.max_unread_bytes,
            "twice --max-unread-bytes",
        )?;
        at_least(
            "watch-ring-bytes",
            limits.watch_ring_bytes,
            // A whole batch must fit into the history, or no watch would ever see it.
            2 * limits.max_batch_bytes + limits.max_batch_ops * KIB,
            "twice --max-batch-bytes, and 1 KiB for each of --max-batch-ops",
        )?;
        at_least(
            "mailbox-bytes",
            self.mailbox.bytes,
            limits.max_message_bytes + limits.max_batch_ops * size_of::<Operation>(),
            "--max-message-bytes and the memory of --max-batch-ops operations",
        )
    }
}

/// Refuses flag `name` if its value is less than `needed`, which is the sum of `parts`.
fn at_least(name: &str, actual: usize, needed: usize, parts: &str) -> Result<(), ConfigError> {
    if actual >= needed {
        return Ok(());
    }
    Err(ConfigError(format!(
        "--{name} is {actual}, but must be at least {needed}: {parts}"
    )))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::parse::MIB;
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
