//! Several machines that are one store: a cluster, whose log is in etcd.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{ArgAction, Args, ValueEnum};
use http::Uri;

use super::parse::{GIB, MIB, bytes};
use super::{ClientAuth, Config, ConfigError};

/// The longest name of a cluster or a node, in bytes: enough for the name of a host.
pub const CLUSTER_NAME_BYTES_MAX: usize = 64;

/// Most addresses of etcd: a cluster of etcd has seven members at most.
pub const ETCD_ENDPOINTS_MAX: usize = 16;

/// Bytes of etcd's quota besides four times the state: for the log between two snapshots, and what etcd keeps of old versions.
pub const ETCD_QUOTA_SPARE: u64 = 256 * MIB as u64;

/// Whether this server is a node of a cluster, and of which.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Cluster")]
pub struct ClusterConfig {
    /// Addresses of etcd, whose members keep the log of the cluster: http://HOST:PORT or https://HOST:PORT, with commas between.
    /// With it this server is a node: one node of a cluster owns the store, and the others stand by with the state in memory.
    /// Needs --cluster, --node and --advertise.
    #[arg(
        long,
        value_name = "URLS",
        env = "SOLOIST_ETCD",
        value_delimiter = ',',
        conflicts_with_all = ["data_dir", "durability", "accept_data_loss", "require_store", "snapshot_log_bytes", "min_free_bytes"]
    )]
    pub etcd: Vec<EtcdUrl>,
    /// Name of the cluster: letters, digits, '-', '_' and '.'. The first node of a new name creates an empty store. Several
    /// clusters may share an etcd, but nothing else may: it is compacted.
    #[arg(long, value_name = "NAME", env = "SOLOIST_CLUSTER")]
    pub cluster: Option<ClusterName>,
    /// Name of this node, which no other node of the cluster has. A second server with the same name takes the place of the
    /// first, which ends.
    #[arg(long, value_name = "NAME", env = "SOLOIST_NODE")]
    pub node: Option<ClusterName>,
    /// Host and port at which clients and the other nodes reach this node.
    #[arg(long, value_name = "HOST:PORT", env = "SOLOIST_ADVERTISE")]
    pub advertise: Option<Advertise>,
    /// How long the owner may be silent until another node takes its place, in 2s..=60s. An owner whose process ends is
    /// replaced at once, whatever this says; this is for one that is cut off, or stands still.
    #[arg(long, value_name = "TIME", env = "SOLOIST_OWNER_TTL", default_value = "5s", value_parser = owner_ttl)]
    pub owner_ttl: Duration,
    /// The quota that etcd was given (--quota-backend-bytes). It must have room for four times --max-store-bytes and
    /// 256 MiB: without room etcd takes neither changes nor another owner.
    #[arg(long, value_name = "BYTES", env = "SOLOIST_ETCD_QUOTA_BYTES", default_value_t = Self::DEFAULT_ETCD_QUOTA_BYTES,
          value_parser = bytes(MIB as u64..=u64::MAX))]
    pub etcd_quota_bytes: u64,
    /// Whether a standby sends calls on to the owner, once. Otherwise it refuses them with NOT_OWNER, which names the owner.
    #[arg(
        long,
        value_name = "WHEN",
        env = "SOLOIST_FORWARD",
        default_value = "on"
    )]
    pub forward: Forward,
    /// Take an etcd older than 3.5.28, 3.6.9 or 3.7: those have faults that lose data.
    #[arg(long, env = "SOLOIST_ETCD_ANY_VERSION", action = ArgAction::SetTrue)]
    pub etcd_any_version: bool,
    /// How to log in to etcd.
    #[command(flatten)]
    pub login: EtcdLogin,
}

