//! `--verify` and `check`: the verdict on the answers of a run.

use std::fs::{self, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::Command;

use crate::support::{Run, TestServer, load};

#[tokio::test(flavor = "multi_thread")]
async fn the_answers_of_a_server_are_linearizable() {
    for flags in [
        "",
        "--engine unary -P 3",
        "--engine raw -P 3",
        "--frame-ops 8 -P 2",
        "--workload mixed",
        "--workload mixed --engine raw --keys 50",
        "--workload cas --keys 1",
        "--workload transition",
        "--workload d --keys 200",
        "--workload d --engine raw",
        "--workload e --keys 150 -c 8",
        "--workload e --engine raw --value-size 20 -c 8",
        "--workload f --keys 10 --value-size 20",
        "--workload counter --engine raw",
        "--workload watch",
        "--ratio 1:1 --rps 2000 --engine raw",
        "--workload mixed --duration-stop ignore",
    ] {
        let server = TestServer::start();
        // The second run finds the keys of the first.
        for _ in 0..2 {
            let run = Run::of(&format!(
                "{} {flags} -z 200ms --verify -q -O json",
                server.address()
            ));
            assert_eq!(run.code, Some(0), "{flags}: {} {}", run.stdout, run.stderr);
            let report: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
            assert_eq!(report["verify"]["verdict"], "linearizable", "{flags}");
            let checked = report["verify"]["operations"].as_u64().unwrap();
            assert!(checked > 50, "{flags}: {checked}");
        }
    }
}

#[test]
fn a_history_is_kept_and_checked_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.history");
    let name = file.display();
    let run = Run::of(&format!(
        "--workload mixed -c 6 -n 600 --verify --history {name} -q"
    ));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(run.stdout.contains("linearizable"), "{}", run.stdout);
    for flags in ["", "--search", "--search --search-timeout 5m"] {
        let run = Run::of(&format!("check {name} {flags}"));
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        assert!(run.stdout.starts_with("linearizable"), "{}", run.stdout);
    }

    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let run = Run::of(&format!("check {name}"));
    assert_eq!(run.code, Some(2), "{}", run.stdout);
    assert!(run.stderr.contains("run.history"), "{}", run.stderr);
    bytes.truncate(middle);
    fs::write(&file, &bytes).unwrap();
    assert_eq!(Run::of(&format!("check {name}")).code, Some(2));
    fs::write(&file, "what is this").unwrap();
    assert_eq!(Run::of(&format!("check {name}")).code, Some(2));
}

/// Changes a history by hand: line by line, and without the checksum.
fn edit(file: &Path, change: impl FnOnce(&mut Vec<serde_json::Value>)) {
    let text = fs::read_to_string(file).unwrap();
    let mut lines: Vec<serde_json::Value> = (text.lines())
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    change(&mut lines);
    let end = lines.last_mut().unwrap()["end"].as_object_mut().unwrap();
    end.remove("crc32c").expect("the last line has a checksum");
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    fs::write(file, text).unwrap();
}

#[test]
fn a_violation_is_shown_and_ends_with_3() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.history");
    let evidence = folder.path().join("evidence.jsonl");
    let run = Run::of(&format!(
        "--readers 4 --writers 2 --keys 1 -n 300 --verify --history {} -q",
        file.display()
    ));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    // One answer is changed to a value that nobody has written.
    edit(&file, |lines| {
        let seen = lines
            .iter_mut()
            .find_map(|line| line.pointer_mut("/operation/outcome/done/seen/entry/value/int"));
        *seen.expect("a Read shows a value") = 123.into();
    });
    let run = Run::of(&format!(
        "check {} --evidence {}",
        file.display(),
        evidence.display()
    ));
    assert_eq!(run.code, Some(3), "{} {}", run.stdout, run.stderr);
    assert!(run.stdout.contains("NOT linearizable"), "{}", run.stdout);
    assert!(run.stdout.contains("123"), "{}", run.stdout);
    // The evidence is a history itself, with the same verdict.
    let again = folder.path().join("again.jsonl");
    let run = Run::of(&format!(
        "check {} --evidence {}",
        evidence.display(),
        again.display()
    ));
    assert_eq!(run.code, Some(3), "{} {}", run.stdout, run.stderr);
}

#[test]
fn a_check_that_is_not_decided_in_time_ends_with_4() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.history");
    let file = file.display();
    // Nobody looks at the clock before some hundreds of configurations: there is enough for that.
    let run = Run::of(&format!(
        "--workload mixed -c 20 --keys 2 -n 3k --verify --history {file} -q"
    ));
    assert_eq!(run.code, Some(0), "{} {}", run.stdout, run.stderr);
    let run = Run::of(&format!("check {file} --search --search-timeout 1us"));
    assert_eq!(run.code, Some(4), "{} {}", run.stdout, run.stderr);
    // The lines may be broken at any blank.
    let text: Vec<_> = run.stdout.split_whitespace().collect();
    let text = text.join(" ");
    for part in [
        "NOT DECIDED",
        "load/mixed/0",
        "of unknown outcome: the time was over, after",
        "--search-timeout 1us",
    ] {
        assert!(text.contains(part), "{part}: {}", run.stdout);
    }
    assert!(!run.stdout.contains("linearizable"), "{}", run.stdout);
}

