//! `backup`, `restore`, `verify` and `inspect`.

use std::fs;
use std::path::Path;

use soloist::v1::admin_client::AdminClient;
use soloist::v1::state_client::StateClient;
use soloist::v1::{BackupRequest, DeleteRequest};
use tempfile::TempDir;

use super::{Durable, output};
use crate::process::command;
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
        assert_eq!(code, Some(1));
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
    let (_, out, _) = output(&["inspect", "--data-dir", data, "--prefix", "7"]).await;
    assert!(
        out.starts_with("key \"7\"") && out.lines().count() == 1,
        "{out}"
    );
    let (_, out, _) = output(&["inspect", "--log", "--data-dir", data]).await;
    assert_eq!(out.matches("Written").count(), 10, "{out}");
    // The server is gone, so a backup of it fails.
    let other = dir.path().join("other");
    let (code, _, error) =
        output(&["backup", "--from", &addr, "--to", other.to_str().unwrap()]).await;
    assert_eq!(code, Some(1));
    assert!(error.contains(&addr), "{error}");
    assert!(!other.exists());
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
