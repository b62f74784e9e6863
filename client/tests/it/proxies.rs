//! Proxies that end connections in order: nginx after so many calls, haproxy when it is reloaded. Nothing fails because of that,
//! also without retries. The proxies have the configuration of `deploy/proxy/`.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use soloist_client::{Add, Client, Frame, Value};
use tempfile::TempDir;
use tokio::sync::watch;

use crate::support::TestServer;

/// The root of the repository.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// A proxy in front of a server. It ends with this.
struct Running {
    child: Child,
    address: String,
    directory: TempDir,
}

impl Running {
    /// Starts a proxy that `./test --tools` installs, or else the system's. `command` gets its configuration, with these addresses,
    /// and the folder for its files.
    fn start(
        name: &str,
        config: &str,
        server: &TestServer,
        command: impl FnOnce(&mut Command, &Path, &str),
    ) -> Self {
        // Nobody else takes a port that was just free, or else the proxy says so.
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap().to_string();
        drop(free);
        let config = fs::read_to_string(format!("{ROOT}/deploy/proxy/{config}")).unwrap();
        for expected in ["127.0.0.1:8080", "127.0.0.1:50051"] {
            assert_eq!(config.matches(expected).count(), 1, "{config}");
        }
        let config = config
            .replace("127.0.0.1:8080", &address)
            .replace("127.0.0.1:50051", &server.address());
        let directory = tempfile::tempdir().unwrap();
        let mut program = Command::new(installed(name));
        program
            .env("LD_LIBRARY_PATH", libraries(name))
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(directory.path().join("log")).unwrap());
        command(&mut program, directory.path(), &config);
        let child = program
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}; ./test --tools installs it"));
        Self {
            child,
            address,
            directory,
        }
    }

    /// Connects as soon as the proxy listens.
    async fn client(&mut self) -> Client {
        loop {
            match Client::connect(&self.address).await {
                Ok(client) => return client,
                Err(error) => {
                    let log = self.read("log");
                    assert!(self.child.try_wait().unwrap().is_none(), "{error}: {log}");
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        }
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.directory.path().join(file)).unwrap()
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let kill = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(kill.success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // In order: then the processes that it has started end, too.
        self.signal("-TERM");
        let _ = self.child.wait();
    }
}

fn installed(name: &str) -> PathBuf {
    let path = format!("{ROOT}/.tools/{name}/usr/sbin/{name}");
    match Path::new(&path).exists() {
        true => path.into(),
        false => name.into(),
    }
}

/// The folder of the libraries that were installed with a proxy.
fn libraries(name: &str) -> PathBuf {
    let folders = fs::read_dir(format!("{ROOT}/.tools/{name}/usr/lib"));
    let mut folders = folders
        .into_iter()
        .flatten()
        .map(|folder| folder.unwrap().path());
    let found = folders.find(|folder| folder.to_string_lossy().ends_with("-linux-gnu"));
    found.unwrap_or_default()
}

/// How many calls have succeeded, and whether there are to be no more.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    calls: i64,
    is_over: bool,
}

type Shared = Arc<watch::Sender<Progress>>;

/// Waits until so many more calls have succeeded.
async fn after_calls(progress: &Shared, calls: i64) {
    let end = progress.borrow().calls + calls;
    let mut progress = progress.subscribe();
    let many = progress.wait_for(|now| now.calls >= end);
    many.await.unwrap();
}

/// Adds one, again and again, each time as a call.
async fn call(client: Client, progress: Shared) {
    while !progress.borrow().is_over {
        client.add("count", 1).await.unwrap();
        progress.send_modify(|now| now.calls += 1);
    }
}

/// Opens a pipeline, again and again, for a frame each.
async fn open_pipelines(client: Client, progress: Shared) {
    while !progress.borrow().is_over {
        let mut pipeline = client.pipeline().await.unwrap();
        pipeline.send(add()).unwrap();
        answered(pipeline.recv().await);
        progress.send_modify(|now| now.calls += 1);
    }
}

/// Keeps to one pipeline.
async fn use_pipeline(client: Client, progress: Shared) {
    let mut pipeline = client.pipeline().await.unwrap();
    while !progress.borrow().is_over {
        pipeline.send(add()).unwrap();
        answered(pipeline.recv().await);
        progress.send_modify(|now| now.calls += 1);
    }
}

fn add() -> Frame {
    Frame::new().op(Add::new("count", 1))
}

