//! All engines do the same workload in the same way: same requests, same answers, same state of the server.

use std::collections::BTreeMap;

use serde_json::Value;
use soloist_client::{Client, Entry, Value as Stored};

use crate::support::{Run, TestServer};

type State = BTreeMap<String, Entry<Option<Stored>>>;

/// Returns every entry of the server, with its revisions.
async fn state(client: &Client) -> State {
    let mut state = BTreeMap::new();
    let mut page_token = String::new();
    loop {
        let list = client.list("").page_token(page_token).await.unwrap();
        for of in list.entries {
            state.insert(of.key, of.entry);
        }
        match list.next_page_token {
            Some(next) => page_token = next,
            None => return state,
        }
    }
}

/// Returns the counts of a report, without its times.
fn counts(report: &Value) -> Value {
    let kinds = report["kinds"].as_object().unwrap();
    let kinds = kinds.iter().map(|(kind, of)| {
        let of = serde_json::json!({
            "completed": of["completed"],
            "refused": of["refused"],
            "failed": of["failed"],
            "misses": of["misses"],
        });
        (kind.clone(), of)
    });
    Value::Object(kinds.collect())
}

async fn conform(flags: &str, engines: &[&str]) {
    let mut first: Option<(Value, State)> = None;
    for engine in engines {
        let server = TestServer::start();
        // With one worker, the order of the operations is the same for all engines.
        let line = format!(
            "{} --engine {engine} {flags} -n 1500 --seed 7 -q -O json",
            server.address()
        );
        let run = Run::of(&line);
        assert_eq!(run.code, Some(0), "{line}: {}", run.stderr);
        let seen = (counts(&run.report()), state(&server.client().await).await);
        match &first {
            None => first = Some(seen),
            Some(first) => {
                assert_eq!(seen.0, first.0, "{line}");
                assert_eq!(seen.1, first.1, "{line}");
            }
        }
    }
    assert!(!first.unwrap().1.is_empty(), "{flags}");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_engines_lead_to_the_same_state() {
    for flags in [
        "--readers 0 --writers 1",
        "--ratio 1:1 -c 1 --keys 50 --key-dist zipfian",
        "--workload a -c 1 --value-size 100",
        "--workload d -c 1",
        "--workload f -c 1 --keys 20",
        "--workload counter -c 1",
        "--workload cas -c 1",
        "--workload transition -c 1",
    ] {
        conform(flags, &["unary", "pipeline", "raw"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_no_frame_carries_are_the_same_with_both_engines_of_calls() {
    for flags in ["--workload mixed -c 1", "--workload e -c 1 --keys 200"] {
        conform(flags, &["unary", "raw"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_raw_engine_sends_exactly_the_count_with_any_shape() {
    for flags in [
        "-n 1",
        "-n 1k --readers 300 --writers 0 -t 1",
        "-n 999 -P 3 --readers 7 --writers 2",
        "-n 500 --readers 0 --writers 3 --value-size 70000",
        "-n 200 --timeout 5s -H x-test:1 --token secret",
    ] {
        let run = Run::of(&format!("{flags} --engine raw -q -O json"));
        assert_eq!(run.code, Some(0), "{flags}: {}", run.stderr);
        let wanted = flags.split_whitespace().nth(1).unwrap().replace('k', "000");
        let report = run.report();
        assert_eq!(report["completed"].to_string(), wanted, "{flags}");
        assert!(!run.stdout.contains("secret"), "{}", run.stdout);
    }
}
