//! What a run is to do: the arguments with every default filled in, checked against each other.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::time::Duration;

use clap::Parser as _;
use serde_json::{Value, json};
use soloist::v1::Limits;

use crate::command_line::args::{
    DurationStop, Engine, KeyDist, Part, RunArgs, ValueKind, value_name,
};
use crate::plan::open_loop::OpenLoop;
use crate::workload::generator::{DISTINCT_BYTES_MIN, Plot, Script};

/// Streams that a server allows on one connection by default (`soloist-server --max-streams`).
const STREAMS_PER_CONNECTION: u64 = 256;

/// How long a run measures if nothing says when to stop: as long as the seed.
const DURATION: Duration = Duration::from_secs(1);

/// How long an answer is waited for if nothing says so: what servers allow by default.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The seed's readers and writers, and as many workers for any other workload.
const READERS: u64 = 100;
const WRITERS: u64 = 10;
/// The seed's keys.
const KEYS: u64 = 5;
/// Keys and bytes of a value in YCSB's own workload files: 1,000 records of 10 fields of 100 bytes.
const YCSB_KEYS: u64 = 1_000;
const YCSB_VALUE_BYTES: u64 = 1_000;
/// Watches that are opened if nothing says how many.
const WATCHERS: u64 = 10;

/// Everything that shapes a run. The report prints it.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) plot: Plot,
    /// Workers that are neither readers nor writers alone.
    concurrency: u64,
    pub(crate) watchers: u64,
    pub(crate) duration: Option<Duration>,
    pub(crate) requests: Option<u64>,
    pub(crate) warmup: Duration,
    pub(crate) duration_stop: DurationStop,
    pub(crate) keys: u64,
    pub(crate) key_dist: KeyDist,
    pub(crate) value: ValueKind,
    /// Of texts and bytes.
    pub(crate) value_size: u64,
    pub(crate) distinct: bool,
    pub(crate) engine: Engine,
    pub(crate) pipeline: u64,
    pub(crate) frame_ops: u64,
    pub(crate) connections: u64,
    pub(crate) threads: u64,
    /// What is sent with each operation, if anything.
    pub(crate) timeout: Option<Duration>,
    pub(crate) connect_timeout: Duration,
    pub(crate) metadata: Vec<(String, String)>,
    pub(crate) open_loop: Option<OpenLoop>,
    pub(crate) interval: Duration,
    pub(crate) percentiles: Vec<f64>,
    pub(crate) verify: bool,
    /// Of several processes, which this is. Rates and counts are shared out; the rest each does whole.
    pub(crate) part: Part,
    pub(crate) seed: u64,
}

impl Settings {
    /// Fills in the defaults. The error names the flags that contradict each other.
    pub(crate) fn new(args: &RunArgs) -> Result<Self, String> {
        let what = &args.what;
        let open_loop = OpenLoop::new(args)?;
        let plot = match (what.workload, what.ratio) {
            (Some(script), _) => Plot::Script(script),
            (None, Some(ratio)) => Plot::Ratio(ratio),
            (None, None) => Plot::Seed {
                readers: what.readers.unwrap_or(READERS),
                writers: what.writers.unwrap_or(WRITERS),
            },
        };
        if plot
            == (Plot::Seed {
                readers: 0,
                writers: 0,
            })
        {
            return Err("--readers 0 and --writers 0: at least one worker is needed".to_owned());
        }
        if args.report.verify && plot == Plot::Script(Script::Renew) {
            return Err(
                "--verify with --workload renew: renewals read and change no key, and are answered without a revision, so there is no order to check; every other workload can be verified"
                    .to_owned(),
            );
        }
        if what.watchers.is_some() && plot != Plot::Script(Script::Watch) {
            return Err("--watchers: only --workload watch has any".to_owned());
        }
        let engine = args.how.engine.unwrap_or(match plot.needs_calls() {
            true => Engine::Unary,
            false => Engine::Pipeline,
        });
        let mut settings = Self {
            plot,
            concurrency: what.concurrency.unwrap_or(READERS + WRITERS),
            watchers: match plot {
                Plot::Script(Script::Watch) => what.watchers.unwrap_or(WATCHERS),
                _ => 0,
            },
            duration: match args.stop.requests {
                None => Some(args.stop.duration.unwrap_or(DURATION)),
                Some(_) => args.stop.duration,
            },
            requests: args.stop.requests.map(|all| {
                let Part { index, of } = what.part;
                all / of + u64::from(index < all % of)
            }),
            warmup: args.stop.warmup,
            duration_stop: args.stop.duration_stop,
            keys: KEYS,
            key_dist: KeyDist::Uniform,
            value: ValueKind::Int,
            value_size: 0,
            distinct: what.distinct || args.report.verify || !matches!(plot, Plot::Seed { .. }),
            engine,
            pipeline: args.how.pipeline,
            frame_ops: args.how.frame_ops,
            connections: 0,
            threads: 0,
            timeout: args.how.timeout,
            connect_timeout: args.how.connect_timeout,
            metadata: args.how.metadata.clone(),
            open_loop,
            interval: args.report.interval,
            percentiles: args.report.percentiles.clone(),
            verify: args.report.verify,
            part: what.part,
            // 32 bits, so that every reader of the JSON report can hold it exactly.
            seed: what
                .seed
                .unwrap_or_else(|| u64::from(rand::random::<u32>())),
        };
        if let Some(token) = &args.how.token {
            let bearer = ("authorization".to_owned(), format!("Bearer {token}"));
            settings.metadata.push(bearer);
        }
        if let Some(most) = args.stop.max_duration {
            settings.duration = Some(settings.duration.map_or(most, |of| of.min(most)));
        }
        settings.set_data(args)?;
        settings.set_shape(args)?;
        Ok(settings)
    }