/// Whom a client of etcd trusts, and how it presents itself.
#[derive(Clone, Debug, Default, Args)]
pub struct EtcdLogin {
    /// The CAs that etcd's certificates may come from, in PEM form. [default: those of the system]
    #[arg(
        id = "etcd_ca",
        long = "etcd-ca",
        value_name = "FILE",
        env = "SOLOIST_ETCD_CA"
    )]
    pub ca: Option<PathBuf>,
    /// The certificate to show etcd, and the chain above it, in PEM form.
    #[arg(
        id = "etcd_cert",
        long = "etcd-cert",
        value_name = "FILE",
        env = "SOLOIST_ETCD_CERT",
        requires = "etcd_key"
    )]
    pub cert: Option<PathBuf>,
    /// The key of --etcd-cert, in PEM form.
    #[arg(
        id = "etcd_key",
        long = "etcd-key",
        value_name = "FILE",
        env = "SOLOIST_ETCD_KEY",
        requires = "etcd_cert"
    )]
    pub key: Option<PathBuf>,
    /// The user to log in to etcd as. The password is in the environment variable SOLOIST_ETCD_PASSWORD.
    #[arg(
        id = "etcd_user",
        long = "etcd-user",
        value_name = "NAME",
        env = "SOLOIST_ETCD_USER"
    )]
    pub user: Option<String>,
}

/// The environment variable with the password of `--etcd-user`.
pub const ETCD_PASSWORD: &str = "SOLOIST_ETCD_PASSWORD";

/// Whether a standby sends calls on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Forward {
    /// Once, to the owner.
    On,
    /// Never: they are refused.
    Off,
}

/// An address of etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdUrl(String);

impl EtcdUrl {
    /// Whether etcd is spoken to with TLS.
    #[must_use]
    pub fn has_tls(&self) -> bool {
        self.0.starts_with("https://")
    }
}

impl fmt::Display for EtcdUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for EtcdUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = |why: &str| {
            Err(format!(
                "{text:?} {why}: it must be http://HOST:PORT or https://HOST:PORT"
            ))
        };
        let url = text.strip_suffix('/').unwrap_or(text);
        let Ok(uri) = url.parse::<Uri>() else {
            return bad("is no address");
        };
        match uri.scheme_str() {
            Some("http" | "https") => {}
            _ => return bad("does not begin with http:// or https://"),
        }
        if uri.host().is_none_or(str::is_empty) {
            return bad("has no host");
        }
        if uri.port_u16().is_none_or(|port| port == 0) {
            return bad("has no port");
        }
        if uri.path() != "/" || uri.query().is_some() {
            return bad("has something behind the port");
        }
        Ok(Self(url.into()))
    }
}

/// The name of a cluster or a node. It is part of keys in etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterName(String);

impl ClusterName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ClusterName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !(1..=CLUSTER_NAME_BYTES_MAX).contains(&text.len()) {
            let len = text.len();
            return Err(format!(
                "{len} bytes, but must have 1 to {CLUSTER_NAME_BYTES_MAX}"
            ));
        }
        let is_wrong = |c: &char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
        match text.chars().find(is_wrong) {
            Some(wrong) => Err(format!(
                "has {wrong:?}, but only letters, digits, '-', '_' and '.' are allowed"
            )),
            None => Ok(Self(text.into())),
        }
    }
}

/// Where a node is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertise(String);

impl Advertise {
    /// HOST:PORT.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Advertise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Advertise {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = |why: &str| {
            Err(format!(
                "{text:?} {why}: it must be HOST:PORT, where others reach this node"
            ))
        };
        let Ok(uri) = format!("http://{text}").parse::<Uri>() else {
            return bad("is no address (an IPv6 address must be in brackets)");
        };
        let Some(host) = uri.host().filter(|host| !host.is_empty()) else {
            return bad("has no host");
        };
        if uri.port_u16().is_none_or(|port| port == 0) {
            return bad("has no port");
        }
        if uri.authority().is_none_or(|of| of.as_str() != text) || text.contains('@') {
            return bad("has something besides a host and a port");
        }
        let address: Result<IpAddr, _> = host.trim_matches(['[', ']']).parse();
        if address.is_ok_and(|address| address.is_unspecified()) {
            return bad("stands for every address of a machine");
        }
        Ok(Self(text.into()))
    }
}

impl ClusterConfig {
    /// 2 GiB, as etcd's own default.
    pub const DEFAULT_ETCD_QUOTA_BYTES: u64 = 2 * GIB;

