//! A cluster under test: etcd, nodes, and the links between them.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use nix::sys::signal::Signal;
use soloist::v1::admin_client::AdminClient;
use soloist::v1::node::Role;
use soloist::v1::{self, GetNodeRequest};
use tonic::transport::{Channel, Endpoint};

use crate::etcd::Etcd;
use crate::link::{Link, Mode, SentAgain};
use crate::load::{Judged, Load};
use crate::namespaces::{NODES_FROM, Network, Spot};
use crate::processes;

/// How long the cluster may take to have an owner, on a machine that does much else. No test of what happens measures by it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// What a cluster is made of.
pub(crate) struct Plan<'a> {
    pub(crate) members: usize,
    pub(crate) nodes: usize,
    /// `--owner-ttl`.
    pub(crate) ttl: &'a str,
    /// Nodes reach etcd over links, and each other over another, which stays when the node has died.
    pub(crate) has_links: bool,
    /// Members and nodes have hosts of their own there.
    pub(crate) network: Option<&'a Network>,
    pub(crate) etcd_arguments: &'a [&'a str],
    /// `--max-store-bytes`.
    pub(crate) store_bytes: &'a str,
    /// `--cluster`.
    pub(crate) cluster: &'a str,
    pub(crate) arguments: &'a [&'a str],
}

impl Default for Plan<'_> {
    fn default() -> Self {
        Self {
            members: 1,
            nodes: 3,
            ttl: "2s",
            has_links: false,
            network: None,
            etcd_arguments: &[],
            store_bytes: "256MiB",
            cluster: "test",
            arguments: &[],
        }
    }
}

/// A cluster. Dropping it kills its processes. Its logs stay if the test fails.
pub(crate) struct Cluster {
    pub(crate) etcd: Etcd,
    pub(crate) nodes: Vec<Node>,
    folder: PathBuf,
}

/// One node, which may run or not.
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    spot: Spot,
    /// Its way to each member of etcd.
    to_etcd: Vec<Link>,
    /// The way of the other nodes to it.
    to_it: Option<Link>,
    /// Before the arguments of the next start, such as the variables of another clock.
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) binary: String,
    arguments: Vec<String>,
    log: PathBuf,
    process: Option<Child>,
}

impl Cluster {
    /// Starts everything, and waits for an owner.
    pub(crate) async fn start(plan: Plan<'_>) -> Self {
        let mut cluster = Self::prepare(&plan).await;
        for node in &mut cluster.nodes {
            node.start();
        }
        cluster.owner().await;
        cluster
    }

    /// Starts etcd, and makes nodes that do not run yet.
    pub(crate) async fn prepare(plan: &Plan<'_>) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("soloist-cluster-")
            .tempdir();
        let folder = folder.unwrap().keep();
        let etcd = match plan.network {
            None => Etcd::start(&folder, plan.members, plan.etcd_arguments).await,
            Some(network) => Etcd::start_in(network, &folder, plan.members).await,
        };
        Self::with(plan, etcd, folder).await
    }

    /// Makes nodes of an etcd that runs already.
    pub(crate) async fn of(plan: &Plan<'_>, etcd: Etcd) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("soloist-cluster-")
            .tempdir();
        Self::with(plan, etcd, folder.unwrap().keep()).await
    }

    async fn with(plan: &Plan<'_>, etcd: Etcd, folder: PathBuf) -> Self {
        let mut nodes = Vec::new();
        for (number, name) in ["a", "b", "c"].into_iter().take(plan.nodes).enumerate() {
            let spot = plan.network.map(|it| it.spot(NODES_FROM + number));
            let spot = spot.unwrap_or_default();
            nodes.push(Node::new(name, &folder, &etcd, plan, spot).await);
        }
        Self {
            etcd,
            nodes,
            folder,
        }
    }

    /// Puts load on all nodes.
    pub(crate) fn load(&self, clients: u32, watchers: usize) -> Load {
        let addresses: Vec<SocketAddr> = self.nodes.iter().map(|node| node.address).collect();
        Load::start(&addresses, clients, watchers)
    }

    /// Ends a load, and checks all that its clients and watchers were told.
    pub(crate) async fn judge(&self, load: Load) -> Judged {
        let judged = load.judge().await;
        judged.unwrap_or_else(|what| {
            panic!(
                "{what}\nfiles in {}: {}",
                self.folder.display(),
                self.logs()
            )
        })
    }