    /// Keys and values.
    fn set_data(&mut self, args: &RunArgs) -> Result<(), String> {
        let what = &args.what;
        let ycsb_dist = match self.plot {
            Plot::Script(Script::D) => Some("latest"),
            Plot::Script(Script::A | Script::B | Script::C | Script::E | Script::F) => {
                Some("zipfian")
            }
            _ => None,
        };
        let is_ycsb = ycsb_dist.is_some();
        self.keys = what.keys.unwrap_or(if is_ycsb { YCSB_KEYS } else { KEYS });
        self.key_dist = match (what.key_dist, ycsb_dist) {
            (Some(dist), _) => dist,
            (None, Some(dist)) => dist.parse().expect("it is one"),
            (None, None) => KeyDist::Uniform,
        };
        let takes_ints = match self.plot {
            Plot::Script(Script::Mixed) => Some("--workload mixed"),
            Plot::Script(Script::Counter) => Some("--workload counter"),
            Plot::Script(Script::Watch) => Some("--workload watch"),
            _ => None,
        };
        if let Some(workload) = takes_ints {
            let other = match (what.value, what.value_size) {
                (Some(ValueKind::Text | ValueKind::Bytes), _) => Some("--value"),
                (_, Some(_)) => Some("--value-size"),
                _ => None,
            };
            if let Some(flag) = other {
                return Err(format!("{flag} with {workload}: it has ints"));
            }
            return Ok(());
        }
        let by_size = match what.value_size.is_some() || is_ycsb {
            true => ValueKind::Text,
            false => ValueKind::Int,
        };
        self.value = what.value.unwrap_or(by_size);
        self.value_size = match (self.value, what.value_size) {
            (ValueKind::Int, Some(size)) => {
                return Err(format!(
                    "--value-size {size} with --value int: ints have no size"
                ));
            }
            (ValueKind::Int, None) => 0,
            (_, Some(size)) => size,
            (_, None) if is_ycsb => YCSB_VALUE_BYTES,
            (_, None) => return Err("--value: texts and bytes need a --value-size".to_owned()),
        };
        if self.distinct
            && self.plot.writes()
            && self.value != ValueKind::Int
            && self.value_size < DISTINCT_BYTES_MIN
        {
            return Err(format!(
                "--value-size {}: distinct values need at least {DISTINCT_BYTES_MIN} bytes",
                self.value_size
            ));
        }
        Ok(())
    }

