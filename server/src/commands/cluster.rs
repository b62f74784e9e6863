//! `cluster status`, `cluster handoff` and `cluster upgrade`: they talk to etcd, and to no node.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use clap::{Args, Subcommand};
use prost::Message;
use soloist_etcd::{Compare, Etcd, Get, KeyRange, KeyValue, Op, RangeAnswer, Txn};
use tokio::runtime;
use tokio::time::{sleep, timeout};

use super::{hex, limits};
use crate::cluster::client;
use crate::config::{ClusterName, EtcdLogin, EtcdUrl, check_endpoints};
use crate::ids::random_name;
use crate::journal::etcd::{
    self, ClusterRecord as Cluster, FORMATS, HandOff, Keys, NewCluster, Node, Owner,
};
use crate::progress::Progress;
use crate::wall_clock;

/// Which cluster, and how to reach its etcd.
#[derive(Args, Clone, Debug)]
pub struct ClusterArgs {
    /// Addresses of etcd, with commas between: http://HOST:PORT or https://HOST:PORT.
    #[arg(
        long,
        value_name = "URLS",
        env = "SOLOIST_ETCD",
        value_delimiter = ',',
        required = true
    )]
    etcd: Vec<EtcdUrl>,
    /// Name of the cluster.
    #[arg(long, value_name = "NAME", env = "SOLOIST_CLUSTER")]
    cluster: ClusterName,
    #[command(flatten)]
    /// How to log in to etcd.
    login: EtcdLogin,
    /// Give up when etcd does not answer for this long.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

/// The cluster that a backup is restored to.
#[derive(Args, Clone, Debug, Default)]
pub struct NewClusterArgs {
    /// Restore to a new cluster: addresses of etcd, with commas between. Also the way from a data directory to a cluster.
    #[arg(
        long,
        value_name = "URLS",
        env = "SOLOIST_ETCD",
        value_delimiter = ',',
        requires = "cluster"
    )]
    etcd: Vec<EtcdUrl>,
    /// Name of the new cluster, which must not exist.
    #[arg(long, value_name = "NAME", env = "SOLOIST_CLUSTER", requires = "etcd")]
    cluster: Option<ClusterName>,
    #[command(flatten)]
    /// How to log in to etcd.
    login: EtcdLogin,
}

/// What to do with a cluster.
#[derive(Clone, Debug, Subcommand)]
pub enum ClusterCommand {
    /// Prints who owns the store, which nodes there are, and how etcd is.
    ///
    /// Exit code 1 if there is no such cluster, or no owner.
    Status(ClusterArgs),
    /// Makes another node the owner, in milliseconds.
    ///
    /// The node that was the owner ends, with exit code 1, so that its supervisor starts it again as a standby.
    Handoff {
        #[command(flatten)]
        /// Which cluster.
        args: ClusterArgs,
        /// The node that is to own the store.
        #[arg(long, value_name = "NODE")]
        to: ClusterName,
    },
    /// Has the cluster use the newest format that every node can read, from the next owner on.
    Upgrade(ClusterArgs),
}

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

pub(super) fn run(command: &ClusterCommand, out: &mut dyn Write) -> Outcome {
    let (ClusterCommand::Status(args)
    | ClusterCommand::Handoff { args, .. }
    | ClusterCommand::Upgrade(args)) = command;
    check_endpoints(&args.etcd, &args.login)?;
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let etcd = client(&args.etcd, &args.login, ANSWER_WITHIN)?;
        let seen = Seen {
            etcd,
            keys: Keys::new(args.cluster.as_str()),
            name: args.cluster.to_string(),
            timeout: args.timeout,
        };
        match command {
            ClusterCommand::Status(_) => seen.status(out).await,
            ClusterCommand::Handoff { to, .. } => seen.hand_off(to.as_str(), out).await,
            ClusterCommand::Upgrade(_) => seen.upgrade(out).await,
        }
    })
}

/// Restores the backup `from` to a new cluster.
pub(super) fn restore(
    from: &Path,
    args: &NewClusterArgs,
    progress: &Progress,
    out: &mut dyn Write,
) -> Outcome {
    check_endpoints(&args.etcd, &args.login)?;
    let name = args.cluster.as_ref().map_or("", |name| name.as_str());
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let store_id = random_name();
    let restored = runtime.block_on(async {
        let etcd = client(&args.etcd, &args.login, ANSWER_WITHIN)?;
        let to = NewCluster {
            etcd: &etcd,
            keys: &Keys::new(name),
            store_id: &store_id,
            now: wall_clock::now(),
        };
        Ok::<_, Box<dyn Error>>(etcd::restore(from, &to, &limits(), progress).await?)
    });
    progress.end();
    let (backup, revision) = restored?;
    writeln!(
        out,
        "cluster {name}: {} keys as of revision {} of store {}; restored as store {store_id}, which continues from revision {revision}, digest {}",
        backup.key_count,
        backup.revision,
        backup.store_id,
        hex(&backup.contents_digest)
    )?;
    Ok(())
}

