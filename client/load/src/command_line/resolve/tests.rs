use std::time::Duration;

use crate::command_line::words::parse_command;
use crate::plan::choices::Engine;
use crate::plan::mix::Mix;
use crate::plan::settings::Settings;

pub(crate) fn settings(line: &str) -> Result<Settings, String> {
    super::settings(&parse_command(&format!("soloist-load {line}")).unwrap())
}

#[test]
fn without_flags_it_is_the_stateful_goroutines_workload() {
    let default = settings("").unwrap();
    let mix = Mix::ReadersAndWriters {
        readers: 100,
        writers: 10,
    };
    assert_eq!((default.mix, default.keys), (mix, 5));
    assert_eq!(default.duration, Some(Duration::from_secs(1)));
    assert_eq!(
        (default.engine, default.pipeline, default.frame_ops),
        (Engine::Pipeline, 1, 1)
    );
}

#[test]
fn a_count_alone_sets_no_duration() {
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
        ("--workload counter --value-size 9", "writes ints"),
        ("--ratio 1:1 --value-size 9", "at least 16 bytes"),
        ("--workload e --engine pipeline", "no frame carries"),
        ("--clean --key-prefix=", "delete every key of the store"),
        (
            "--watchers 3",
            "--watchers must be used with --workload watch",
        ),
        (
            "--verify --workload renew",
            "a renewal reads and changes no key",
        ),
        ("--load-start 5", "--load-start needs --load-schedule"),
        ("--load-schedule step --load-start 5", "needs --load-step"),
        (
            "--load-schedule line --load-start 5 --load-step -1",
            "--load-step -1: a falling rate",
        ),
        (
            "--rps 5 --load-schedule line --load-start 5 --load-step 1",
            "use --load-start",
        ),
    ];
    for (line, part) in cases {
        let error = settings(line).unwrap_err();
        assert!(error.contains(part), "{line}: {error}");
    }
}