fn answered(reply: Result<Option<soloist_client::FrameReply>, soloist_client::Error>) {
    let results = reply.unwrap().unwrap().results.unwrap();
    assert!(results.iter().all(Result::is_ok), "{results:?}");
}

/// Opens a watch, again and again, and looks at what there is.
async fn open_watches(client: Client, progress: Shared) {
    while !progress.borrow().is_over {
        let mut watch = client.watch_key("count").initial().await.unwrap();
        watch.next().await.unwrap().unwrap();
    }
}

/// Keeps to one watch, which does not resume. Returns the last sum, after all of them have come.
async fn use_watch(client: Client, progress: Shared) -> i64 {
    let mut watch = client.watch_key("count").after_revision(0).await.unwrap();
    let mut progress = progress.subscribe();
    let mut sum = 0;
    loop {
        let over = progress.wait_for(|now| now.is_over);
        let message = tokio::select! {
            message = watch.next() => message.unwrap().unwrap(),
            // What was in flight then is counted by then.
            over = over => return over.map(|_| sum).unwrap(),
        };
        for event in message.events {
            sum += 1;
            assert_eq!(event.value(), Some(&Value::Int(sum)));
        }
    }
}

/// Uses a server by all kinds of calls until `trouble` is over. None fails, and each is applied once.
async fn nothing_fails(client: &Client, trouble: impl AsyncFnOnce(&Shared)) {
    let progress: Shared = Arc::default();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        tasks.spawn(call(client.clone(), Arc::clone(&progress)));
    }
    tasks.spawn(open_pipelines(client.clone(), Arc::clone(&progress)));
    tasks.spawn(use_pipeline(client.clone(), Arc::clone(&progress)));
    tasks.spawn(open_watches(client.clone(), Arc::clone(&progress)));
    let watching = tokio::spawn(use_watch(client.clone(), Arc::clone(&progress)));
    tokio::select! {
        () = trouble(&progress) => {}
        // None of them ends before it is told to.
        Some(ended) = tasks.join_next() => panic!("{ended:?}"),
    }
    progress.send_modify(|now| now.is_over = true);
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    let calls = progress.borrow().calls;
    let count = client.read("count").await.unwrap();
    assert_eq!(count.value(), Some(&Value::Int(calls)));
    assert!(watching.await.unwrap() > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_that_ends_connections_after_a_hundred_calls_fails_none() {
    let server = TestServer::start();
    let mut nginx = Running::start(
        "nginx",
        "nginx.conf",
        &server,
        |nginx, directory, config| {
            let all = format!(
            "daemon off; pid nginx.pid; error_log stderr; worker_processes 1;
             events {{ worker_connections 4096; }}
             http {{
               keepalive_requests 100; log_format connection $connection; access_log connections connection;
               client_body_temp_path a; proxy_temp_path b; fastcgi_temp_path c; uwsgi_temp_path d; scgi_temp_path e;
               {config}
             }}"
        );
            fs::write(directory.join("nginx.conf"), all).unwrap();
            nginx.arg("-p").arg(directory).args(["-c", "nginx.conf"]);
        },
    );
    let client = nginx.client().await;
    nothing_fails(&client, async |progress| after_calls(progress, 1_500).await).await;
    // All at once: some of them meet the end of more than one connection.
    let mut burst = tokio::task::JoinSet::new();
    for _ in 0..1_500 {
        let client = client.clone();
        burst.spawn(async move { client.read("count").await.map(drop) });
    }
    while let Some(read) = burst.join_next().await {
        if let Err(error) = read.unwrap() {
            panic!("{error}: {}", nginx.read("log"));
        }
    }
    let connections = nginx.read("connections");
    let connections: BTreeSet<_> = connections.lines().collect();
    assert!(connections.len() >= 12, "{connections:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn haproxy_that_is_reloaded_fails_no_call() {
    let server = TestServer::start();
    let mut haproxy = Running::start(
        "haproxy",
        "haproxy.cfg",
        &server,
        |haproxy, directory, config| {
            fs::write(directory.join("haproxy.cfg"), config).unwrap();
            haproxy.args(["-W", "-db", "-f", "haproxy.cfg"]);
        },
    );
    let client = haproxy.client().await;
    let haproxy = &haproxy;
    nothing_fails(&client, async |progress| {
        for reload in 2..6 {
            after_calls(progress, 300).await;
            haproxy.signal("-USR2");
            // The new process serves, and the old ones have been told to end.
            while haproxy.read("log").matches("Loading success").count() < reload {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        after_calls(progress, 300).await;
    })
    .await;
}
