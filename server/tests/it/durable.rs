//! The binary with a data directory: what is there after it was killed, and its errors when it cannot start.

use std::fs;
use std::path::Path;
use std::time::Duration;

use soloist::v1::admin_client::AdminClient;
use soloist::v1::machines_client::MachinesClient;
use soloist::v1::sessions_client::SessionsClient;
use soloist::v1::state_client::StateClient;
use soloist::v1::{
    self, AddRequest, BackupRequest, BatchRequest, DefineMachineRequest, DeleteRequest,
    GetInfoRequest, Info, OpenSessionRequest, TransitionRequest, WatchRequest, WriteRequest,
};
use tempfile::TempDir;
use tonic::Code;
use tonic::transport::Channel;

use crate::process::{Process, command};
use crate::support::{
    assert_refused, atomic, channel, frame, int, pipeline, read, read_op, text, write, write_op,
};

struct Durable {
    dir: TempDir,
    process: Process,
    args: Vec<String>,
}

impl Durable {
    async fn start(args: &[&str]) -> Self {
        let dir = TempDir::new().unwrap();
        let args: Vec<_> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let process = Self::process(dir.path(), &args).await;
        Self { dir, process, args }
    }

    async fn process(dir: &Path, args: &[String]) -> Process {
        let mut all = vec!["--data-dir", dir.to_str().unwrap()];
        all.extend(args.iter().map(String::as_str));
        Process::start(&all).await
    }

    /// Kills the server, and starts it again.
    async fn killed(mut self) -> Self {
        self.process.child.kill().await.unwrap();
        let process = Self::process(self.dir.path(), &self.args).await;
        Self { process, ..self }
    }

    /// Shuts the server down in order, and starts it again.
    async fn restarted(mut self) -> Self {
        self.process.end().await;
        self.process = Self::process(self.dir.path(), &self.args).await;
        self
    }

    async fn channel(&self) -> Channel {
        channel(self.process.addr).await
    }

    async fn state(&self) -> StateClient<Channel> {
        StateClient::new(self.channel().await)
    }

    async fn info(&self) -> Info {
        let mut admin = AdminClient::new(self.channel().await);
        admin
            .get_info(GetInfoRequest {})
            .await
            .unwrap()
            .into_inner()
    }

    fn path(&self) -> &str {
        self.dir.path().to_str().unwrap()
    }
}

#[tokio::test]
async fn a_deletion_by_prefix_survives_a_kill_with_its_answer() {
    let server = Durable::start(&[]).await;
    let mut state = server.state().await;
    for n in 0..5 {
        state.write(write(format!("t/{n}"), int(n))).await.unwrap();
    }
    state.write(write("kept", int(1))).await.unwrap();
    let delete = |page_token: &str, id: &str| v1::DeletePrefixRequest {
        prefix: "t/".into(),
        limit: 3,
        page_token: page_token.into(),
        request_id: id.into(),
        ..Default::default()
    };
    let first = state.delete_prefix(delete("", "1")).await.unwrap();
    let first = first.into_inner();
    assert_eq!((first.deleted_count, first.revision), (3, 7));

    let server = server.killed().await;
    let mut state = server.state().await;
    let again = state.delete_prefix(delete("", "1")).await.unwrap();
    let replayed = v1::DeletePrefixResponse {
        replayed: true,
        ..first.clone()
    };
    assert_eq!(again.into_inner(), replayed);
    let rest = delete(&first.next_page_token, "2");
    let rest = state.delete_prefix(rest).await.unwrap().into_inner();
    assert_eq!((rest.deleted_count, rest.next_page_token.as_str()), (2, ""));
    let server = server.killed().await;
    assert_eq!(server.info().await.key_count, 1);
}

/// A read behind a write of its stream is answered as of what is on disk, which may be before the write.
#[tokio::test]
async fn revisions_of_a_stream_do_not_go_back() {
    let server = Durable::start(&[]).await;
    let mut state = server.state().await;
    state.write(write("other", int(0))).await.unwrap();
    let (frames, mut answers) = pipeline(&mut state).await;
    const PAIRS: i64 = 80;
    for n in 0..PAIRS {
        let written = frame([write_op(write("k", int(n)))]);
        frames.send(written).await.unwrap();
        frames.send(frame([read_op("other")])).await.unwrap();
        frames.send(atomic([read_op("other")])).await.unwrap();
    }
    let mut last = 0;
    for answer in 0..3 * PAIRS {
        let answered = answers.message().await.unwrap().unwrap();
        let now = answered.revision;
        assert!(now >= last, "answer {answer}: {now} comes after {last}");
        last = now;
        if let Some(v1::op_result::Result::Read(read)) = &answered.results[0].result {
            assert_eq!(read.revision, now);
        }
    }
}