/// A List counts as a Read of every key that it could have shown, including keys that the run has added.
#[test]
fn a_key_that_a_list_leaves_out_is_a_violation() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.history");
    let evidence = folder.path().join("evidence.jsonl");
    let run = Run::of(&format!(
        "--workload e --keys 90 -c 4 -n 500 --verify --history {} -q",
        file.display()
    ));
    assert_eq!(run.code, Some(0), "{} {}", run.stdout, run.stderr);
    edit(&file, |lines| {
        let left_out = lines.iter_mut().rev().find_map(|line| {
            let is_added = line.pointer("/operation/key")?.as_str()? >= "load/user0000000090";
            let entry = line.pointer_mut("/operation/outcome/done/seen/entry")?;
            (is_added && !entry.is_null()).then_some(entry)
        });
        *left_out.expect("a List shows what was added") = serde_json::Value::Null;
    });
    let run = Run::of(&format!(
        "check {} --evidence {}",
        file.display(),
        evidence.display()
    ));
    assert_eq!(run.code, Some(3), "{} {}", run.stdout, run.stderr);
    assert!(run.stdout.contains("NOT linearizable"), "{}", run.stdout);
}

/// A history of another store, written by hand.
#[test]
fn a_history_without_revisions_is_checked_by_a_flag() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("other.history");
    let evidence = folder.path().join("evidence.jsonl");
    let operation = |start: u64, action: &str, outcome: &str| {
        format!(
            "{{\"operation\":{{\"client\":0,\"message\":{start},\"travel\":\"call\",\"key\":\"a\",\"start\":{start},\
             \"end\":{},\"action\":{action},\"outcome\":{{\"done\":{{\"seen\":{outcome}}}}}}}}}\n",
            start + 5
        )
    };
    let shows = |value: i64| format!("{{\"entry\":{{\"value\":{{\"int\":{value}}}}}}}");
    for (seen, code) in [(1, 0), (2, 3)] {
        let text = [
            "{\"head\":{\"version\":1,\"keys\":[{\"name\":\"a\",\"found\":{}}]}}\n".to_owned(),
            operation(10, "{\"write\":{\"int\":1}}", "\"untold\""),
            operation(20, "\"read\"", &shows(seen)),
            "{\"end\":{\"operations\":2,\"watches\":0}}\n".to_owned(),
        ];
        fs::write(&file, text.concat()).unwrap();
        let line = format!("check {} --evidence {}", file.display(), evidence.display());
        let refused = Run::of(&line);
        assert_eq!(
            refused.code,
            Some(2),
            "{} {}",
            refused.stdout,
            refused.stderr
        );
        assert!(
            refused.stderr.contains("--without-revisions"),
            "{}",
            refused.stderr
        );
        let run = Run::of(&format!("{line} --without-revisions"));
        assert_eq!(run.code, Some(code), "{} {}", run.stdout, run.stderr);
        // The verdict comes before the proof, on standard error.
        let said = run.stderr.contains("NOT linearizable: key \"a\"");
        assert_eq!(said, code == 3, "{}", run.stderr);
    }
}

/// The history comes from a pipe, so reading it takes as long as the test wants.
#[test]
fn a_check_tells_how_far_it_is_on_standard_error_unless_it_is_quiet() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.history");
    let name = file.display();
    let run = Run::of(&format!("-c 6 -n 600 --verify --history {name} -q"));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let history = fs::read(&file).unwrap();
    let (half, rest) = history.split_at(history.len() / 2);
    let begin = |name: &str, flags: &str| {
        let pipe = folder.path().join(name);
        let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        let check = load(&format!("check {} {flags}", pipe.display()))
            .spawn()
            .unwrap();
        // Opening it waits for its reader.
        let mut pipe = OpenOptions::new().write(true).open(&pipe).unwrap();
        pipe.write_all(half).unwrap();
        (check, pipe)
    };
    // The quiet one begins first, so its first line would be there first.
    let (quiet, mut to_quiet) = begin("quiet", "-q");
    let (mut told, mut to_told) = begin("told", "");
    let mut stderr = BufReader::new(told.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    assert!(line.starts_with("reading the history: "), "{line}");
    for pipe in [&mut to_quiet, &mut to_told] {
        pipe.write_all(rest).unwrap();
    }
    drop((to_quiet, to_told));
    for check in [told, quiet] {
        let ended = Run::from(check.wait_with_output().unwrap());
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(ended.stdout.starts_with("linearizable"), "{}", ended.stdout);
        assert_eq!(
            ended
                .stderr
                .lines()
                .filter(|it| it.contains("reading"))
                .count(),
            0
        );
    }
}
