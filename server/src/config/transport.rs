//! Threads, and limits on connections and HTTP/2.

use std::time::Duration;

use clap::{Args, value_parser};

use super::parse::{KIB, MIB, bytes, duration, number};

/// Limits on threads, connections and HTTP/2.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Threads and connections")]
pub struct TransportLimits {
    /// What serves HTTP/2. For tests alone: hidden, because it is no flag of the server that is shipped.
    #[cfg(feature = "hyper")]
    #[arg(
        long,
        value_name = "NAME",
        env = "SOLOIST_TRANSPORT",
        default_value = "own",
        hide = true
    )]
    pub transport: super::Transport,
    /// Threads that serve connections. The owner runs on the first. 0: one per core.
    #[arg(long, value_name = "N", env = "SOLOIST_THREADS", default_value_t = Self::DEFAULT.threads,
          value_parser = number(0, 1024))]
    pub threads: usize,
    /// Most open connections. Further ones wait in the listener's backlog. The process's limit on open files lowers
    /// this, less a few files for the server itself.
    #[arg(long, value_name = "N", env = "SOLOIST_MAX_CONNECTIONS", default_value_t = Self::DEFAULT.max_connections,
          value_parser = number(1, MIB))]
    pub max_connections: usize,
    /// Most calls and streams open at once on one connection (HTTP/2 MAX_CONCURRENT_STREAMS). At the limit, clients
    /// wait or open another connection.
    #[arg(long, value_name = "N", env = "SOLOIST_MAX_STREAMS", default_value_t = Self::DEFAULT.max_streams,
          value_parser = value_parser!(u32).range(1..=65_536))]
    pub max_streams: u32,
    /// Largest header list of a call, in bytes.
    #[arg(long, value_name = "BYTES", env = "SOLOIST_MAX_HEADER_BYTES", default_value_t = Self::DEFAULT.max_header_bytes,
          value_parser = bytes::<u32>(1_024..=1_048_576))]
    pub max_header_bytes: u32,
    /// HTTP/2 window of one stream, in bytes: how much a client may send before the server has read it.
    #[arg(long, value_name = "BYTES", env = "SOLOIST_STREAM_WINDOW_BYTES", default_value_t = Self::DEFAULT.stream_window_bytes,
          value_parser = bytes::<u32>(16_384..=16_777_216))]
    pub stream_window_bytes: u32,
    /// HTTP/2 window of one connection, in bytes: how much all its streams together may have in memory unread.
    #[arg(long, value_name = "BYTES", env = "SOLOIST_CONNECTION_WINDOW_BYTES",
          default_value_t = Self::DEFAULT.connection_window_bytes,
          value_parser = bytes::<u32>(65_535..=134_217_728))]
    pub connection_window_bytes: u32,
    /// How long a new connection may take to send the HTTP/2 preface. Then it is closed.
    #[arg(long, value_name = "TIME", env = "SOLOIST_PREFACE_TIMEOUT", default_value = "5s", value_parser = duration)]
    pub preface_timeout: Duration,
    /// How long a connection may be silent before it is pinged, to find peers that are gone.
    #[arg(long, value_name = "TIME", env = "SOLOIST_KEEPALIVE_INTERVAL", default_value = "30s", value_parser = duration)]
    pub keepalive_interval: Duration,
    /// How long the answer to a ping may take. Then the connection is closed.
    #[arg(long, value_name = "TIME", env = "SOLOIST_KEEPALIVE_TIMEOUT", default_value = "10s", value_parser = duration)]
    pub keepalive_timeout: Duration,
    /// A connection without any call is closed after this time, even if it answers pings; clients connect again when they
    /// need to. While the limit of connections is reached, it is closed after 5 s.
    #[arg(long, value_name = "TIME", env = "SOLOIST_IDLE_TIMEOUT", default_value = "30m", value_parser = duration)]
    pub idle_timeout: Duration,
    /// While three quarters of --max-client-bytes are used, a connection must read an eighth of what waits for it within
    /// this time. Otherwise it is closed.
    #[arg(long, value_name = "TIME", env = "SOLOIST_UNREAD_TIMEOUT", default_value = "5s", value_parser = duration)]
    pub unread_timeout: Duration,
    /// How long open calls may take to finish after SIGTERM or SIGINT. Then their connections are closed.
    #[arg(long, value_name = "TIME", env = "SOLOIST_DRAIN_TIMEOUT", default_value = "10s", value_parser = duration)]
    pub drain_timeout: Duration,
}

impl TransportLimits {
    /// The defaults.
    pub const DEFAULT: Self = Self {
        #[cfg(feature = "hyper")]
        transport: super::Transport::Own,
        threads: 0,
        max_connections: 10_000,
        max_streams: 256,
        max_header_bytes: 16 * KIB as u32,
        stream_window_bytes: 64 * KIB as u32,
        connection_window_bytes: MIB as u32,
        preface_timeout: Duration::from_secs(5),
        keepalive_interval: Duration::from_secs(30),
        keepalive_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_secs(30 * 60),
        unread_timeout: Duration::from_secs(5),
        drain_timeout: Duration::from_secs(10),
    };
}

impl Default for TransportLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