    /// Whether this server is a node of a cluster.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.etcd.is_empty()
    }

    /// Checks that the flags fit together, and to the other flags.
    pub(super) fn validate(&self, config: &Config) -> Result<(), ConfigError> {
        let set = [
            ("--cluster", self.cluster.is_some()),
            ("--node", self.node.is_some()),
            ("--advertise", self.advertise.is_some()),
        ];
        if !self.is_on() {
            let login = &self.login;
            let needless = [
                ("--etcd-ca", login.ca.is_some()),
                ("--etcd-cert", login.cert.is_some()),
                ("--etcd-user", login.user.is_some()),
                ("--etcd-any-version", self.etcd_any_version),
            ];
            let flag = set.into_iter().chain(needless).find(|(_, is_set)| *is_set);
            return match flag {
                Some((flag, _)) => Err(ConfigError(format!(
                    "{flag} is set, but --etcd is not: without it a server is no node of a cluster"
                ))),
                None => Ok(()),
            };
        }
        if let Some((flag, _)) = set.into_iter().find(|(_, is_set)| !is_set) {
            return Err(ConfigError(format!(
                "--etcd is set, but {flag} is not: a node needs --cluster, --node and --advertise"
            )));
        }
        if config.storage.data_dir.is_some() {
            return Err(ConfigError(
                "--etcd and --data-dir are set, but a store is in one of the two: \"soloist-server restore --etcd\" takes \
                 a backup into a cluster"
                    .into(),
            ));
        }
        let (ttl, range) = (self.owner_ttl, OWNER_TTL);
        if !range.contains(&ttl) {
            let (min, max) = (range.start(), range.end());
            return Err(ConfigError(format!(
                "--owner-ttl is {ttl:?}, but must be in {min:?}..={max:?}"
            )));
        }
        check_endpoints(&self.etcd, &self.login)?;
        self.check_quota(config)?;
        self.check_tls(config)
    }

    fn check_quota(&self, config: &Config) -> Result<(), ConfigError> {
        let store = config.limits.max_store_bytes;
        let needed = store.saturating_mul(4).saturating_add(ETCD_QUOTA_SPARE);
        if needed <= self.etcd_quota_bytes {
            return Ok(());
        }
        let (quota, most) = (
            self.etcd_quota_bytes,
            self.etcd_quota_bytes.saturating_sub(ETCD_QUOTA_SPARE) / 4,
        );
        Err(ConfigError(format!(
            "--etcd-quota-bytes is {quota}, but must be at least {needed}: 4 times --max-store-bytes ({store}) and 256 MiB. \
             Give etcd a larger quota, or set --max-store-bytes to {most} or less"
        )))
    }

    fn check_tls(&self, config: &Config) -> Result<(), ConfigError> {
        let tls = &config.tls;
        if self.forward == Forward::On
            && tls.is_on()
            && tls.node_ca.is_none()
            && (tls.client_ca.is_none() || tls.client_auth == ClientAuth::Off)
        {
            return Err(ConfigError(
                "--forward is on and --tls-cert is set, but neither --tls-node-ca nor --tls-client-ca is: a node must know \
                 which authority the other nodes' certificates come from. Set --tls-node-ca, or --forward off"
                    .into(),
            ));
        }
        Ok(())
    }
}

/// Checks that addresses of etcd fit to how to log in.
///
/// # Errors
/// What does not fit, with the flags.
pub(crate) fn check_endpoints(etcd: &[EtcdUrl], login: &EtcdLogin) -> Result<(), ConfigError> {
    if etcd.len() > ETCD_ENDPOINTS_MAX {
        let count = etcd.len();
        return Err(ConfigError(format!(
            "--etcd has {count} addresses, but must have at most {ETCD_ENDPOINTS_MAX}"
        )));
    }
    let (tls, plain): (Vec<_>, Vec<_>) = etcd.iter().partition(|url| url.has_tls());
    if let (Some(tls), Some(plain)) = (tls.first(), plain.first()) {
        return Err(ConfigError(format!(
            "--etcd has {tls} and {plain}, but all addresses must begin with the same of http:// and https://"
        )));
    }
    if let Some(plain) = plain.first()
        && (login.ca.is_some() || login.cert.is_some())
    {
        return Err(ConfigError(format!(
            "--etcd-ca or --etcd-cert is set, but --etcd has {plain}: it must begin with https://"
        )));
    }
    Ok(())
}

