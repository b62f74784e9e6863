//! From flags to a plan: fills in every default, and refuses flags that contradict each other.
//!
//! `data` decides about keys and values, `shape` about threads and connections, `open_loop` about the rate.

mod call;
mod data;
mod open_loop;
mod shape;
#[cfg(test)]
pub(crate) mod tests;

use std::time::Duration;

use crate::command_line::args::{RunArgs, StopArgs, WhatArgs};
use crate::command_line::call_flags::JsonMetadata;
use crate::plan::choices::{Engine, Part};
use crate::plan::labels::{HistoryOptions, Labels};
use crate::plan::mix::{Mix, NamedWorkload};
use crate::plan::settings::{Settings, TOKEN_METADATA};

/// How long a run measures unless a flag says when to stop. It is, as are the readers and writers, what the
/// stateful-goroutines workload has (see `bench/goroutines`).
const DURATION: Duration = Duration::from_secs(1);
/// How long a run that only a count ends goes on without a server, unless a flag says so: longer than it takes to replace a
/// pod (30 s to end, by default, and its start), and shorter than somebody who waits has patience.
const RECONNECT_TIMEOUT: Duration = Duration::from_secs(60);
/// The readers and writers unless a flag says how many. The workers of any other mix are as many in all.
const READERS: u64 = 100;
const WRITERS: u64 = 10;
/// The concurrent calls of a method that the user names, unless a flag says how many: as many as with ghz.
const CALLS: u64 = 50;
/// The watches of the workload `watch` unless a flag says how many.
const WATCHERS: u64 = 10;

/// Returns the settings that the flags ask for.
///
/// # Errors
/// If flags contradict each other. The text names them.
pub(crate) fn settings(args: &RunArgs) -> Result<Settings, String> {
    let what = &args.what;
    let open_loop = open_loop::resolve(args)?;
    let call = call::resolve(args)?;
    let mix = match call {
        Some(_) => Mix::Call,
        None => mix(what),
    };
    check_mix(mix, args)?;
    let engine = args.how.engine.unwrap_or(match mix.needs_calls() {
        true => Engine::Unary,
        false => Engine::Pipeline,
    });
    let concurrency = what.concurrency.unwrap_or(match mix {
        Mix::Call => CALLS,
        _ => READERS + WRITERS,
    });
    let may_repeat = matches!(mix, Mix::ReadersAndWriters { .. } | Mix::Call);
    let distinct = what.distinct || args.report.verify || !may_repeat;
    let data = data::resolve(mix, distinct, what)?;
    let shape = shape::resolve(mix, engine, mix.workers(concurrency), &args.how)?;
    Ok(Settings {
        mix,
        call,
        concurrency,
        watchers: match mix {
            Mix::Named(NamedWorkload::Watch) => what.watchers.unwrap_or(WATCHERS),
            _ => 0,
        },
        duration: duration(&args.stop),
        requests: args.stop.requests.map(|all| share(all, what.part)),
        warmup: args.stop.warmup,
        duration_stop: args.stop.duration_stop,
        keys: data.keys,
        key_prefix: what.key_prefix.clone(),
        key_dist: data.key_dist,
        value: data.value,
        value_size: data.value_size,
        distinct,
        engine,
        pipeline: args.how.pipeline,
        frame_ops: args.how.frame_ops,
        connections: shape.connections,
        threads: shape.threads,
        timeout: args.how.timeout,
        connect_timeout: args.how.connect_timeout,
        reconnect_timeout: reconnect_timeout(args),
        metadata: metadata(args),
        security: args.security.resolve(args.address())?,
        clean: what.clean,
        open_loop,
        interval: args.report.interval,
        percentiles: args.report.percentiles.clone(),
        verify: args.report.verify,
        part: what.part,
        // 32 bits: readers of JSON may hold numbers as f64, which is exact up to 53 bits.
        seed: what
            .seed
            .unwrap_or_else(|| u64::from(rand::random::<u32>())),
    })
}

fn mix(what: &WhatArgs) -> Mix {
    match (what.workload, what.ratio) {
        (Some(script), _) => Mix::Named(script),
        (None, Some(ratio)) => Mix::Ratio(ratio),
        (None, None) => Mix::ReadersAndWriters {
            readers: what.readers.unwrap_or(READERS),
            writers: what.writers.unwrap_or(WRITERS),
        },
    }
}

/// Returns the share of a count that falls to one agent. The shares of all agents add up to the count.
fn share(count: u64, part: Part) -> u64 {
    let Part { index, of } = part;
    count / of + u64::from(index < count % of)
}

fn check_mix(mix: Mix, args: &RunArgs) -> Result<(), String> {
    let nobody = Mix::ReadersAndWriters {
        readers: 0,
        writers: 0,
    };
    if mix == nobody {
        return Err("--readers 0 and --writers 0: at least one worker is needed".to_owned());
    }
    if args.report.verify && mix == Mix::Named(NamedWorkload::Renew) {
        return Err(
            "--verify with --workload renew: a renewal reads and changes no key and is answered without a revision, so there is no order to check; every other workload can be verified"
                .to_owned(),
        );
    }
    if args.what.clean && args.what.key_prefix.is_empty() {
        return Err(
            "--clean with an empty --key-prefix: it would delete every key of the store".to_owned(),
        );
    }
    if args.what.watchers.is_some() && mix != Mix::Named(NamedWorkload::Watch) {
        return Err("--watchers must be used with --workload watch".to_owned());
    }
    Ok(())
}

/// A run that time ends goes on to its end. One that only a count ends would otherwise wait for ever.
fn reconnect_timeout(args: &RunArgs) -> Option<Duration> {
    let default = match duration(&args.stop) {
        None => Some(RECONNECT_TIMEOUT),
        Some(_) => None,
    };
    args.how.reconnect_timeout.or(default)
}

fn duration(stop: &StopArgs) -> Option<Duration> {
    let duration = match stop.requests {
        None => Some(stop.duration.unwrap_or(DURATION)),
        Some(_) => stop.duration,
    };
    match stop.max_duration {
        None => duration,
        Some(most) => Some(duration.map_or(most, |of| of.min(most))),
    }
}

fn metadata(args: &RunArgs) -> Vec<(String, String)> {
    let mut metadata = args.how.metadata.clone();
    let of_json = args.call.metadata_json.iter();
    metadata.extend(of_json.flat_map(|JsonMetadata(pairs)| pairs.clone()));
    if let Some(token) = &args.security.token {
        let bearer = (TOKEN_METADATA.to_owned(), format!("Bearer {token}"));
        metadata.push(bearer);
    }
    metadata
}

/// Returns the names and the objectives of the run.
pub(crate) fn labels(args: &RunArgs) -> Labels {
    Labels {
        name: args.report.name.clone(),
        tags: args.report.tag.iter().cloned().collect(),
        slos: args.report.slo.clone(),
        history: HistoryOptions {
            file: args.report.history.clone(),
            search_timeout: args.report.search_timeout,
        },
    }
}
