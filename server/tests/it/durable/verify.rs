//! `verify`: exit codes for a store that is whole, unfinished or damaged; and that it only reads.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::{Durable, output};
use crate::process::{Process, command};
use crate::support::{int, text, write};

const LONG: Duration = Duration::from_secs(20);

async fn verify(dir: &Path) -> (Option<i32>, String, String) {
    output(&["verify", "--data-dir", dir.to_str().unwrap()]).await
}

/// The length of a file; 0 if it is missing.
fn len(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |file| file.len())
}

/// Writes until `done`.
async fn write_until(server: &Durable, done: impl Fn() -> bool) {
    let mut state = server.state().await;
    let writing = async {
        for n in 0.. {
            if done() {
                break;
            }
            let value = text("x".repeat(50_000));
            state
                .write(write(format!("{}", n % 60), value))
                .await
                .unwrap();
        }
    };
    tokio::time::timeout(LONG, writing)
        .await
        .expect("a snapshot begins");
}

/// A snapshot takes long enough to be caught: its thread pauses after each slice.
#[tokio::test]
async fn a_kill_during_a_snapshot_is_unfinished_and_no_damage() {
    let mut server = Durable::start(&["--snapshot-log-bytes", "2000000"]).await;
    let dir = server.dir.path().to_owned();
    let [a, b] = ["snapshot-a.redb", "snapshot-b.redb"].map(|name| dir.join(name));
    // The first snapshot; and one in the place of the older of two.
    for round in 0..2 {
        let mut seen = Vec::new();
        let kills = async {
            loop {
                match round {
                    0 => write_until(&server, || len(&a) > 0).await,
                    _ => {
                        write_until(&server, || len(&b) > 0).await;
                        let before = len(&a);
                        write_until(&server, || len(&a) < before).await;
                    }
                }
                server.process.child.kill().await.unwrap();
                let (code, out, error) = verify(&dir).await;
                seen.push((code, out.clone(), error.clone()));
                server.process = Durable::process(&dir, &server.args).await;
                match code {
                    // The snapshot was complete.
                    Some(0) => {}
                    Some(4) => {
                        assert!(error.contains("snapshot-a.redb is unfinished"), "{error}");
                        break;
                    }
                    other => panic!("{other:?}: {out}{error}"),
                }
            }
        };
        let killed = tokio::time::timeout(2 * LONG, kills).await;
        assert!(killed.is_ok(), "never during a snapshot: {seen:?}");
        // The start has removed what was left, so that the store is whole again.
        server.process.end().await;
        let (code, out, error) = verify(&dir).await;
        assert_eq!(code, Some(0), "{out}{error}");
        server.process = Durable::process(&dir, &server.args).await;
    }
}

/// A store with two snapshots, closed in order.
async fn with_two_snapshots() -> Durable {
    let mut server = Durable::start(&["--snapshot-log-bytes", "100000"]).await;
    let second = server.dir.path().join("snapshot-b.redb");
    write_until(&server, || len(&second) > 0).await;
    server.process.end().await;
    server
}

#[tokio::test]
async fn damage_ends_verify_and_a_start_with_code_3() {
    let server = with_two_snapshots().await;
    let dir = server.dir.path();
    let start = ["--listen", "127.0.0.1:0", "--data-dir", server.path()];
    let (code, out, error) = verify(dir).await;
    assert!(out.ends_with("undamaged\n"), "{out}");
    assert_eq!((code, error.as_str()), (Some(0), ""));

    let flip = |name: &str| {
        let path = dir.join(name);
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle..middle + 64]
            .iter_mut()
            .for_each(|byte| *byte ^= 0xff);
        fs::write(path, bytes).unwrap();
    };
    // Even if the other files have the same data.
    let whole = fs::read(dir.join("snapshot-a.redb")).unwrap();
    flip("snapshot-a.redb");
    let (code, _, error) = verify(dir).await;
    assert_eq!(code, Some(3), "{error}");
    assert!(
        error.contains("snapshot-a.redb") && error.contains("no data is lost"),
        "{error}"
    );
    fs::write(dir.join("snapshot-a.redb"), whole).unwrap();

    fs::remove_file(dir.join("watermark")).unwrap();
    for args in [&["verify", "--data-dir", server.path()][..], &start] {
        let (code, _, error) = output(args).await;
        assert_eq!(code, Some(3), "{args:?}: {error}");
        assert!(error.contains("watermark"), "{error}");
    }
    // Whatever is not about data ends with 1: a later start may succeed.
    let (code, _, error) = verify(&dir.join("missing")).await;
    assert_eq!(code, Some(1), "{error}");
    let occupied = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let occupied = occupied.local_addr().unwrap().to_string();
    let (code, _, error) = output(&["--listen", &occupied]).await;
    assert_eq!(code, Some(1), "{error}");
}

