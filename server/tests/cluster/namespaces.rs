//! Hosts of their own for members of etcd and for nodes: network namespaces behind a bridge, between which packets are lost without a
//! word. Only root can make them, with `ip` of iproute2.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use soloist::v1::state_client::StateClient;
use soloist_etcd::Get;

use crate::cluster::{Cluster, Plan, connect};
use crate::etcd_faults::{cut_off, three_members};
use crate::place::{free_address, next_port};
use crate::values::{int, write};

/// Where a process runs: on the host of the tests, or in a namespace.
#[derive(Clone, Default)]
pub(crate) struct Spot(Option<(String, Ipv4Addr)>);

impl Spot {
    pub(crate) fn free_address(&self) -> SocketAddr {
        match &self.0 {
            None => free_address(),
            Some((_, host)) => (*host, next_port()).into(),
        }
    }

    pub(crate) fn command(&self, program: &Path) -> Command {
        match &self.0 {
            None => Command::new(program),
            Some((name, _)) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", name]).arg(program);
                command
            }
        }
    }
}

/// Namespaces and the bridge between them, which has an address, too: that of the tests. Dropping it removes them.
pub(crate) struct Network {
    bridge: String,
    hosts: Vec<Spot>,
}

/// The members of etcd come first, and then the nodes.
pub(crate) const NODES_FROM: usize = 3;
const HOSTS: u8 = 6;

fn ip(words: &str) {
    let output = Command::new("ip").args(words.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {words}: {output:?}");
}

fn host(number: u8) -> Ipv4Addr {
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(10, 200 + high % 50, low, number)
}

impl Network {
    pub(crate) fn new() -> Self {
        let id = std::process::id();
        let bridge = format!("sl{id}");
        ip(&format!("link add {bridge} type bridge"));
        let mut network = Self {
            bridge,
            hosts: Vec::new(),
        };
        let bridge = &network.bridge;
        ip(&format!("addr add {}/24 dev {bridge}", host(1)));
        ip(&format!("link set {bridge} up"));
        for number in 0..HOSTS {
            let (name, address) = (format!("{bridge}-{number}"), host(10 + number));
            ip(&format!("netns add {name}"));
            ip(&format!(
                "link add {name} type veth peer name eth0 netns {name}"
            ));
            ip(&format!("link set {name} master {bridge} up"));
            ip(&format!("-n {name} addr add {address}/24 dev eth0"));
            ip(&format!("-n {name} link set eth0 up"));
            ip(&format!("-n {name} link set lo up"));
            network.hosts.push(Spot(Some((name, address))));
        }
        network
    }

    /// A cluster on these hosts.
    fn plan(&self) -> Plan<'_> {
        Plan {
            network: Some(self),
            arguments: &["--plaintext"],
            ttl: "2s",
            ..three_members()
        }
    }

    pub(crate) fn spot(&self, number: usize) -> Spot {
        self.hosts[number].clone()
    }

    /// Whether packets of one host to an address are lost.
    fn route(&self, from: usize, to: Ipv4Addr, is_cut: bool) {
        let Some((name, _)) = &self.hosts[from].0 else {
            unreachable!("all hosts are namespaces");
        };
        let change = if is_cut { "add" } else { "del" };
        ip(&format!("-n {name} route {change} blackhole {to}/32"));
    }

    /// Loses what two hosts send each other, or does not any more.
    fn between(&self, one: usize, other: usize, is_cut: bool) {
        self.route(one, host(10 + other as u8), is_cut);
        self.route(other, host(10 + one as u8), is_cut);
    }

    /// Loses what a host sends to clients, which are on the host of the tests.
    fn to_clients(&self, from: usize, is_cut: bool) {
        self.route(from, host(1), is_cut);
    }

    fn of_etcd(&self, node: usize, is_cut: bool) {
        for member in 0..NODES_FROM {
            self.between(NODES_FROM + node, member, is_cut);
        }
    }

    fn of_majority(&self, node: usize, is_cut: bool) {
        for member in 1..NODES_FROM {
            self.between(NODES_FROM + node, member, is_cut);
            self.between(0, member, is_cut);
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let delete = |words: &[&str]| {
            let _ = Command::new("ip").args(words).output();
        };
        for (name, _) in self.hosts.iter().filter_map(|it| it.0.as_ref()) {
            delete(&["netns", "del", name]);
        }
        delete(&["link", "del", &self.bridge]);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root"]
async fn in_namespaces_an_owner_cut_off_from_etcd_is_replaced() {
    let network = Network::new();
    cut_off(
        "in_namespaces_an_owner_cut_off_from_etcd_is_replaced",
        network.plan(),
        |_, owner| network.of_etcd(owner, true),
        |_, owner| network.of_etcd(owner, false),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root"]
async fn in_namespaces_an_owner_with_a_minority_is_replaced() {
    let network = Network::new();
    cut_off(
        "in_namespaces_an_owner_with_a_minority_is_replaced",
        network.plan(),
        |_, owner| network.of_majority(owner, true),
        |_, owner| network.of_majority(owner, false),
    )
    .await;
}

/// Clients do not reach the owner, but etcd and the standbys do: it stays, and they send calls on to it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root"]
async fn in_namespaces_an_owner_cut_off_from_clients_stays() {
    let network = Network::new();
    let cluster = Cluster::start(network.plan()).await;
    cluster.all_caught_up().await;
    let load = cluster.load(4, 1);
    load.reach(100).await;
    let (owner, shown) = cluster.owner().await;
    network.to_clients(NODES_FROM + owner, true);
    let began = std::time::Instant::now();
    let standby = cluster.nodes[(owner + 1) % 3].address;
    let mut forwarded = 0;
    while began.elapsed() < std::time::Duration::from_secs(5) {
        let mut state = StateClient::new(connect(standby));
        state.write(write("forwarded", int(1))).await.unwrap();
        forwarded += 1;
    }
    let key = Get::one("/soloist/test/o");
    let found = cluster.etcd.client().get(&key).await.unwrap();
    assert_eq!(found.kvs[0].mod_revision, shown.epoch, "{}", cluster.logs());
    network.to_clients(NODES_FROM + owner, false);
    load.reach(load.made() + 100).await;
    let (_, after) = cluster.owner().await;
    assert_eq!(after.epoch, shown.epoch, "{}", cluster.logs());
    let judged = cluster.judge(load).await;
    crate::rounds::report(
        "in_namespaces_an_owner_cut_off_from_clients_stays",
        serde_json::json!({"forwarded": forwarded, "operations": judged.operations, "unknown": judged.unknown,
                           "failures": judged.failures}),
    );
}