/// A cluster, as seen from outside.
struct Seen {
    etcd: Etcd,
    keys: Keys,
    name: String,
    timeout: Duration,
}

/// The nodes of a cluster by their names.
type Nodes = BTreeMap<String, Node>;

impl Seen {
    async fn status(&self, out: &mut dyn Write) -> Outcome {
        let cluster = self.cluster().await?;
        let owner = self.owner().await?;
        let nodes = self.nodes().await?;
        let Cluster { format, store_id } = cluster.1;
        writeln!(
            out,
            "cluster  {}, store {store_id}, format {format}",
            self.name
        )?;
        match &owner {
            Some((epoch, owner)) => writeln!(
                out,
                "owner    {} at {}, epoch {epoch}",
                owner.node, owner.address
            )?,
            None => writeln!(out, "owner    none")?,
        }
        for (name, node) in &nodes {
            let is_owner = owner.as_ref().is_some_and(|(_, owner)| owner.node == *name);
            let is = match (is_owner, node.caught_up) {
                (true, _) => "owner",
                (false, true) => "standby",
                (false, false) => "reading the store",
            };
            writeln!(
                out,
                "node     {name} at {}, {is}, version {}, formats {} to {}",
                node.address, node.version, node.format_min, node.format_max
            )?;
        }
        self.members(out).await?;
        match owner {
            Some(_) => Ok(()),
            None => Err("no node owns the store".into()),
        }
    }

    async fn members(&self, out: &mut dyn Write) -> Outcome {
        for (endpoint, member) in self.etcd.members().await {
            match member {
                Ok(member) => {
                    let leads = match member.leader == member.id {
                        true => ", the leader",
                        false => "",
                    };
                    let (size, used) = (bytes_of(member.db_size), bytes_of(member.db_in_use));
                    write!(
                        out,
                        "etcd     {endpoint}: {}{leads}, file of {size} with {used} in use",
                        member.version
                    )?;
                    for error in &member.errors {
                        write!(out, ", {error}")?;
                    }
                    writeln!(out)?;
                }
                Err(error) => writeln!(out, "etcd     {endpoint}: {}", error.message())?,
            }
        }
        Ok(())
    }

    async fn hand_off(&self, to: &str, out: &mut dyn Write) -> Outcome {
        self.cluster().await?;
        let Some((epoch, owner)) = self.owner().await? else {
            return Err("no node owns the store".into());
        };
        if owner.node == to {
            writeln!(out, "{to} owns the store already, epoch {epoch}")?;
            return Ok(());
        }
        let nodes = self.nodes().await?;
        match nodes.get(to) {
            None => {
                let names: Vec<_> = nodes.keys().map(String::as_str).collect();
                let names = names.join(", ");
                return Err(format!("--to is {to}, but the nodes are {names}").into());
            }
            Some(node) if !node.caught_up => {
                return Err(format!("{to} does not have the whole store yet; try again").into());
            }
            Some(_) => {}
        }
        self.ask(to).await?;
        let changed = timeout(self.timeout, self.changed(epoch)).await;
        let _ = self.etcd.txn(&delete(self.keys.hand_off())).await;
        let Ok(changed) = changed else {
            let limit = humantime::format_duration(self.timeout);
            return Err(format!("{} has not handed off within {limit}", owner.node).into());
        };
        let (epoch, owner) = changed?;
        match owner.node == to {
            true => writeln!(out, "{to} owns the store, epoch {epoch}")?,
            false => return Err(format!("{} owns the store instead", owner.node).into()),
        }
        Ok(())
    }

    /// Asks the owner to hand off.
    async fn ask(&self, to: &str) -> Outcome {
        // Nobody must find an old wish.
        let lease = self.etcd.grant(self.timeout.max(MIN_LEASE)).await?;
        let wish = HandOff {
            to: to.into(),
            refused: String::new(),
        };
        let txn = Txn {
            then: vec![Op::Put {
                key: self.keys.hand_off(),
                value: wish.encode_to_vec().into(),
                lease: lease.id,
            }],
            ..Txn::default()
        };
        self.etcd.txn(&txn).await?;
        Ok(())
    }

