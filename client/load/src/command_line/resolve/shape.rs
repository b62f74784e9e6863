//! Threads and connections: how many, and whether the engine can use them.

use std::num::NonZero;

use crate::command_line::args::HowArgs;
use crate::plan::choices::Engine;
use crate::plan::flag::value_name;
use crate::plan::mix::Mix;

/// The streams on one connection that a server allows by default (`soloist-server --max-streams`).
const STREAMS_PER_CONNECTION: u64 = 256;

/// The threads of a run, and its connections: no fewer than threads, no more than workers.
pub(crate) struct Shape {
    pub(crate) connections: u64,
    pub(crate) threads: u64,
}

/// # Errors
/// If the engine cannot do what the flags ask for, or there are too few connections. The text names the flags.
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
    // A worker belongs to one connection, and a connection to one thread.
    // One connection for each thread is best if it has enough streams. A single connection would keep one thread of the
    // server busy and the others idle; with more connections each system call carries less. Measured with the
    // stateful-goroutines workload.
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
            "--engine pipeline: this workload has calls that no frame carries; use --engine unary or raw"
                .to_owned(),
        );
    }
    if engine != Engine::Pipeline && how.pipeline > STREAMS_PER_CONNECTION {
        return Err(format!(
            "--pipeline {} with --engine {name}: each call is a stream, and a connection has at most {STREAMS_PER_CONNECTION}",
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
