//! `backup` and `restore`.

use std::fs;
use std::path::Path;

use soloist::v1::admin_client::AdminClient;
use soloist::v1::state_client::StateClient;
use soloist::v1::{BackupRequest, DeleteRequest};
use tempfile::TempDir;

use super::{Durable, output};
use crate::process::{Process, command};
use crate::support::{channel, int, read, text, write};

#[tokio::test]
async fn a_backup_restores_the_same_store_elsewhere() {
    let server = Durable::start(&[]).await;
    let mut state = server.state().await;
    for n in 0..300 {
        let value = text("y".repeat(2_000));
        state.write(write(format!("{n:03}"), value)).await.unwrap();
    }
    let mut admin = AdminClient::new(server.channel().await);
    let mut chunks = admin.backup(BackupRequest {}).await.unwrap().into_inner();
    // Every key is deleted while the backup is made.
    let first = chunks.message().await.unwrap().unwrap();
    for n in 0..300 {
        let delete = DeleteRequest {
            key: format!("{n:03}"),
            ..Default::default()
        };
        state.delete(delete).await.unwrap();
    }
    let mut bytes = first.chunk;
    let mut last = (Vec::new(), 0);
    while let Some(message) = chunks.message().await.unwrap() {
        assert_eq!(message.revision, first.revision);
        bytes.extend(message.chunk);
        last = (message.digest, message.key_count);
    }
    assert_eq!((first.revision, last.1), (300, 300));

    let dir = TempDir::new().unwrap();
    let file = dir.path().join("backup");
    fs::write(&file, &bytes).unwrap();
    let (file, data) = (file.to_str().unwrap(), dir.path().join("data"));
    let data = data.to_str().unwrap();
    let (code, out, error) = output(&["restore", "--from", file, "--data-dir", data]).await;
    assert_eq!(code, Some(0), "{error}");
    assert!(out.contains("300 keys as of revision 300"), "{out}");
    let (code, out, error) = output(&["verify", "--data-dir", data]).await;
    assert_eq!(code, Some(0), "{error}");
    assert!(out.ends_with("undamaged\n"), "{out}");
    let process = Durable::process(Path::new(data), &[]).await;
    let mut restored = StateClient::new(channel(process.addr).await);
    let outcome = restored.read(read("007")).await.unwrap().into_inner();
    assert_eq!(outcome.entry.unwrap().value, Some(text("y".repeat(2_000))));
    assert!(outcome.revision > 1 << 40);

    // A damaged or incomplete file is refused, and no store is created from it.
    for (what, broken) in [
        ("cut off", bytes[..bytes.len() - 1].to_vec()),
        ("ends too early", bytes[..17].to_vec()),
        ("checksum", {
            let mut broken = bytes.clone();
            broken[1_000] ^= 1;
            broken
        }),
    ] {
        fs::write(file, broken).unwrap();
        let nowhere = dir.path().join("nowhere");
        let to = nowhere.to_str().unwrap();
        let (code, _, error) = output(&["restore", "--from", file, "--data-dir", to]).await;
        assert_eq!(code, Some(3));
        assert!(error.contains(what), "{what}: {error}");
        assert!(!nowhere.exists(), "{what}");
    }
}

#[tokio::test]
async fn the_backup_command_and_verify_agree_on_the_digest() {
    let server = Durable::start(&[]).await;
    let mut state = server.state().await;
    for n in 0..10 {
        state.write(write(format!("{n}"), int(n))).await.unwrap();
    }
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("backup");
    let (file, addr) = (file.to_str().unwrap(), server.process.addr.to_string());
    let backup = ["backup", "--from", &addr, "--to", file];
    let (code, out, error) = output(&backup).await;
    assert_eq!(code, Some(0), "{error}");
    let digest = out.trim().rsplit(' ').next().unwrap().to_owned();
    let (code, _, error) = output(&backup).await;
    assert_eq!(code, Some(1), "the file already exists");
    assert!(error.contains("exists"), "{error}");
    let Durable {
        dir: data, process, ..
    } = server;
    drop(state);
    let mut process = process;
    process.end().await;
    let data = data.path().to_str().unwrap();
    let (code, out, error) = output(&["verify", "--data-dir", data]).await;
    assert_eq!(code, Some(0), "{error}");
    assert!(out.contains(&digest), "{out} lacks {digest}");
    // The server is gone, so a backup of it fails.
    let other = dir.path().join("other");
    let (code, _, error) =
        output(&["backup", "--from", &addr, "--to", other.to_str().unwrap()]).await;
    assert_eq!(code, Some(1));
    assert!(error.contains(&addr), "{error}");
    assert!(!other.exists());

    // So does a store that was restored from it, also after it was served and killed.
    let restored = dir.path().join("restored");
    let restored = restored.to_str().unwrap();
    let (code, out, error) = output(&["restore", "--from", file, "--data-dir", restored]).await;
    assert_eq!(code, Some(0), "{error}");
    assert!(out.contains(&digest), "{out} lacks {digest}");
    for _ in 0..2 {
        let (code, out, error) = output(&["verify", "--data-dir", restored]).await;
        assert_eq!(code, Some(0), "{error}");
        let shown = format!("digest      {digest}\n");
        assert!(out.contains(&shown), "{out} lacks {digest}");
        let mut process = Durable::process(Path::new(restored), &[]).await;
        process.child.kill().await.unwrap();
    }
    let process = Durable::process(Path::new(restored), &[]).await;
    let mut admin = AdminClient::new(channel(process.addr).await);
    let mut chunks = admin.backup(BackupRequest {}).await.unwrap().into_inner();
    let mut of_wire = Vec::new();
    while let Some(message) = chunks.message().await.unwrap() {
        of_wire = message.digest;
    }
    let of_wire: String = of_wire.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(of_wire, digest);
}