async fn output(args: &[&str]) -> (Option<i32>, String, String) {
    let output = command(args).output();
    let output = tokio::time::timeout(Duration::from_secs(20), output).await;
    let output = output.expect("the command ends by itself").unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[tokio::test]
async fn everything_is_there_after_a_kill() {
    let server = Durable::start(&[]).await;
    let mut state = server.state().await;
    let mut sessions = SessionsClient::new(server.channel().await);
    let mut machines = MachinesClient::new(server.channel().await);
    let of_state = |next: &[&str]| v1::machine::State {
        next: next.iter().map(|next| (*next).into()).collect(),
        ..Default::default()
    };
    let machine = v1::Machine {
        name: "conn".into(),
        key_prefix: "conn/".into(),
        initial: "idle".into(),
        states: [
            ("idle".into(), of_state(&["closing"])),
            ("closing".into(), of_state(&[])),
        ]
        .into(),
        ..Default::default()
    };
    let define = DefineMachineRequest {
        machine: Some(machine),
        ..Default::default()
    };
    machines.define_machine(define).await.unwrap();
    let open = OpenSessionRequest {
        id: "holder".into(),
        ttl: Some(prost_types::Duration {
            seconds: 60,
            nanos: 0,
        }),
        ..Default::default()
    };
    let session = sessions.open_session(open).await.unwrap().into_inner();
    let locked = WriteRequest {
        lifetime: Some(v1::write_request::Lifetime::Session("holder".into())),
        ..write("lock", int(1))
    };
    state.write(locked).await.unwrap();
    let mortal = WriteRequest {
        lifetime: Some(v1::write_request::Lifetime::Ttl(prost_types::Duration {
            seconds: 600,
            nanos: 0,
        })),
        ..write("mortal", text("soon gone"))
    };
    state.write(mortal).await.unwrap();
    state.write(write("conn/1", int(0))).await.unwrap();
    let moved = TransitionRequest {
        key: "conn/1".into(),
        to: "closing".into(),
        ..Default::default()
    };
    state.transition(moved).await.unwrap();
    let add = AddRequest {
        key: "counter".into(),
        delta: 5,
        request_id: "once".into(),
        ..Default::default()
    };
    let added = state.add(add.clone()).await.unwrap().into_inner();
    let batch = BatchRequest {
        ops: vec![write_op(write("a", int(1))), write_op(write("b", int(2)))],
        request_id: "both".into(),
    };
    let batched = state.batch(batch.clone()).await.unwrap().into_inner();
    let before = server.info().await;
    let entries = async |state: &mut StateClient<Channel>| {
        let list = v1::ListRequest::default();
        state.list(list).await.unwrap().into_inner().entries
    };
    let listed = entries(&mut state).await;
    assert_eq!(listed.len(), 6);

    let server = server.killed().await;
    let after = server.info().await;
    assert_eq!(after.store_id, before.store_id);
    assert_eq!((before.epoch, after.epoch), (1, 2));
    assert!(
        after.revision > before.revision,
        "revisions that may have been used are skipped"
    );
    assert_eq!(after.durability, "sync");
    let mut state = server.state().await;
    assert_eq!(entries(&mut state).await, listed);
    let again = state.add(add).await.unwrap().into_inner();
    assert_eq!(
        again,
        v1::AddResponse {
            replayed: true,
            ..added
        }
    );
    let again = state.batch(batch).await.unwrap().into_inner();
    assert_eq!((again.replayed, again.revision), (true, batched.revision));
    // The session is the same one, and its ttl has started again.
    let mut sessions = SessionsClient::new(server.channel().await);
    let living = sessions
        .list_sessions(v1::ListSessionsRequest::default())
        .await
        .unwrap()
        .into_inner()
        .sessions;
    assert_eq!(living.len(), 1);
    assert_eq!(living[0].create_revision, session.create_revision);
    let (first, second) = (session.expire_time.unwrap(), living[0].expire_time.unwrap());
    let later = second.seconds - first.seconds;
    assert!((0..60).contains(&later), "{later} s later");
    assert_eq!(living[0].key_count, 1);
    // The machine still refuses moves that it does not allow.
    let back = TransitionRequest {
        key: "conn/1".into(),
        to: "idle".into(),
        ..Default::default()
    };
    let refused = state.transition(back).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn a_shutdown_in_order_skips_no_revisions() {
    let server = Durable::start(&[]).await;
    server
        .state()
        .await
        .write(write("k", int(1)))
        .await
        .unwrap();
    let before = server.info().await;
    let server = server.restarted().await;
    let after = server.info().await;
    assert_eq!(after.revision, before.revision);
    assert_eq!(after.store_id, before.store_id);
}

#[tokio::test]
async fn a_watch_resumes_after_restarts_and_snapshots() {
    let mut server = Durable::start(&["--snapshot-log-bytes", "20000"]).await;
    let mut seen = Vec::new();
    let mut resume_after = 0;
    let value = |round: i32, n: i32| text(format!("{round}-{n:-<500}"));
    for round in 0..6 {
        let mut state = server.state().await;
        for n in 0..40 {
            let request = write(n.to_string(), value(round, n));
            state.write(request).await.unwrap();
        }
        server = server.killed().await;
        let mut state = server.state().await;
        let request = WatchRequest {
            target: Some(v1::watch_request::Target::Prefix(String::new())),
            after_revision: Some(resume_after),
            previous: true,
            ..Default::default()
        };
        let mut messages = state.watch(request).await.unwrap().into_inner();
        loop {
            let message = messages.message().await.unwrap().unwrap();
            for event in message.events.iter().filter(|_| round > 0) {
                assert!(event.previous.is_some() != event.previous_left_out);
            }
            let entries = message.events.into_iter().map(|event| event.entry.unwrap());
            seen.extend(entries.map(|entry| entry.value.unwrap()));
            if message.caught_up {
                resume_after = message.revision;
                break;
            }
        }
    }
    let expected = (0..6).flat_map(|round| (0..40).map(move |n| value(round, n)));
    assert!(
        seen == expected.collect::<Vec<_>>(),
        "each change once, in order"
    );
    // A kill may have come before the snapshot of its round. The log goes on growing until both snapshots are there.
    let snapshot = server.dir.path().join("snapshot-b.redb");
    let mut state = server.state().await;
    let second_snapshot = async {
        while fs::metadata(&snapshot).unwrap().len() == 0 {
            state.write(write("k", value(6, 0))).await.unwrap();
        }
    };
    let made = tokio::time::timeout(Duration::from_secs(30), second_snapshot).await;
    made.expect("a second snapshot is made");
}

#[tokio::test]
async fn changes_answered_early_may_be_lost_and_then_the_store_id_changes() {
    for mode in ["interval=60000", "none"] {
        let server = Durable::start(&["--durability", mode]).await;
        server
            .state()
            .await
            .write(write("k", int(1)))
            .await
            .unwrap();
        let before = server.info().await;
        assert_eq!(before.durability, mode);
        assert!(
            before.loss_window.contains("loses"),
            "{}",
            before.loss_window
        );
        let server = server.killed().await;
        let after = server.info().await;
        assert_ne!(after.store_id, before.store_id);
        assert!(after.revision > before.revision + (1 << 39));
        // A shutdown in order loses nothing.
        server
            .state()
            .await
            .write(write("k", int(2)))
            .await
            .unwrap();
        let before = server.info().await;
        let server = server.restarted().await;
        let after = server.info().await;
        assert_eq!(after.store_id, before.store_id);
        assert_eq!(after.revision, before.revision);
        let outcome = server.state().await.read(read("k")).await.unwrap();
        assert_eq!(outcome.into_inner().entry.unwrap().value, Some(int(2)));
    }
    let server = Durable::start(&["--durability", "interval=10"]).await;
    server
        .state()
        .await
        .write(write("k", int(1)))
        .await
        .unwrap();
    // The change is on disk after the interval; this waits much longer.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let server = server.killed().await;
    let outcome = server.state().await.read(read("k")).await.unwrap();
    assert!(outcome.into_inner().entry.is_some());
}

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
        assert_eq!(code, Some(1), "{args:?}: {error}");
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
    let ended = server.process.child.wait().await.unwrap();
    assert_eq!(ended.code(), Some(1));
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
    assert_eq!((code, out.as_str()), (Some(1), ""), "{error}");
    for part in ["log.redb", "--accept-data-loss=0"] {
        assert!(error.contains(part), "{error}");
    }
    let (code, _, error) = output(&[&start[..], &["--accept-data-loss=5"]].concat()).await;
    assert_eq!(code, Some(1));
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

#[tokio::test]
async fn little_disk_space_refuses_growth() {
    let server = Durable::start(&["--min-free-bytes", "1000000000000000"]).await;
    let mut state = server.state().await;
    // The server checks the free space when it starts, and then every second.
    let refused = loop {
        if let Err(refused) = state.write(write("k", int(1))).await {
            break refused;
        }
    };
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
