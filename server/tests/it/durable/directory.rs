//! Which directories a server takes, and what it does when one is damaged, full, or gone.

use std::fs;
use std::time::Duration;

use soloist::v1::DeleteRequest;
use tempfile::TempDir;
use tonic::Code;

use super::{Durable, output};
use crate::process::Process;
use crate::support::{assert_refused, int, read, write};

#[tokio::test]
async fn one_directory_has_one_server() {
    let server = Durable::start(&[]).await;
    for args in [
        &["--listen", "127.0.0.1:0", "--data-dir", server.path()][..],
        &["verify", "--data-dir", server.path()],
        &["inspect", "--data-dir", server.path()],
        &[
            "restore",
            "--from",
            "/dev/null",
            "--data-dir",
            server.path(),
        ],
    ] {
        let (code, _, error) = output(args).await;
        let expected = if args[0] == "restore" { 3 } else { 1 };
        assert_eq!(code, Some(expected), "{args:?}: {error}");
        let process = server.process.child.id().unwrap().to_string();
        let says = match args[0] {
            "restore" => "not a backup",
            _ => &process,
        };
        assert!(error.contains(says), "{args:?}: {error}");
    }
    server
        .state()
        .await
        .write(write("k", int(1)))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_directory_with_other_files_is_refused() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("letter.txt"), "dear").unwrap();
    let path = dir.path().to_str().unwrap();
    let (code, _, error) = output(&["--listen", "127.0.0.1:0", "--data-dir", path]).await;
    assert_eq!(code, Some(1));
    assert!(error.contains("letter.txt"), "{error}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

/// A symbolic link could have the server overwrite any file of its user.
#[tokio::test]
async fn no_file_is_a_symbolic_link() {
    for name in ["LOCK", "log.redb", "tail", "watermark"] {
        let dir = TempDir::new().unwrap();
        let target = dir.path().join("precious");
        fs::write(&target, "keep this").unwrap();
        let data = dir.path().join("data");
        fs::create_dir(&data).unwrap();
        fs::write(data.join("LOCK"), "").unwrap();
        let _ = fs::remove_file(data.join(name));
        std::os::unix::fs::symlink(&target, data.join(name)).unwrap();
        let data = data.to_str().unwrap();
        let (code, _, error) = output(&["--listen", "127.0.0.1:0", "--data-dir", data]).await;
        assert_eq!(code, Some(1), "{name}: {error}");
        assert!(
            error.contains(name) && error.contains("symbolic link"),
            "{error}"
        );
        assert_eq!(fs::read_to_string(&target).unwrap(), "keep this", "{name}");
    }
}

#[tokio::test]
async fn a_removed_directory_ends_the_server_before_it_answers_a_change() {
    let mut server = Durable::start(&[]).await;
    let mut state = server.state().await;
    state.write(write("k", int(1))).await.unwrap();
    fs::remove_dir_all(server.dir.path()).unwrap();
    state.write(write("k", int(2))).await.unwrap_err();
    let ended = server.process.child.wait();
    let ended = tokio::time::timeout(Duration::from_secs(20), ended).await;
    assert_eq!(ended.unwrap().unwrap().code(), Some(1));
}

/// The files are whole in their new place, but the next start would not find them.
#[tokio::test]
async fn a_moved_directory_ends_the_server() {
    let dir = TempDir::new().unwrap();
    let (data, moved) = (dir.path().join("data"), dir.path().join("moved"));
    let mut process = Durable::process(&data, &[]).await;
    fs::rename(&data, &moved).unwrap();
    let ended = process.child.wait();
    let ended = tokio::time::timeout(Duration::from_secs(20), ended).await;
    assert_eq!(ended.unwrap().unwrap().code(), Some(1));
}

#[tokio::test]
async fn data_loss_is_reported_and_can_be_accepted() {
    let server = Durable::start(&[]).await;
    let mut state = server.state().await;
    for n in 0..5 {
        state.write(write(format!("{n}"), int(n))).await.unwrap();
    }
    let before = server.info().await;
    let Durable {
        dir, mut process, ..
    } = server;
    process.child.kill().await.unwrap();
    let log = dir.path().join("log.redb");
    let len = fs::metadata(&log).unwrap().len();
    fs::OpenOptions::new()
        .write(true)
        .open(&log)
        .unwrap()
        .set_len(len / 2)
        .unwrap();
    let path = dir.path().to_str().unwrap();
    let start = ["--listen", "127.0.0.1:0", "--data-dir", path];
    let (code, out, error) = output(&start).await;
    assert_eq!((code, out.as_str()), (Some(3), ""), "{error}");
    for part in ["log.redb", "--accept-data-loss=0"] {
        assert!(error.contains(part), "{error}");
    }
    let (code, _, error) = output(&[&start[..], &["--accept-data-loss=5"]].concat()).await;
    assert_eq!(code, Some(3));
    assert!(error.contains("not 5"), "{error}");
    let process = Durable::process(dir.path(), &["--accept-data-loss=0".into()]).await;
    let server = Durable {
        dir,
        process,
        args: Vec::new(),
    };
    let after = server.info().await;
    assert_ne!(after.store_id, before.store_id);
    assert!(after.revision > before.revision);
    assert_eq!(after.key_count, 0);
    let aside = server.dir.path().join("log.redb.damaged-1");
    assert_eq!(fs::metadata(aside).unwrap().len(), len / 2);
    server.restarted().await;
}

#[tokio::test]
async fn little_disk_space_refuses_growth() {
    let server = Durable::start(&["--min-free-bytes", "1000000000000000"]).await;
    let mut state = server.state().await;
    // The server checks the free space when it starts, and then every second.
    let refused = async {
        loop {
            if let Err(refused) = state.write(write("k", int(1))).await {
                break refused;
            }
        }
    };
    let refused = tokio::time::timeout(Duration::from_secs(20), refused).await;
    let refused = refused.expect("the server sees that space is scarce");
    let details = tonic_types::StatusExt::get_error_details(&refused);
    let info = details.error_info().unwrap();
    let actual = info.metadata["actual"].clone();
    assert_refused(
        &refused,
        Code::ResourceExhausted,
        "STORE_FULL",
        &[("limit", "1000000000000000"), ("actual", &actual)],
    );
    state.read(read("k")).await.unwrap();
    let delete = DeleteRequest {
        key: "k".into(),
        ..Default::default()
    };
    state.delete(delete).await.unwrap();
}

#[tokio::test]
async fn a_store_that_must_be_there_is_not_created() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().to_str().unwrap();
    let missing = dir.path().join("missing");
    let all = |path| {
        [
            "--listen",
            "127.0.0.1:0",
            "--require-store",
            "--data-dir",
            path,
        ]
    };
    for path in [path, missing.to_str().unwrap()] {
        let (code, _, log) = output(&all(path)).await;
        assert_eq!(code, Some(1), "{log}");
        assert!(log.contains(path), "{log}");
    }
    assert!(!missing.exists(), "it was created");
    Process::start(&["--data-dir", path]).await.end().await;
    let mut process = Process::start(&all(path)[2..]).await;
    process.end().await;
}
