//! Threads, connections, and what travels on them.

use std::num::NonZero;

use crate::command_line::args::HowArgs;
use crate::plan::choices::Engine;
use crate::plan::flag::value_name;
use crate::plan::mix::Mix;

/// Streams that a server allows on one connection by default (`soloist-server --max-streams`).
const STREAMS_PER_CONNECTION: u64 = 256;

/// How many of each.
pub(crate) struct Shape {
    pub(crate) connections: u64,
    pub(crate) threads: u64,
}

pub(crate) fn resolve(
    mix: Mix,
    engine: Engine,
    workers: u64,
    how: &HowArgs,
) -> Result<Shape, String> {
    check_engine(mix, engine, how)?;
    let streams_per_worker = match engine {
        Engine::Unary | Engine::Raw => how.pipeline,
        Engine::Pipeline => 1,
    };
    let streams = workers * streams_per_worker;
    let connections_needed = streams.div_ceil(STREAMS_PER_CONNECTION);
    if let Some(connections) = how.connections {
        check_connections(connections, connections_needed, streams, how.threads)?;
    }
    // A connection belongs to one thread, and a worker to one connection.
    // One for each thread, if 256 streams are enough: a single connection keeps one thread of the server busy and
    // the others idle, and with every further one a system call carries less. Measured with the seed's workload.
    let threads = how
        .threads
        .unwrap_or_else(|| cores().min(how.connections.unwrap_or(u64::MAX)))
        .min(workers);
    let connections = how
        .connections
        .unwrap_or_else(|| connections_needed.next_multiple_of(threads));
    Ok(Shape {
        connections: connections.min(workers),
        threads,
    })
}

fn check_engine(mix: Mix, engine: Engine, how: &HowArgs) -> Result<(), String> {
    let name = value_name(engine);
    if engine != Engine::Pipeline && how.frame_ops > 1 {
        return Err(format!(
            "--frame-ops {} with --engine {name}: a call carries 1 operation",
            how.frame_ops
        ));
    }
    if engine == Engine::Pipeline && mix.needs_calls() {
        return Err(
            "--engine pipeline: this workload has calls that no frame carries; use unary or raw"
                .to_owned(),
        );
    }
    if engine != Engine::Pipeline && how.pipeline > STREAMS_PER_CONNECTION {
        return Err(format!(
            "--pipeline {} with --engine {name}: each call is a stream, and a connection has {STREAMS_PER_CONNECTION}",
            how.pipeline
        ));
    }
    Ok(())
}

fn check_connections(
    connections: u64,
    needed: u64,
    streams: u64,
    threads: Option<u64>,
) -> Result<(), String> {
    if connections < needed {
        return Err(format!(
            "--connections {connections}: {streams} streams need at least {needed}, at \
             {STREAMS_PER_CONNECTION} streams per connection"
        ));
    }
    match threads {
        Some(threads) if threads > connections => Err(format!(
            "--threads {threads} with --connections {connections}: each thread needs a connection of its own"
        )),
        _ => Ok(()),
    }
}

fn cores() -> u64 {
    std::thread::available_parallelism().map_or(1, NonZero::get) as u64
}
