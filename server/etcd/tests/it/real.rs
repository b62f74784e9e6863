//! A real etcd, which `./test --tools` has put into `.tools`.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use soloist_etcd::{Etcd, Get, Options, Tls};
use tempfile::TempDir;

/// How long an etcd may take to start, on a busy machine.
const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// A member that runs until it is dropped.
pub(crate) struct Member {
    child: Child,
    port: u16,
    scheme: &'static str,
    _folder: TempDir,
}

/// One of etcd's programs.
fn tool(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let tool = root.join(".tools/etcd/usr/bin").join(name);
    assert!(tool.exists(), "{name} is missing: run ./test --tools");
    tool
}

/// Ports that nobody listens on now.
fn free_ports<const N: usize>() -> [u16; N] {
    let listeners: [TcpListener; N] =
        std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

impl Member {
    /// Starts an etcd of one member, with more arguments.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_with("http", arguments)
    }

    pub(crate) fn start_with(scheme: &'static str, arguments: &[&str]) -> Self {
        let [port, peer] = free_ports();
        Self::spawn(
            scheme,
            "e",
            port,
            peer,
            &format!("e=http://127.0.0.1:{peer}"),
            arguments,
        )
    }

    /// Starts an etcd of three members.
    pub(crate) fn three() -> [Self; 3] {
        let ports: [u16; 6] = free_ports();
        let names = ["e0", "e1", "e2"];
        let peers: [u16; 3] = [ports[3], ports[4], ports[5]];
        let url = |(name, peer)| format!("{name}=http://127.0.0.1:{peer}");
        let cluster: Vec<_> = names.into_iter().zip(peers).map(url).collect();
        let cluster = cluster.join(",");
        std::array::from_fn(|i| Self::spawn("http", names[i], ports[i], peers[i], &cluster, &[]))
    }

    fn spawn(
        scheme: &'static str,
        name: &str,
        port: u16,
        peer: u16,
        cluster: &str,
        arguments: &[&str],
    ) -> Self {
        let folder = TempDir::new().unwrap();
        let client_url = format!("{scheme}://127.0.0.1:{port}");
        let peer_url = format!("http://127.0.0.1:{peer}");
        let child = Command::new(tool("etcd"))
            .args(["--name", name, "--log-level", "error", "--unsafe-no-fsync"])
            .arg("--data-dir")
            .arg(folder.path().join("data"))
            .args(["--listen-client-urls", &client_url])
            .args(["--advertise-client-urls", &client_url])
            .args(["--listen-peer-urls", &peer_url])
            .args(["--initial-advertise-peer-urls", &peer_url])
            .args(["--initial-cluster", cluster])
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            child,
            port,
            scheme,
            _folder: folder,
        }
    }

    /// Has it stand still, or go on.
    pub(crate) fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let kill = Command::new("kill").args([signal, &id]).status();
        assert!(kill.unwrap().success());
    }

    pub(crate) fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.port)
    }

    /// A client, when the member answers.
    pub(crate) async fn client(&self) -> Etcd {
        self.client_with(None, None).await
    }

    pub(crate) async fn client_with(&self, tls: Option<Tls>, user: Option<(&str, &str)>) -> Etcd {
        let etcd = Etcd::connect(options(vec![self.url()], tls, user)).unwrap();
        until_it_answers(&etcd).await;
        etcd
    }

    /// Runs etcdctl.
    pub(crate) fn ctl(&self, arguments: &[&str]) {
        let ctl = Command::new(tool("etcdctl"))
            .args(["--endpoints", &self.url()])
            .args(arguments)
            .output()
            .unwrap();
        assert!(ctl.status.success(), "{arguments:?}: {ctl:?}");
    }
}

pub(crate) fn options(
    endpoints: Vec<String>,
    tls: Option<Tls>,
    user: Option<(&str, &str)>,
) -> Options {
    Options {
        endpoints,
        tls,
        user: user.map(|(user, password)| (user.to_owned(), password.to_owned())),
        timeout: Duration::from_secs(5),
    }
}

pub(crate) async fn until_it_answers(etcd: &Etcd) {
    let began = Instant::now();
    while let Err(error) = etcd.get(&Get::one("any")).await {
        assert!(
            began.elapsed() < STARTS_WITHIN,
            "etcd does not start: {error}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