#[tokio::test]
async fn a_backup_is_private_and_gives_up_on_a_silent_server() {
    use std::os::unix::fs::PermissionsExt as _;
    let server = Durable::start(&[]).await;
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("backup");
    let to = file.to_str().unwrap();
    let from = server.process.addr.to_string();
    let (code, _, error) = output(&["backup", "--from", &from, "--to", to]).await;
    assert_eq!(code, Some(0), "{error}");
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    fs::remove_file(&file).unwrap();
    // The system accepts connections for this listener, but nobody answers them.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let from = silent.local_addr().unwrap().to_string();
    let backup = ["backup", "--from", &from, "--to", to, "--timeout", "200ms"];
    let (code, _, error) = output(&backup).await;
    assert_eq!(code, Some(1), "{error}");
    assert!(
        error.contains(&from) && error.contains("200ms") && error.contains("--timeout"),
        "{error}"
    );
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    // A killed backup leaves no file of the name that was asked for.
    let mut killed = command(&["backup", "--from", &from, "--to", to])
        .spawn()
        .unwrap();
    let _connected = silent.accept().unwrap();
    killed.kill().await.unwrap();
    assert!(!file.exists());
}

/// The files beside a backup that is to be made, other than the backup.
fn partial_files(of: &Path) -> Vec<String> {
    let files = fs::read_dir(of.parent().unwrap()).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let partial = format!("{}.partial-", of.file_name().unwrap().to_str().unwrap());
    names.filter(|name| name.starts_with(&partial)).collect()
}

/// Starts a backup that gets nothing, and waits until it is connected.
async fn silent_backup(to: &str) -> (tokio::process::Child, std::net::TcpStream) {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let from = silent.local_addr().unwrap().to_string();
    let backup = command(&["backup", "--from", &from, "--to", to]).spawn();
    let accepted = tokio::task::spawn_blocking(move || silent.accept().unwrap().0);
    (backup.unwrap(), accepted.await.unwrap())
}

#[tokio::test]
async fn what_a_killed_backup_leaves_is_removed_by_the_next_one() {
    let process = Process::start(&[]).await;
    let from = process.addr.to_string();
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("backup");
    let to = file.to_str().unwrap();
    let (mut running, _connection) = silent_backup(to).await;
    let of_running = partial_files(&file);
    assert_eq!(of_running.len(), 1);
    for other in [
        "backup.partial-mine",
        "backup2.partial-00000000000000000000000000000000",
    ] {
        fs::write(dir.path().join(other), "of somebody else").unwrap();
    }

    // A backup that is being made is left alone.
    let (code, _, error) = output(&["backup", "--from", &from, "--to", to]).await;
    assert_eq!(code, Some(0), "{error}");
    assert!(partial_files(&file).contains(&of_running[0]));

    running.kill().await.unwrap();
    fs::remove_file(&file).unwrap();
    let (code, _, log) = output(&["backup", "--from", &from, "--to", to]).await;
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains(&of_running[0]), "{log}");
    assert_eq!(partial_files(&file), ["backup.partial-mine"]);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
}

#[tokio::test]
async fn a_backup_that_is_interrupted_leaves_nothing() {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("backup");
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let (backup, _connection) = silent_backup(file.to_str().unwrap()).await;
        kill(Pid::from_raw(backup.id().unwrap() as i32), signal).unwrap();
        let ended = backup.wait_with_output().await.unwrap();
        let log = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{log}");
        assert!(log.contains("interrupted"), "{log}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}

/// Each error says what was tried, and what is there instead of a server.
#[tokio::test]
async fn a_backup_says_why_it_cannot_reach_a_server() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("backup");
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    // A server of HTTP/1.1.
    let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let of_other = other.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        use tokio::io::AsyncWriteExt as _;
        while let Ok((mut stream, _)) = other.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    for (from, code, says) in [
        (
            closed.as_str(),
            1,
            &["cannot reach", "refused", "is a server running", "--from"][..],
        ),
        (&of_other, 1, &["cannot reach", "HTTP/1", "--from"]),
        ("localhost", 2, &["the port is missing", "HOST:PORT"]),
        ("https://localhost:1", 1, &["--from"]),
    ] {
        let to = file.to_str().unwrap();
        let (ended, _, error) = output(&["backup", "--from", from, "--to", to]).await;
        assert_eq!(ended, Some(code), "{from}: {error}");
        for part in [&[from], says].concat() {
            assert!(error.contains(part), "{from}: {error:?} lacks {part:?}");
        }
        assert!(!error.contains("transport error"), "{from}: {error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "{from}");
    }
}
