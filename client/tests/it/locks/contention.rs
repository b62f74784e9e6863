//! The client library's lock, while the server is killed and holders are paused: what it protects never takes a write of
//! an older holder after one of a newer, and everybody gets a turn.

use std::env;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use soloist_client::{Batch, Client, Reason, Retry, Value, Write};
use soloist_server::Server;
use soloist_server::config::Config;

const CLIENTS: usize = 8;
const TURNS: usize = 4;
const KILLS: usize = 5;
const TTL: Duration = Duration::from_secs(2);

/// The variable that tells the process of a server where its files are.
const DIRECTORY: &str = "SOLOIST_TEST_LOCKS";

fn address(directory: &Path) -> String {
    format!("unix:{}", directory.join("socket").display())
}

/// A server with a store, in a process that can be killed. Its address outlives it.
struct Process(Child);

impl Process {
    /// This program again, with nothing but the test below.
    fn start(directory: &Path) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command
            .args(["--exact", "locks::contention::server_process", "--ignored"])
            .env(DIRECTORY, directory)
            .stdout(Stdio::null());
        Self(command.spawn().unwrap())
    }

    /// Ends the process as `kill -9` does.
    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

#[test]
#[ignore = "the server of another test, in a process of its own"]
fn server_process() {
    let Some(directory) = env::var_os(DIRECTORY) else {
        return;
    };
    let directory = Path::new(&directory);
    let mut config = Config::default();
    config.storage.data_dir = Some(directory.join("data"));
    // A killed server leaves its socket.
    let _ = std::fs::remove_file(directory.join("socket"));
    let listener = UnixListener::bind(directory.join("socket")).unwrap();
    Server::start(listener, &config).unwrap().wait().unwrap();
}

/// Connects to a server that may be starting.
async fn connect(address: &str) -> Client {
    loop {
        let builder = Client::builder(address).retry(Retry::default());
        match builder.connect().await {
            Ok(client) => return client,
            Err(error) => assert!(error.is_retryable(), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Takes the lock, and writes its token to what the lock protects, until it has done that often enough.
async fn take_turns(client: Client, turns: Arc<AtomicUsize>) {
    let mut taken = 0;
    while taken < TURNS {
        // A lock that was lost while its server was away is asked for again.
        let Ok(lock) = client.lock("lock").ttl(TTL).await else {
            continue;
        };
        let write = Write::new("protected", lock.token());
        let written = client.batch(Batch::new().op(lock.guard()).op(write)).await;
        if written.is_ok() {
            taken += 1;
            turns.fetch_add(1, Ordering::SeqCst);
        }
        let _ = lock.release().await;
    }
}

/// A holder that is paused as a process is that got SIGSTOP: its runtime does not run. It goes on when it is told to, and
/// still believes in its lock.
fn paused_holder(listen: String, holds: mpsc::SyncSender<i64>, go_on: mpsc::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().unwrap();
    let (client, lock) = runtime.block_on(async {
        let client = connect(&listen).await;
        let lock = client.lock("lock").ttl(TTL).await.unwrap();
        (client, lock)
    });
    holds.send(lock.token()).unwrap();
    go_on.recv().unwrap();
    runtime.block_on(async {
        let write = Write::new("protected", lock.token());
        let late = client.batch(Batch::new().op(lock.guard()).op(write)).await;
        let late = late.unwrap_err();
        assert_eq!(late.reason(), Some(Reason::ExpectationFailed), "{late}");
        lock.lost().await;
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_fences_off_older_holders_through_kills_and_pauses() {
    let directory = tempfile::tempdir().unwrap();
    let listen = address(directory.path());
    let mut server = Process::start(directory.path());
    let client = connect(&listen).await;
    let mut watch = client
        .watch_key("protected")
        .resume(Retry::default())
        .await
        .unwrap();
    let all = (CLIENTS * TURNS) as i64;
    let watched = tokio::spawn(async move {
        let mut newest = 0;
        let mut count = 0;
        while count < all {
            for event in watch.next().await.unwrap().unwrap().events {
                let Some(Value::Int(token)) = event.value() else {
                    panic!("{event:?}");
                };
                assert!(*token > newest, "{token} after {newest}");
                newest = *token;
                count += 1;
            }
        }
    });

    let (sender, holds) = mpsc::sync_channel(1);
    let (go_on, receiver) = mpsc::sync_channel(1);
    let at = listen.clone();
    let paused = std::thread::spawn(move || paused_holder(at, sender, receiver));
    tokio::task::spawn_blocking(move || holds.recv().unwrap())
        .await
        .unwrap();
    let turns = Arc::new(AtomicUsize::new(0));
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(tokio::spawn(take_turns(
            connect(&listen).await,
            turns.clone(),
        )));
    }
    for kill in 1..=KILLS {
        // The first turn comes when the session of the paused holder has ended.
        while turns.load(Ordering::SeqCst) < kill * (CLIENTS * TURNS) / (KILLS + 1) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        server.kill();
        server = Process::start(directory.path());
    }
    go_on.send(()).unwrap();
    for client in clients {
        client.await.unwrap();
    }
    watched.await.unwrap();
    tokio::task::spawn_blocking(move || paused.join().unwrap())
        .await
        .unwrap();
}