    /// The endpoints of etcd, as `--etcd` takes them.
    pub(crate) fn etcd_urls(&self) -> String {
        self.etcd.urls()
    }

    /// Waits for an owner. Returns its place, and what it says of itself.
    pub(crate) async fn owner(&self) -> (usize, v1::Node) {
        self.owner_after(0).await
    }

    /// What the owner says of itself, if there is one now.
    pub(crate) async fn try_owner(&self) -> Option<v1::Node> {
        for node in &self.nodes {
            if let Some(shown) = node.shown().await
                && shown.role() == Role::Owner
            {
                return Some(shown);
            }
        }
        None
    }

    /// Waits for an owner with a greater epoch than this.
    pub(crate) async fn owner_after(&self, epoch: i64) -> (usize, v1::Node) {
        // All at once: one that stands still says nothing for long.
        let asked = self.nodes.iter().enumerate().map(async |(place, node)| {
            loop {
                match node.shown().await {
                    Some(shown) if shown.role() == Role::Owner && shown.epoch > epoch => {
                        return (place, shown);
                    }
                    _ => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        });
        let mut asked: FuturesUnordered<_> = asked.collect();
        let owner = tokio::time::timeout(PATIENCE, asked.next()).await;
        let Ok(Some(owner)) = owner else {
            panic!(
                "no owner after epoch {epoch} in {PATIENCE:?}: {}",
                self.logs()
            );
        };
        owner
    }

    /// Waits until every node that runs stands by or owns, and has come as far as the owner.
    pub(crate) async fn all_caught_up(&self) {
        let began = Instant::now();
        loop {
            let (_, owner) = self.owner().await;
            let mut is_all = true;
            for node in self.nodes.iter().filter(|it| it.runs()) {
                let shown = node.shown().await;
                is_all &= shown.is_some_and(|it| it.epoch == owner.epoch && it.seq >= owner.seq);
            }
            if is_all {
                return;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "a node does not follow: {}",
                self.logs()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Runs a command of an operator, with the addresses of etcd and the name of the cluster.
    pub(crate) async fn command(&self, words: &[&str]) -> (Option<i32>, String) {
        let etcd = self.etcd_urls();
        run(&[words, &["--etcd", &etcd, "--cluster", "test"]].concat()).await
    }

    /// A node of another cluster on the same etcd, which does not run yet.
    pub(crate) async fn another(&self, cluster: &str) -> Node {
        let plan = Plan {
            cluster,
            ..Plan::default()
        };
        Node::new(cluster, &self.folder, &self.etcd, &plan, Spot::default()).await
    }

    /// Starts the nodes again that have ended because they were replaced. Returns how many that were.
    pub(crate) fn start_replaced(&mut self) -> usize {
        let ended = self.nodes.iter_mut().map(Node::start_if_replaced);
        ended.filter(|it| *it).count()
    }

    /// The ends of all logs.
    pub(crate) fn logs(&self) -> String {
        let log = |it: &Node| format!("\n== {}\n{}", it.name, processes::tail(&it.log));
        self.nodes.iter().map(log).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.nodes.clear();
        self.etcd.members.clear();
        if !std::thread::panicking() {
            std::fs::remove_dir_all(&self.folder).unwrap();
        }
    }
}

impl Node {
    async fn new(name: &str, folder: &Path, etcd: &Etcd, plan: &Plan<'_>, spot: Spot) -> Self {
        let address = spot.free_address();
        let (mut to_etcd, mut to_it) = (Vec::new(), None);
        if plan.has_links {
            for member in &etcd.members {
                to_etcd.push(Link::to(member.address).await);
            }
            to_it = Some(Link::to(address).await);
        }
        let urls: Vec<String> = (etcd.members.iter().enumerate())
            .map(|(number, member)| {
                let address = to_etcd
                    .get(number)
                    .map_or(member.address, |link| link.address);
                etcd.url(address)
            })
            .collect();
        let advertised = to_it.as_ref().map_or(address, |link: &Link| link.address);
        let arguments = [
            "--etcd",
            &urls.join(","),
            "--cluster",
            plan.cluster,
            "--node",
            name,
            "--listen",
            &address.to_string(),
            "--advertise",
            &advertised.to_string(),
            "--owner-ttl",
            plan.ttl,
            "--max-store-bytes",
            plan.store_bytes,
        ]
        .map(str::to_owned);
        let more = plan.arguments.iter().map(|it| (*it).to_owned());
        Self {
            name: name.into(),
            address,
            spot,
            to_etcd,
            to_it,
            environment: Vec::new(),
            binary: processes::server(),
            arguments: arguments.into_iter().chain(more).collect(),
            log: folder.join(format!("{name}.log")),
            process: None,
        }
    }

    pub(crate) fn start(&mut self) {
        let mut options = File::options();
        let log = options.create(true).append(true).open(&self.log).unwrap();
        let child = self
            .spot
            .command(Path::new(&self.binary))
            .args(&self.arguments)
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.process = Some(child.unwrap());
    }

    /// For its next start.
    pub(crate) fn add_argument(&mut self, argument: &str) {
        self.arguments.push(argument.into());
    }

    pub(crate) fn runs(&self) -> bool {
        self.process.is_some()
    }

    /// Kills it at once. It must have run until now.
    pub(crate) fn kill(&mut self) {
        let mut child = self.process.take().unwrap();
        child.kill().unwrap();
        let status = child.wait().unwrap();
        let is_killed = status.signal() == Some(Signal::SIGKILL as i32);
        assert!(
            is_killed,
            "it ended by itself, with {status}: {}",
            self.log()
        );
    }

    pub(crate) fn signal(&self, signal: Signal) {
        processes::signal(self.process.as_ref().unwrap().id(), signal);
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let began = Instant::now();
        let mut child = self.process.take().unwrap();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status;
            }
            if began.elapsed() > PATIENCE {
                processes::kill(Some(child));
                panic!("{} does not end: {}", self.name, self.log());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Starts it again if it has ended because it was replaced. Returns whether it had.
    fn start_if_replaced(&mut self) -> bool {
        let process = self.process.as_mut().unwrap();
        let Some(status) = process.try_wait().unwrap() else {
            return false;
        };
        assert_eq!(status.code(), Some(1), "{}", self.log());
        self.start();
        true
    }

    /// The end of its log.
    pub(crate) fn log(&self) -> String {
        processes::tail(&self.log)
    }

    pub(crate) fn whole_log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// What it says of itself, if it answers.
    pub(crate) async fn shown(&self) -> Option<v1::Node> {
        self.process.as_ref()?;
        let asked = async {
            let mut admin = AdminClient::new(connect(self.address));
            admin.get_node(GetNodeRequest {}).await
        };
        let answered = tokio::time::timeout(Duration::from_secs(1), asked).await;
        Some(answered.ok()?.ok()?.into_inner())
    }

    /// What becomes of its connections to members of etcd; `None`: to all.
    pub(crate) fn to_etcd(&self, member: Option<usize>, mode: Mode) {
        for (number, link) in self.to_etcd.iter().enumerate() {
            if member.is_none_or(|member| member == number) {
                link.set(mode);
            }
        }
    }

    /// How many answers of etcd to it were thrown away.
    pub(crate) fn thrown(&self) -> u64 {
        self.to_etcd.iter().map(Link::thrown).sum()
    }

    /// Keeps what it sends to etcd on connections that it makes from now on.
    pub(crate) fn keep_requests(&self) {
        self.to_etcd.iter().for_each(Link::keep_requests);
    }

    /// Sends all of it to etcd again.
    pub(crate) async fn send_again(&self) -> SentAgain {
        let mut sent = SentAgain::default();
        for link in &self.to_etcd {
            sent += link.send_again().await;
        }
        sent
    }

    /// Keeps no longer what came on connections that have ended.
    pub(crate) fn forget_ended(&self) {
        self.to_etcd.iter().for_each(Link::forget_ended);
    }

    /// What becomes of the connections of other nodes to it.
    pub(crate) fn to_it(&self, mode: Mode) {
        self.to_it.as_ref().unwrap().set(mode);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        processes::kill(self.process.take());
    }
}

/// A connection that is made when it is needed, and again when it breaks.
pub(crate) fn connect(address: SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    endpoint
        .connect_timeout(Duration::from_secs(2))
        .connect_lazy()
}

/// Runs the binary until it ends. Returns its exit code, and all that it printed.
pub(crate) async fn run(words: &[&str]) -> (Option<i32>, String) {
    let output = tokio::process::Command::new(processes::server())
        .args(words)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, output).await;
    let output = output.expect("the command ends by itself").unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}