/// The range of `--owner-ttl`: shorter is less than etcd itself takes to elect a leader, longer is an outage.
const OWNER_TTL: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(2)..=Duration::from_secs(60);

fn owner_ttl(text: &str) -> Result<Duration, String> {
    let ttl = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    match OWNER_TTL.contains(&ttl) {
        true => Ok(ttl),
        false => Err(format!("{text} is not in 2s..=60s")),
    }
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            etcd: Vec::new(),
            cluster: None,
            node: None,
            advertise: None,
            owner_ttl: Duration::from_secs(5),
            etcd_quota_bytes: Self::DEFAULT_ETCD_QUOTA_BYTES,
            forward: Forward::On,
            etcd_any_version: false,
            login: EtcdLogin::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    fn node() -> Config {
        let mut config = Config::default();
        config.limits.max_store_bytes = 256 << 20;
        let cluster = &mut config.cluster;
        cluster.etcd = vec!["http://127.0.0.1:2379".parse().unwrap()];
        cluster.cluster = Some("prod".parse().unwrap());
        cluster.node = Some("a".parse().unwrap());
        cluster.advertise = Some("10.0.0.1:50051".parse().unwrap());
        config
    }

    #[track_caller]
    fn refused(change: impl FnOnce(&mut Config), parts: &[&str]) {
        let mut config = node();
        change(&mut config);
        let error = config.validate().unwrap_err().to_string();
        for part in parts {
            assert!(error.contains(part), "{error:?} lacks {part:?}");
        }
    }

    #[test]
    fn a_node_needs_its_flags_and_flags_of_a_node_need_etcd() {
        assert_eq!(node().validate(), Ok(()));
        refused(|it| it.cluster.node = None, &["--etcd", "--node is not"]);
        refused(
            |it| it.cluster.etcd.clear(),
            &["--cluster", "--etcd is not"],
        );
        refused(
            |it| it.storage.data_dir = Some("/x".into()),
            &["--etcd", "--data-dir", "restore"],
        );
        refused(
            |it| it.cluster.owner_ttl = Duration::from_secs(1),
            &["--owner-ttl is 1s", "2s..=60s"],
        );
    }

    #[test]
    fn the_state_must_fit_into_etcds_quota_four_times() {
        refused(
            |it| it.limits.max_store_bytes = 1 << 30,
            &[
                "--etcd-quota-bytes is 2147483648",
                "4563402752",
                "469762048 or less",
            ],
        );
    }

    #[test]
    fn tls_fits_together() {
        let etcd = [
            "http://a:1".parse().unwrap(),
            "https://b:1".parse().unwrap(),
        ];
        refused(
            |it| it.cluster.etcd = etcd.into(),
            &["https://b:1", "http://a:1"],
        );
        refused(
            |it| it.cluster.login.ca = Some("x".into()),
            &["--etcd-ca", "https://"],
        );
        refused(
            |it| {
                it.tls.cert = Some("x".into());
                it.tls.key = Some("x".into());
            },
            &["--tls-node-ca", "--forward off"],
        );
    }

    #[test]
    fn addresses_and_names() {
        for (url, why) in [
            ("127.0.0.1:2379", "http://"),
            ("http://:2379", "host"),
            ("http://a", "port"),
            ("http://a:1/v3", "behind the port"),
        ] {
            let error = url.parse::<EtcdUrl>().unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        assert_eq!("https://a:1/".parse(), Ok(EtcdUrl("https://a:1".into())));
        for (address, why) in [
            ("0.0.0.0:1", "every address"),
            ("[::]:1", "every address"),
            ("a:0", "port"),
            ("a", "port"),
            (":1", "host"),
            ("a:1/x", "besides"),
            ("::1:1", "brackets"),
        ] {
            let error = address.parse::<Advertise>().unwrap_err();
            assert!(error.contains(why), "{address}: {error}");
        }
        assert!("[::1]:1".parse::<Advertise>().is_ok());
        for (name, why) in [
            ("", "0 bytes"),
            ("a/b", "'/'"),
            (&"x".repeat(65), "65 bytes"),
        ] {
            let error = name.parse::<ClusterName>().unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
