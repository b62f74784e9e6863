//! What a run is to do: the arguments with every default filled in, checked against each other.

use std::num::NonZero;
use std::time::Duration;

use serde::{Serialize, Serializer};
use soloist::v1::Limits;

use super::args::{Args, Engine, KeyDist};

/// Streams that a server allows on one connection by default (`soloist-server --max-streams`).
const STREAMS_PER_CONNECTION: u64 = 256;

/// How long a run measures if nothing says when to stop: as long as the seed.
const DURATION: Duration = Duration::from_secs(1);

/// How long an answer is waited for if nothing says so: what servers allow by default.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Everything that shapes a run. The report prints it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Settings {
    pub(crate) readers: u64,
    pub(crate) writers: u64,
    #[serde(rename = "duration_seconds", serialize_with = "optional_seconds")]
    pub(crate) duration: Option<Duration>,
    pub(crate) requests: Option<u64>,
    #[serde(rename = "warmup_seconds", serialize_with = "seconds")]
    pub(crate) warmup: Duration,
    pub(crate) keys: u64,
    #[serde(serialize_with = "text")]
    pub(crate) key_dist: KeyDist,
    pub(crate) value_size: Option<u64>,
    pub(crate) engine: Engine,
    pub(crate) pipeline: u64,
    pub(crate) frame_ops: u64,
    pub(crate) connections: u64,
    pub(crate) threads: u64,
    /// What is sent with each operation, if anything.
    #[serde(rename = "timeout_seconds", serialize_with = "optional_seconds")]
    pub(crate) timeout: Option<Duration>,
    #[serde(rename = "connect_timeout_seconds", serialize_with = "seconds")]
    pub(crate) connect_timeout: Duration,
    #[serde(skip)]
    pub(crate) seed: u64,
}

impl Settings {
    /// Fills in the defaults. The error names the flags that contradict each other.
    pub(crate) fn new(args: &Args) -> Result<Self, String> {
        let workers = args.readers + args.writers;
        if workers == 0 {
            return Err("--readers 0 and --writers 0: at least one worker is needed".to_owned());
        }
        if args.engine == Engine::Unary && args.frame_ops > 1 {
            return Err(format!(
                "--frame-ops {} with --engine unary: a call carries 1 operation",
                args.frame_ops
            ));
        }

        if args.engine == Engine::Unary && args.pipeline > STREAMS_PER_CONNECTION {
            return Err(format!(
                "--pipeline {} with --engine unary: each call is a stream, and a connection has {STREAMS_PER_CONNECTION}",
                args.pipeline
            ));
        }

        let streams_per_worker = match args.engine {
            Engine::Unary => args.pipeline,
            Engine::Pipeline => 1,
        };
        let connections_needed = (workers * streams_per_worker).div_ceil(STREAMS_PER_CONNECTION);
        if let Some(connections) = args.connections {
            if connections < connections_needed {
                return Err(format!(
                    "--connections {connections}: {} streams need at least {connections_needed}, at \
                     {STREAMS_PER_CONNECTION} streams per connection",
                    workers * streams_per_worker
                ));
            }
            if let Some(threads) = args.threads
                && threads > connections
            {
                return Err(format!(
                    "--threads {threads} with --connections {connections}: each thread needs a connection of its own"
                ));
            }
        }
        // A connection belongs to one thread, and a worker to one connection.
        // One for each thread, if 256 streams are enough: a single connection keeps one thread of the server busy and
        // the others idle, and with every further one a system call carries less. Measured with the seed's workload.
        let threads = args
            .threads
            .unwrap_or_else(|| cores().min(args.connections.unwrap_or(u64::MAX)))
            .min(workers);
        let connections = args
            .connections
            .unwrap_or_else(|| connections_needed.next_multiple_of(threads));

        Ok(Self {
            readers: args.readers,
            writers: args.writers,
            duration: match args.requests {
                None => Some(args.duration.unwrap_or(DURATION)),
                Some(_) => args.duration,
            },
            requests: args.requests,
            warmup: args.warmup,
            keys: args.keys,
            key_dist: args.key_dist,
            value_size: args.value_size,
            engine: args.engine,
            pipeline: args.pipeline,
            frame_ops: args.frame_ops,
            connections: connections.min(workers),
            threads,
            timeout: args.timeout,
            connect_timeout: args.connect_timeout,
            // 32 bits, so that every reader of the JSON report can hold it exactly.
            seed: args
                .seed
                .unwrap_or_else(|| u64::from(rand::random::<u32>())),
        })
    }

    /// Checks what the server would refuse every time.
    pub(crate) fn check(&self, limits: &Limits) -> Result<(), String> {
        let beyond = |flag: &str, actual: u64, limit: i32, what: &str| {
            Err(format!(
                "{flag} {actual}: the server allows at most {limit} {what}"
            ))
        };
        let at_most = |limit: i32| u64::try_from(limit).unwrap_or(0);
        if let Some(size) = self.value_size
            && size > at_most(limits.max_value_bytes)
        {
            return beyond(
                "--value-size",
                size,
                limits.max_value_bytes,
                "bytes in a value",
            );
        }
        if self.frame_ops > at_most(limits.max_batch_ops) {
            let limit = limits.max_batch_ops;
            return beyond(
                "--frame-ops",
                self.frame_ops,
                limit,
                "operations in a frame",
            );
        }
        let message_bytes = self.message_bytes();
        if self.writers > 0 && message_bytes > at_most(limits.max_message_bytes) {
            let value_size = match self.value_size {
                Some(size) => format!("--value-size {size}"),
                None => "no --value-size".to_owned(),
            };
            return Err(format!(
                "--frame-ops {} with {value_size}: a frame of writes takes up to {message_bytes} bytes, the server \
                 allows at most {} in a message",
                self.frame_ops, limits.max_message_bytes
            ));
        }
        if self.engine == Engine::Pipeline && self.pipeline > at_most(limits.max_frames_in_flight) {
            let limit = limits.max_frames_in_flight;
            return beyond(
                "--pipeline",
                self.pipeline,
                limit,
                "frames in flight on a stream",
            );
        }
        Ok(())
    }