#[tokio::test]
async fn a_restore_that_did_not_end_is_unfinished() {
    let process = Process::start(&[]).await;
    let dir = TempDir::new().unwrap();
    let (backup, data) = (dir.path().join("backup"), dir.path().join("data"));
    let [to, data] = [&backup, &data].map(|path| path.to_str().unwrap());
    let from = process.addr.to_string();
    assert_eq!(
        output(&["backup", "--from", &from, "--to", to]).await.0,
        Some(0)
    );
    let restore = ["restore", "--from", to, "--data-dir", data];
    assert_eq!(output(&restore).await.0, Some(0));
    // As it was before the log was made.
    for name in ["log.redb", "tail", "watermark"] {
        fs::remove_file(Path::new(data).join(name)).unwrap();
    }
    let (code, _, error) = verify(Path::new(data)).await;
    assert_eq!(code, Some(4), "{error}");
    assert!(error.contains("restore the backup again"), "{error}");
    // The other files may also be lost, so a supervisor must not go on trying.
    let (code, _, error) = output(&["--listen", "127.0.0.1:0", "--data-dir", data]).await;
    assert_eq!(code, Some(3), "{error}");
    assert_eq!(output(&restore).await.0, Some(0));
    assert_eq!(verify(Path::new(data)).await.0, Some(0));
}

/// A file as it is: its content, its permissions, and when it was written last.
type Found = (Vec<u8>, u32, (i64, i64));

fn files(dir: &Path) -> BTreeMap<String, Found> {
    let found = |path: &Path| {
        let metadata = fs::metadata(path).unwrap();
        let content = match metadata.is_dir() {
            true => Vec::new(),
            false => fs::read(path).unwrap(),
        };
        (
            content,
            metadata.mode(),
            (metadata.mtime(), metadata.mtime_nsec()),
        )
    };
    let entries = fs::read_dir(dir).unwrap().map(|file| file.unwrap());
    let files = entries.map(|file| (file.file_name().into_string().unwrap(), found(&file.path())));
    files.chain([(".".into(), found(dir))]).collect()
}

#[tokio::test]
async fn verify_and_inspect_write_nothing() {
    let mut server = Durable::start(&[]).await;
    let mut state = server.state().await;
    state.write(write("k", int(1))).await.unwrap();
    server.process.child.kill().await.unwrap();
    let dir = server.dir.path();
    fs::remove_file(dir.join("LOCK")).unwrap();
    for file in fs::read_dir(dir).unwrap() {
        fs::set_permissions(file.unwrap().path(), Permissions::from_mode(0o400)).unwrap();
    }
    fs::set_permissions(dir, Permissions::from_mode(0o500)).unwrap();
    let before = files(dir);
    for command in [&["verify"][..], &["inspect"], &["inspect", "--log"]] {
        let args = [command, &["--data-dir", server.path()]].concat();
        let (code, _, error) = output(&args).await;
        assert_eq!(code, Some(0), "{args:?}: {error}");
        let after = files(dir);
        assert!(before.keys().eq(after.keys()), "{:?}", after.keys());
        assert!(before == after, "{command:?} changed a file");
    }
    fs::set_permissions(dir, Permissions::from_mode(0o700)).unwrap();
}

#[tokio::test]
async fn a_start_says_that_its_directory_is_being_read() {
    let mut server = Durable::start(&[]).await;
    server.process.end().await;
    // As verify and inspect lock it: together with others.
    let lock = File::open(server.dir.path().join("LOCK")).unwrap();
    lock.lock_shared().unwrap();
    let (code, _, error) = verify(server.dir.path()).await;
    assert_eq!(code, Some(0), "{error}");
    let start = ["--listen", "127.0.0.1:0", "--data-dir", server.path()];
    let (code, _, error) = output(&start).await;
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("being read by"), "{error}");
}

#[tokio::test]
async fn a_kill_before_the_store_is_created_is_unfinished() {
    let kills = async {
        loop {
            let dir = TempDir::new().unwrap();
            let data = dir.path().join("data");
            let data = data.to_str().unwrap();
            let start = ["--listen", "127.0.0.1:0", "--data-dir", data];
            let mut server = command(&start).spawn().unwrap();
            while len(&Path::new(data).join("log.redb")) == 0 {
                tokio::task::yield_now().await;
            }
            server.kill().await.unwrap();
            let (code, _, error) = verify(Path::new(data)).await;
            match code {
                // The store was created already.
                Some(0) => {}
                Some(4) => {
                    assert!(error.contains("the next start creates it"), "{error}");
                    Durable::process(Path::new(data), &[]).await.end().await;
                    break;
                }
                other => panic!("{other:?}: {error}"),
            }
        }
    };
    let killed = tokio::time::timeout(2 * LONG, kills).await;
    killed.expect("a kill comes before the store is created");
}