    /// Waits for another owner, or until the owner refuses.
    async fn changed(&self, epoch: i64) -> Outcome<(i64, Owner)> {
        loop {
            if let Some((now, owner)) = self.owner().await?
                && now != epoch
            {
                return Ok((now, owner));
            }
            let wish = self.get(KeyRange::One(self.keys.hand_off())).await?;
            let wish = decode::<HandOff>(wish.kvs.first())?;
            if let Some((_, wish)) = wish.filter(|(_, wish)| !wish.refused.is_empty()) {
                return Err(wish.refused.into());
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn upgrade(&self, out: &mut dyn Write) -> Outcome {
        let (revision, cluster) = self.cluster().await?;
        let nodes = self.nodes().await?;
        let now = cluster.format;
        let Some((last, node)) = nodes.iter().min_by_key(|(_, node)| node.format_max) else {
            return Err("no node runs, so it is not known which formats they read".into());
        };
        let newest = node.format_max.min(*FORMATS.end());
        if newest <= now {
            writeln!(
                out,
                "the format stays {now}: {last} reads {} at most, and this program {}",
                node.format_max,
                FORMATS.end()
            )?;
            return Ok(());
        }
        let value = Cluster {
            format: newest,
            ..cluster
        };
        let txn = Txn {
            when: vec![Compare::ModRevision(self.keys.cluster(), revision)],
            then: vec![Op::Put {
                key: self.keys.cluster(),
                value: value.encode_to_vec().into(),
                lease: 0,
            }],
            otherwise: Vec::new(),
        };
        if !self.etcd.txn(&txn).await?.succeeded {
            return Err("somebody else has changed the format at the same time; try again".into());
        }
        writeln!(
            out,
            "the format is {newest}, and was {now}; the next owner writes it: cluster handoff"
        )?;
        Ok(())
    }

    async fn cluster(&self) -> Outcome<(i64, Cluster)> {
        let found = self.get(KeyRange::One(self.keys.cluster())).await?;
        decode(found.kvs.first())?
            .ok_or_else(|| format!("there is no cluster {} in this etcd", self.name).into())
    }

    /// The owner and its epoch.
    async fn owner(&self) -> Outcome<Option<(i64, Owner)>> {
        let found = self.get(KeyRange::One(self.keys.owner())).await?;
        decode(found.kvs.first())
    }

    async fn nodes(&self) -> Outcome<Nodes> {
        let keys = self.keys.nodes();
        let found = self.get(KeyRange::Between(keys.start, keys.end)).await?;
        let mut nodes = Nodes::new();
        for kv in &found.kvs {
            let name = self.keys.node_of(&kv.key);
            if let (Some(name), Some((_, node))) = (name, decode(Some(kv))?) {
                nodes.insert(name.to_owned(), node);
            }
        }
        Ok(nodes)
    }

    /// Reads, and asks the other members if one does not answer.
    async fn get(&self, range: KeyRange) -> Outcome<RangeAnswer> {
        let get = Get::range(range);
        let answer = timeout(self.timeout, async {
            loop {
                match self.etcd.get(&get).await {
                    Err(error) if error.kind == soloist_etcd::ErrorKind::Unavailable => {
                        tracing::debug!(%error, "asking again");
                        sleep(Duration::from_millis(100)).await;
                    }
                    answer => return answer,
                }
            }
        });
        match answer.await {
            Ok(answer) => Ok(answer?),
            Err(_) => {
                let limit = humantime::format_duration(self.timeout);
                Err(format!("etcd has not answered within {limit}, as --timeout says").into())
            }
        }
    }
}

/// How long a member of etcd may take before another is asked.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// The shortest time of a lease for a wish.
const MIN_LEASE: Duration = Duration::from_secs(5);

fn delete(key: bytes::Bytes) -> Txn {
    Txn {
        then: vec![Op::Delete(KeyRange::One(key))],
        ..Txn::default()
    }
}

/// The value of a key, and when it was written.
fn decode<M: Message + Default>(kv: Option<&KeyValue>) -> Outcome<Option<(i64, M)>> {
    let Some(kv) = kv else {
        return Ok(None);
    };
    let key = kv.key.escape_ascii();
    let value = M::decode(&*kv.value);
    let value = value.map_err(|error| format!("{key} in etcd is not what it must be: {error}"))?;
    Ok(Some((kv.mod_revision, value)))
}

/// In MiB, because a quota has some thousand of them.
fn bytes_of(count: i64) -> String {
    format!("{:.1} MiB", count as f64 / f64::from(1 << 20))
}