    /// Encoded bytes of the largest frame of writes, but for the few of its timeout.
    fn message_bytes(&self) -> u64 {
        // Each field has one byte of number and type, and what is nested its length.
        let nested = |bytes: u64| 1 + varint_bytes(bytes) + bytes;
        let key = nested((self.keys - 1).to_string().len() as u64);
        // Without a size, an int below 128.
        let value = self.value_size.map_or(2, nested);
        let write = key + nested(value);
        let op = nested(write);
        self.frame_ops * nested(op)
    }

    pub(crate) fn workers(&self) -> u64 {
        self.readers + self.writers
    }

    /// How long an answer is waited for.
    pub(crate) fn patience(&self) -> Duration {
        self.timeout.unwrap_or(TIMEOUT)
    }
}

fn cores() -> u64 {
    std::thread::available_parallelism().map_or(1, NonZero::get) as u64
}

fn varint_bytes(number: u64) -> u64 {
    u64::from(number.checked_ilog2().unwrap_or(0) / 7 + 1)
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

fn optional_seconds<S: Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    duration
        .map(|duration| duration.as_secs_f64())
        .serialize(serializer)
}

fn text<T: ToString, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&value.to_string())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn settings(line: &str) -> Result<Settings, String> {
        let words = std::iter::once("soloist-load").chain(line.split_whitespace());
        Settings::new(&Args::try_parse_from(words).unwrap())
    }

    #[test]
    fn without_arguments_it_is_the_seed() {
        let seed = settings("").unwrap();
        assert_eq!((seed.readers, seed.writers, seed.keys), (100, 10, 5));
        assert_eq!(seed.duration, Some(Duration::from_secs(1)));
        assert_eq!(
            (seed.engine, seed.pipeline, seed.frame_ops),
            (Engine::Pipeline, 1, 1)
        );
    }

    #[test]
    fn a_count_alone_sets_no_time() {
        assert_eq!(settings("-n 5").unwrap().duration, None);
        let both = settings("-n 5 -z 2s").unwrap();
        assert_eq!(
            (both.requests, both.duration),
            (Some(5), Some(Duration::from_secs(2)))
        );
    }

    #[test]
    fn threads_and_connections_fit_the_workers() {
        let cases = [
            // readers, flags, threads, connections
            (1_000, "-t 3", 3, 6),
            (1_000, "-t 2", 2, 4),
            (1, "-t 8", 1, 1),
            (512, "-t 1", 1, 2),
            (10, "-t 2 --connections 5", 2, 5),
            (100, "-t 1 --engine unary -P 16", 1, 7),
        ];
        for (readers, flags, threads, connections) in cases {
            let line = format!("--readers {readers} --writers 0 {flags}");
            let settings = settings(&line).unwrap();
            assert_eq!(
                (settings.threads, settings.connections),
                (threads, connections),
                "{line}"
            );
        }
        assert_eq!(settings("--connections 1").unwrap().threads, 1);
    }

    #[test]
    fn contradictions_name_the_flags() {
        let cases = [
            ("--readers 0 --writers 0", "--readers 0 and --writers 0"),
            (
                "--engine unary --frame-ops 2",
                "--frame-ops 2 with --engine unary",
            ),
            (
                "--engine unary -P 257",
                "--pipeline 257 with --engine unary",
            ),
            (
                "--connections 1 --readers 300",
                "--connections 1: 310 streams need at least 2",
            ),
            ("--connections 1 -t 2", "--threads 2 with --connections 1"),
        ];
        for (line, part) in cases {
            let error = settings(line).unwrap_err();
            assert!(error.contains(part), "{line}: {error}");
        }
    }

    #[test]
    fn the_limits_of_the_server_are_named() {
        let limits = Limits {
            max_value_bytes: 10,
            max_batch_ops: 20,
            max_frames_in_flight: 30,
            max_message_bytes: 450,
            ..Limits::default()
        };
        let cases = [
            (
                "--value-size 11",
                "--value-size 11: the server allows at most 10",
            ),
            (
                "--frame-ops 21",
                "--frame-ops 21: the server allows at most 20",
            ),
            ("-P 31", "--pipeline 31: the server allows at most 30"),
            (
                "--value-size 10 --frame-ops 20 --keys 10k",
                "--frame-ops 20 with --value-size 10: a frame of writes takes up to 480 bytes, the server allows at \
                 most 450 in a message",
            ),
        ];
        for (line, part) in cases {
            let error = settings(line).unwrap().check(&limits).unwrap_err();
            assert!(error.contains(part), "{line}: {error}");
        }
        for line in [
            "--value-size 10 --frame-ops 20 -P 30",
            "--value-size 10 --frame-ops 20 --keys 10k --writers 0",
        ] {
            let within = settings(line).unwrap();
            assert_eq!(within.check(&limits), Ok(()), "{line}");
        }
    }

    #[test]
    fn a_varint_takes_a_byte_for_each_seven_bits() {
        let cases = [
            (0, 1),
            (127, 1),
            (128, 2),
            (16_383, 2),
            (16_384, 3),
            (u64::MAX, 10),
        ];
        for (number, bytes) in cases {
            assert_eq!(varint_bytes(number), bytes, "{number}");
        }
    }
}
