//! The access file is replaced while the server runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use soloist::v1::watch_request::Target;
use soloist::v1::{BackupRequest, WatchRequest};
use tokio::sync::mpsc;
use tonic::Code;

use super::access_file::{AccessFile, State};
use crate::support::{assert_refused, frame, int, read, read_op, text, write};

const KEEPS: (&str, &str) = ("keeps", "read = ['k/*']\nwrite = ['k/*']");
const HAS: (&str, &str) = ("loses", "read = ['l/*']\nwrite = ['l/*']");
const HAS_LOST: (&str, &str) = ("loses", "read = ['other']");

fn watch_of(prefix: &str) -> WatchRequest {
    WatchRequest {
        target: Some(Target::Prefix(prefix.into())),
        ..WatchRequest::default()
    }
}

/// The file is being replaced: either answer is right.
const CHANGING: u64 = u64::MAX;

/// Calls without a pause as somebody who loses its right and gets it back, until told to stop. `file` is how many
/// replacements were taken: it has the right after an even number of them, and only then.
async fn calls_of_the_loser(mut client: State, stop: Arc<AtomicBool>, file: Arc<AtomicU64>) -> u64 {
    let mut judged = 0;
    while !stop.load(Ordering::SeqCst) {
        let before = file.load(Ordering::SeqCst);
        let called = client.write(write("l/2", int(1))).await;
        if before != CHANGING && before == file.load(Ordering::SeqCst) {
            assert_eq!(
                called.is_ok(),
                before.is_multiple_of(2),
                "after {before}: {called:?}"
            );
            judged += 1;
        }
    }
    judged
}

/// Calls without a pause, and counts the calls, until told to stop.
async fn load(mut client: State, stop: Arc<AtomicBool>, calls: Arc<AtomicU64>) {
    while !stop.load(Ordering::Relaxed) {
        client.write(write("k/1", int(1))).await.unwrap();
        calls.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_replacements_under_load_take_rights_away_at_once_and_harm_nobody_else() {
    let file = AccessFile::new(&[KEEPS, HAS]);
    let server = file.server(|_| ());
    let stop = Arc::new(AtomicBool::new(false));
    let calls = Arc::new(AtomicU64::new(0));
    let mut tasks = Vec::new();
    for _ in 0..3 {
        let client = file.state(&server, "keeps").await;
        tasks.push(tokio::spawn(load(client, stop.clone(), calls.clone())));
    }
    let mut kept = file.state(&server, "keeps").await;
    let mut kept_watch = kept.watch(watch_of("k/")).await.unwrap().into_inner();
    let watched = tokio::spawn(async move {
        let mut count = 0;
        while count < 1000 {
            kept_watch.message().await.unwrap().unwrap();
            count += 1;
        }
    });

    let taken = Arc::new(AtomicU64::new(0));
    let client = file.state(&server, "loses").await;
    let losing = tokio::spawn(calls_of_the_loser(client, stop.clone(), taken.clone()));
    let mut loser = file.state(&server, "loses").await;
    let (sender, mut receiver) = mpsc::channel(4);
    let stream = futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx));
    let mut answers = loser.pipeline(stream).await.unwrap().into_inner();
    for round in 0..20 {
        let lost = round % 2 == 0;
        let before = calls.load(Ordering::Relaxed);
        let mut watch = match lost {
            true => Some(loser.watch(watch_of("l/")).await.unwrap().into_inner()),
            false => None,
        };
        taken.store(CHANGING, Ordering::SeqCst);
        match round % 4 {
            // The right is taken away.
            0 => file.write(&[KEEPS, HAS_LOST]),
            // The identity is.
            2 => file.write(&[KEEPS]),
            _ => file.write(&[KEEPS, HAS]),
        }
        server.reload().await;
        taken.store(round + 1, Ordering::SeqCst);
        let (code, reason) = match round % 4 {
            0 => (Code::PermissionDenied, "NOT_PERMITTED"),
            _ => (Code::Unauthenticated, "CREDENTIALS_UNKNOWN"),
        };
        let unary = loser.write(write("l/1", int(1))).await;
        let read = loser.read(read("l/1")).await;
        sender.send(frame([read_op("l/1")])).await.unwrap();
        let answer = answers.message().await.unwrap().unwrap();
        if lost {
            assert_eq!(unary.unwrap_err().code(), code, "round {round}");
            assert_eq!(read.unwrap_err().code(), code, "round {round}");
            assert_eq!(
                Code::from(answer.error.unwrap().code),
                code,
                "round {round}"
            );
            let watch = watch.as_mut().unwrap();
            let ended = loop {
                match watch.message().await {
                    Ok(message) => assert!(message.is_some(), "a watch ends with a status"),
                    Err(status) => break status,
                }
            };
            match code {
                Code::PermissionDenied => {
                    let metadata = super::denied("loses", "read", "prefix", "l/", None);
                    assert_refused(&ended, code, reason, &metadata);
                }
                code => {
                    assert_refused(&ended, code, reason, &[]);
                }
            }
        } else {
            unary.unwrap();
            read.unwrap();
            assert!(answer.error.is_none(), "round {round}: {answer:?}");
        }
        // The load goes on between two replacements.
        while calls.load(Ordering::Relaxed) < before + 20 {
            tokio::task::yield_now().await;
        }
    }
    watched.await.unwrap();
    stop.store(true, Ordering::SeqCst);
    assert!(losing.await.unwrap() > 20, "the loser calls all the time");
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn a_file_with_a_fault_is_not_taken() {
    let file = AccessFile::new(&[KEEPS]);
    let server = file.server(|_| ());
    let mut client = file.state(&server, "keeps").await;
    for fault in ["[identities", "[identities.keeps]\nroles = ['none']"] {
        std::fs::write(file.path(), fault).unwrap();
        let why = server.reload_refused().await;
        assert!(why.starts_with("--access-file "), "{why}");
        client.write(write("k/1", int(1))).await.unwrap();
    }
    std::fs::remove_file(file.path()).unwrap();
    server.reload_refused().await;
    client.write(write("k/1", int(1))).await.unwrap();
    file.write(&[]);
    server.reload().await;
    let refused = client.write(write("k/1", int(1))).await.unwrap_err();
    assert_refused(&refused, Code::Unauthenticated, "CREDENTIALS_UNKNOWN", &[]);
}

#[tokio::test]
async fn a_backup_ends_when_its_caller_is_no_admin_any_more() {
    const ADMIN: &str = "admin = true\nwrite = ['*']";
    let file = AccessFile::new(&[("admin", ADMIN)]);
    let server = file.server(|_| ());
    let mut state = file.state(&server, "admin").await;
    // Far more than travels before the client reads.
    for n in 0..24 {
        let value = text("x".repeat(1 << 20));
        state.write(write(format!("k/{n}"), value)).await.unwrap();
    }
    let mut admin = file.admin(&server, "admin").await;
    let backup = admin.backup(BackupRequest::default()).await;
    let mut backup = backup.unwrap().into_inner();
    backup.message().await.unwrap().unwrap();
    file.write(&[("admin", "write = ['*']")]);
    server.reload().await;
    let ended = loop {
        match backup.message().await {
            Ok(chunk) => assert!(chunk.is_some(), "the backup is not complete"),
            Err(status) => break status,
        }
    };
    let metadata = [("identity", "admin"), ("verb", "admin")];
    assert_refused(&ended, Code::PermissionDenied, "NOT_PERMITTED", &metadata);
}
