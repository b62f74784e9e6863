//! The same journal on a real etcd, which `./test --tools` has put into `.tools`.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command as Process, Stdio};
use std::time::{Duration, Instant};

use soloist_etcd::{Etcd, Get, Options};
use tempfile::TempDir;

use super::support::{Node, Owner, QUOTA, digest, follow, until_reason};
use crate::journal::etcd::follow::Reason;
use crate::journal::etcd::keys::Keys;
use crate::journal::etcd::owned::between;
use crate::journal::interface::{Command, Event};

const MIB: usize = 1 << 20;

/// How long anything may take, on a busy machine.
const WITHIN: Duration = Duration::from_secs(60);

/// An etcd of one member, that runs until it is dropped.
struct RealEtcd {
    process: Child,
    url: String,
    _folder: TempDir,
}

impl Drop for RealEtcd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn tool() -> Process {
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/etcd/usr/bin/etcd");
    assert!(tool.exists(), "etcd is missing: run ./test --tools");
    Process::new(tool)
}

impl RealEtcd {
    fn start() -> Self {
        let ports: [_; 2] = std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        let urls =
            ports.map(|port| format!("http://127.0.0.1:{}", port.local_addr().unwrap().port()));
        let [url, peer] = urls;
        let folder = TempDir::new().unwrap();
        let mut process = tool();
        process
            .args(["--name", "e", "--log-level", "error", "--unsafe-no-fsync"])
            .arg("--data-dir")
            .arg(folder.path().join("data"))
            .args([
                "--listen-client-urls",
                &url,
                "--advertise-client-urls",
                &url,
            ])
            .args([
                "--listen-peer-urls",
                &peer,
                "--initial-advertise-peer-urls",
                &peer,
            ])
            .args(["--initial-cluster", &format!("e={peer}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self {
            process: process.spawn().unwrap(),
            url,
            _folder: folder,
        }
    }

    async fn client(&self) -> Etcd {
        let etcd = Etcd::connect(Options {
            endpoints: vec![self.url.clone()],
            tls: None,
            user: None,
            timeout: Duration::from_secs(5),
        });
        let (etcd, began) = (etcd.unwrap(), Instant::now());
        while let Err(error) = etcd.get(&Get::one("any")).await {
            assert!(began.elapsed() < WITHIN, "etcd does not start: {error}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        etcd
    }

    async fn node(&self, name: &str) -> Node {
        Node::with(self.client().await, name).await
    }

    /// Whether a node that has nothing gets what the owner has.
    async fn assert_has(&self, owner: &mut Owner) {
        let mut follower = self.node("cold").await.follower().await;
        assert_eq!(digest(&mut follower), owner.digest());
    }
}

/// Serves the journal until something is so.
async fn until(owner: &mut Owner, is_so: impl Fn(&Owner) -> bool) {
    let began = Instant::now();
    while !is_so(owner) {
        assert!(began.elapsed() < WITHIN, "it never is so");
        owner.rest(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_life_on_a_real_etcd() {
    let etcd = RealEtcd::start();
    let (a, b) = (etcd.node("a").await, etcd.node("b").await);
    let mut owner = a.own().await;
    for number in 0..100 {
        owner.commit(&format!("k{}", number % 7), number).await;
    }
    (0..5).for_each(|part| owner.write_large(&format!("large{part}"), MIB));
    owner.send_batch();
    owner.committed().await;
    owner.send(Command::Confirm);
    assert!(matches!(owner.event().await, Event::Confirmed));
    etcd.assert_has(&mut owner).await;

    // A snapshot, after which the log has what fills the history and what came since.
    for number in 0..20 {
        owner.commit("k", number).await;
    }
    owner.begin_snapshot();
    owner.commit("later", 1).await;
    until(&mut owner, |owner| owner.made == 1).await;
    let client = etcd.client().await;
    let began = Instant::now();
    loop {
        let records = Get::range(between(Keys::new("test").records()));
        let parts = Get::range(between(Keys::new("test").parts_before(u64::MAX)));
        let records = client.get(&records).await.unwrap().kvs.len();
        if records == 11 && client.get(&parts).await.unwrap().kvs.is_empty() {
            break;
        }
        assert!(began.elapsed() < WITHIN, "{records} records");
        owner.rest(Duration::from_millis(20)).await;
    }
    etcd.assert_has(&mut owner).await;

    // It hands off, and whoever is deposed is told so.
    b.register(true, 1).await;
    let mut follower = b.follower().await;
    owner.send(Command::HandOff {
        to: Some("b".into()),
        revision: owner.machine.revision(),
        time: owner.now(),
    });
    assert!(matches!(owner.event().await, Event::HandedOff { owner } if owner == "b:1"));
    assert_eq!(until_reason(&mut follower).await, Reason::HandedOff);
    let mut successor = b.take_over(&mut follower, Reason::HandedOff, QUOTA).await;
    successor.commit("l", 1).await;
    let c = etcd.node("c").await;
    let mut challenger = c.follower().await;
    follow(&mut challenger).await;
    let mut last = c.take_over(&mut challenger, Reason::Died, QUOTA).await;
    successor.send(Command::Confirm);
    let why = successor.failed().await;
    assert!(why.contains("node c"), "{why}");
    last.commit("m", 1).await;
    etcd.assert_has(&mut last).await;
}