    /// Threads, connections, and what travels on them.
    fn set_shape(&mut self, args: &RunArgs) -> Result<(), String> {
        let engine = self.engine;
        let name = value_name(engine);
        if engine != Engine::Pipeline && self.frame_ops > 1 {
            return Err(format!(
                "--frame-ops {} with --engine {name}: a call carries 1 operation",
                self.frame_ops
            ));
        }
        if engine == Engine::Pipeline && self.plot.needs_calls() {
            return Err("--engine pipeline: this workload has calls that no frame carries; use unary or raw".to_owned());
        }
        if engine != Engine::Pipeline && self.pipeline > STREAMS_PER_CONNECTION {
            return Err(format!(
                "--pipeline {} with --engine {name}: each call is a stream, and a connection has {STREAMS_PER_CONNECTION}",
                self.pipeline
            ));
        }
        let workers = self.workers();
        let streams_per_worker = match engine {
            Engine::Unary | Engine::Raw => self.pipeline,
            Engine::Pipeline => 1,
        };
        let connections_needed = (workers * streams_per_worker).div_ceil(STREAMS_PER_CONNECTION);
        if let Some(connections) = args.how.connections {
            if connections < connections_needed {
                return Err(format!(
                    "--connections {connections}: {} streams need at least {connections_needed}, at \
                     {STREAMS_PER_CONNECTION} streams per connection",
                    workers * streams_per_worker
                ));
            }
            if let Some(threads) = args.how.threads
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
        self.threads = args
            .how
            .threads
            .unwrap_or_else(|| cores().min(args.how.connections.unwrap_or(u64::MAX)))
            .min(workers);
        let connections = args
            .how
            .connections
            .unwrap_or_else(|| connections_needed.next_multiple_of(self.threads));
        self.connections = connections.min(workers);
        Ok(())
    }

    /// Checks what the server would refuse every time.
    pub(crate) fn check(&self, limits: &Limits) -> Result<(), String> {
        let beyond = |flag: &str, actual: u64, limit: i32, what: &str| {
            Err(format!(
                "{flag} {actual}: the server allows at most {limit} {what}"
            ))
        };
        let at_most = |limit: i32| u64::try_from(limit).unwrap_or(0);
        if self.value_size > at_most(limits.max_value_bytes) {
            return beyond(
                "--value-size",
                self.value_size,
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
        if self.plot.writes() && message_bytes > at_most(limits.max_message_bytes) {
            let value_size = match self.value_size {
                0 => "no --value-size".to_owned(),
                size => format!("--value-size {size}"),
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
        let key = nested(self.plot.key_name(self.keys - 1).len() as u64);
        let value = match (self.value, self.distinct) {
            // An int below 128.
            (ValueKind::Int, false) => 2,
            (ValueKind::Int, true) => 11,
            _ => nested(self.value_size),
        };
        let write = key + nested(value);
        let op = nested(write);
        self.frame_ops * nested(op)
    }

    pub(crate) fn workers(&self) -> u64 {
        match self.plot {
            Plot::Seed { readers, writers } => readers + writers,
            Plot::Ratio(_) | Plot::Script(_) => self.concurrency,
        }
    }

    /// The number that a worker of this process has among those of all.
    pub(crate) fn number_of(&self, worker: u64) -> u64 {
        self.part.index * self.workers() + worker
    }

    /// How long an answer is waited for.
    pub(crate) fn patience(&self) -> Duration {
        self.timeout.unwrap_or(TIMEOUT)
    }

    /// The flags that say all of this, with their values; what has no value here was not said and has no default.
    pub(crate) fn flags(&self) -> Vec<(&'static str, Value)> {
        let mut flags = Vec::new();
        let mut say = |flag, value: Value| {
            if !value.is_null() {
                flags.push((flag, value));
            }
        };
        let time = |of: Duration| json!(show_duration(of));
        match self.plot {
            Plot::Seed { readers, writers } => {
                say("readers", json!(readers));
                say("writers", json!(writers));
            }
            Plot::Ratio(ratio) => say("ratio", json!(ratio.to_string())),
            Plot::Script(script) => say("workload", json!(value_name(script))),
        }
        if !matches!(self.plot, Plot::Seed { .. }) {
            say("concurrency", json!(self.concurrency));
        }
        if self.watchers > 0 {
            say("watchers", json!(self.watchers));
        }
        say("keys", json!(self.keys));
        say("key-dist", json!(self.key_dist.to_string()));
        say("value", json!(value_name(self.value)));
        if self.value != ValueKind::Int {
            say("value-size", json!(self.value_size));
        }
        if self.distinct {
            say("distinct", json!(true));
        }
        say("duration", self.duration.map_or(Value::Null, time));
        say("requests", json!(self.requests));
        say("warmup", time(self.warmup));
        say("duration-stop", json!(value_name(self.duration_stop)));
        say("engine", json!(value_name(self.engine)));
        say("pipeline", json!(self.pipeline));
        say("frame-ops", json!(self.frame_ops));
        say("connections", json!(self.connections));
        say("threads", json!(self.threads));
        say("timeout", self.timeout.map_or(Value::Null, time));
        say("connect-timeout", time(self.connect_timeout));
        let shown = self
            .metadata
            .iter()
            .filter(|(name, _)| name != "authorization");
        let shown: Vec<Value> = shown
            .map(|(name, value)| json!(format!("{name}:{value}")))
            .collect();
        if !shown.is_empty() {
            say("metadata", Value::Array(shown));
        }
        if let Some(open_loop) = &self.open_loop {
            open_loop.flags(&mut say);
        }
        say("interval", time(self.interval));
        if self.verify {
            say("verify", json!(true));
        }
        if self.part.of > 1 {
            say(
                "part",
                json!(format!("{}/{}", self.part.index, self.part.of)),
            );
        }
        flags
    }

    /// The same, as reports and histories keep them.
    pub(crate) fn by_flag(&self) -> BTreeMap<String, Value> {
        let flags = self.flags().into_iter();
        flags
            .map(|(flag, value)| (flag.to_owned(), value))
            .collect()
    }

    /// The command that repeats this run.
    pub(crate) fn command(&self, address: Option<&str>) -> String {
        let mut command = "soloist-load".to_owned();
        if let Some(address) = address {
            command += &format!(" {address}");
        }
        for (flag, value) in self.flags() {
            let values = match value {
                Value::Array(values) => values,
                value => vec![value],
            };
            for value in values {
                match value {
                    Value::Bool(_) => command += &format!(" --{flag}"),
                    Value::String(text) if text.contains([' ', '\'', '"']) => {
                        command += &format!(" --{flag}='{}'", text.replace('\'', r"'\''"));
                    }
                    Value::String(text) => command += &format!(" --{flag}={text}"),
                    value => command += &format!(" --{flag}={value}"),
                }
            }
        }
        command + &format!(" --seed={}", self.seed)
    }
}

/// As a flag takes it, exactly.
pub(crate) fn show_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    match nanos {
        nanos if nanos % 1_000_000_000 == 0 => format!("{}s", nanos / 1_000_000_000),
        nanos if nanos % 1_000_000 == 0 => format!("{}ms", nanos / 1_000_000),
        nanos => format!("{}us", nanos as f64 / 1e3),
    }
}

/// The run of a command, as [`Settings::command`] writes it.
pub(crate) fn parse_command(command: &str) -> Result<RunArgs, String> {
    let words = split_words(command);
    RunArgs::try_parse_from(words).map_err(|error| error.to_string())
}

/// Words as a shell sees them, of what [`Settings::command`] writes: single quotes, and a backslash before one.
fn split_words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut is_quoted = false;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            '\'' => is_quoted = !is_quoted,
            '\\' if !is_quoted => word.extend(characters.next()),
            ' ' if !is_quoted => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            other => word.push(other),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

fn cores() -> u64 {
    std::thread::available_parallelism().map_or(1, NonZero::get) as u64
}

fn varint_bytes(number: u64) -> u64 {
    u64::from(number.checked_ilog2().unwrap_or(0) / 7 + 1)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn settings(line: &str) -> Result<Settings, String> {
        Settings::new(&parse_command(&format!("soloist-load {line}")).unwrap())
    }

    #[test]
    fn without_arguments_it_is_the_seed() {
        let seed = settings("").unwrap();
        let plot = Plot::Seed {
            readers: 100,
            writers: 10,
        };
        assert_eq!((seed.plot, seed.keys), (plot, 5));
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
            ("--value text", "--value-size"),
            (
                "--value int --value-size 9",
                "--value-size 9 with --value int",
            ),
            ("--workload counter --value-size 9", "it has ints"),
            ("--ratio 1:1 --value-size 9", "at least 16 bytes"),
            ("--workload e --engine pipeline", "no frame carries"),
            ("--watchers 3", "--watchers"),
            (
                "--verify --workload renew",
                "renewals read and change no key",
            ),
            ("--load-start 5", "--load-start needs --load-schedule"),
            ("--load-schedule step --load-start 5", "needs --load-step"),
            (
                "--load-schedule line --load-start 5 --load-step -1",
                "--load-step -1: a falling rate",
            ),
            (
                "--rps 5 --load-schedule line --load-start 5 --load-step 1",
                "it has --load-start",
            ),
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
    fn a_command_repeats_the_settings() {
        for line in [
            "",
            "--ratio 95:5 -c 7 --value-size 20 -n 5k -z 1500ms",
            "--workload f --engine raw -P 3 --timeout 2s --seed 9",
            "--rps 1.5k --arrival poisson --max-in-flight 9 --interval 100ms",
            "--load-schedule step --load-start 5 --load-step 2 --load-step-duration 1s --load-end 50",
            "--load-schedule line --load-start 50 --load-step=-2 --load-max-duration 9s",
            "--workload watch --watchers 3 --warmup 1ms --duration-stop close",
            "--verify --distinct",
        ] {
            let first = settings(line).unwrap();
            let command = first.command(Some("[::1]:5"));
            let args = parse_command(&command).unwrap();
            assert_eq!(args.address.as_deref(), Some("[::1]:5"));
            let again = Settings::new(&args).unwrap();
            assert_eq!(first.flags(), again.flags(), "{command}");
            assert_eq!(first.seed, again.seed);
        }
        let mut named = settings("").unwrap();
        named.metadata = vec![("x-who".into(), "it's \"me\"".into())];
        let args = parse_command(&named.command(None)).unwrap();
        assert_eq!(args.how.metadata, named.metadata);
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
