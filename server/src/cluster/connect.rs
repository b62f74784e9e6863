//! The way to etcd, and whether this etcd will do.

use std::time::Duration;

use soloist_etcd::{Error, ErrorKind, Etcd, Member, Options, Tls};
use tokio::time::sleep;
use tracing::{info, warn};

use super::NodeLost;
use crate::config::{ETCD_PASSWORD, EtcdLogin, EtcdUrl};
use crate::role::EtcdSeen;

/// How long etcd may take to answer a request before it is sent to another of its members: so that two have their chance before a
/// lease of `ttl` ends.
pub(crate) fn timeout(ttl: Duration) -> Duration {
    (ttl / 4).clamp(Duration::from_millis(500), Duration::from_secs(2))
}

/// How long to wait before etcd is tried again when no member has answered.
const PAUSE: Duration = Duration::from_secs(1);

/// A client of etcd, which connects when it is used. Must be called in a runtime.
///
/// # Errors
/// What is missing, or wrong with the files of the flags.
pub(crate) fn client(
    etcd: &[EtcdUrl],
    login: &EtcdLogin,
    timeout: Duration,
) -> Result<Etcd, NodeLost> {
    let password = |user: &String| {
        let password = std::env::var(ETCD_PASSWORD);
        let missing = |_| {
            NodeLost::new(format!(
                "--etcd-user is {user}, but the environment variable {ETCD_PASSWORD} is not set: it has the password"
            ))
        };
        password.map_err(missing).map(|it| (user.clone(), it))
    };
    let has_tls = etcd.iter().any(EtcdUrl::has_tls);
    let options = Options {
        endpoints: etcd.iter().map(ToString::to_string).collect(),
        tls: has_tls.then(|| Tls {
            ca: login.ca.clone(),
            cert: login.cert.clone(),
            key: login.key.clone(),
        }),
        user: login.user.as_ref().map(password).transpose()?,
        timeout,
    };
    Etcd::connect(options).map_err(|error| NodeLost::new(format!("--etcd: {error}")))
}

/// Waits until a member of etcd answers, and checks the versions of all that do.
///
/// # Errors
/// A member's version is too old, unless `any` will do; or etcd does not let this server in.
pub(crate) async fn check(etcd: &Etcd, any: bool) -> Result<(), NodeLost> {
    let mut said = String::new();
    loop {
        let mut answered = false;
        let mut trouble = String::new();
        for (endpoint, member) in etcd.members().await {
            match member {
                Ok(member) => {
                    check_version(&endpoint, &member.version, any)?;
                    answered = true;
                }
                Err(error) if error.kind == ErrorKind::PermissionDenied => {
                    check_rights(&error, any)?;
                    answered = true;
                }
                Err(error) if error.kind == ErrorKind::Unauthenticated => {
                    return Err(NodeLost::new(format!(
                        "etcd does not let this server in: {error}"
                    )));
                }
                Err(error) => trouble = error.to_string(),
            }
        }
        if answered {
            if !said.is_empty() {
                info!("etcd answers");
            }
            return Ok(());
        }
        // An operator need not read it every second.
        if said != trouble {
            warn!("etcd does not answer, trying again: {trouble}");
            said = trouble;
        }
        sleep(PAUSE).await;
    }
}

/// What is to be said of etcd, by those of its members that have answered. None if none has.
pub(super) fn summary(
    members: &[(String, Result<Member, Error>)],
    quota_bytes: u64,
) -> Option<EtcdSeen> {
    let answered = || {
        members
            .iter()
            .filter_map(|(_, member)| member.as_ref().ok())
    };
    let lowest = answered().min_by_key(|member| Version::parse(&member.version))?;
    Some(EtcdSeen {
        version: lowest.version.clone(),
        leader: answered().map(|member| member.leader).max().unwrap_or(0),
        file_bytes: answered().map(|member| member.db_size).max().unwrap_or(0),
        quota_bytes,
    })
}

/// etcd tells only its role `root` which version its members have and how much space, and lets nobody else compact it.
fn check_rights(error: &Error, any: bool) -> Result<(), NodeLost> {
    if any {
        warn!(
            "etcd does not tell this user its version and its space, and does not let it compact: its members must compact by \
             themselves (--auto-compaction-retention), and this node does not notice that their space is low: {error}"
        );
        return Ok(());
    }
    Err(NodeLost::new(format!(
        "etcd does not tell the user of --etcd-user how its members are: {error}. Grant it the role root; or have the members compact \
         by themselves (--auto-compaction-retention), and set --etcd-any-version, because the version cannot be checked"
    )))
}

fn check_version(endpoint: &str, version: &str, any: bool) -> Result<(), NodeLost> {
    let is_known = Version::parse(version).is_some_and(Version::is_sound);
    if is_known {
        return Ok(());
    }
    if any {
        warn!("{endpoint} has etcd {version}, which can lose data; --etcd-any-version permits it");
        return Ok(());
    }
    Err(NodeLost::new(format!(
        "{endpoint} has etcd {version}, but it must be at least {FLOOR}: older ones have faults that lose data. Update it, or \
         set --etcd-any-version for a cluster whose data does not matter"
    )))
}

const FLOOR: &str = "3.5.28, 3.6.9 or 3.7";

/// A version of etcd. Source of the floor: etcd's changelogs; the versions before have known faults that lose or reorder what
/// was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u32, u32, u32);

impl Version {
    /// Reads `3.5.30`, or `3.6.0-rc.1`.
    fn parse(text: &str) -> Option<Self> {
        let numbers = text.split(['-', '+']).next()?;
        let mut numbers = numbers.split('.').map(|number| number.parse().ok());
        let mut next = || numbers.next().flatten();
        Some(Self(next()?, next()?, next()?))
    }

    fn is_sound(self) -> bool {
        match self {
            Self(3, 5, patch) => patch >= 28,
            Self(3, 6, patch) => patch >= 9,
            later => later >= Self(3, 7, 0),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    #[test]
    fn an_etcd_that_loses_data_is_refused() {
        for (version, is_taken) in [
            ("3.5.27", false),
            ("3.5.28", true),
            ("3.5.30", true),
            ("3.6.8", false),
            ("3.6.9", true),
            ("3.7.0-rc.0", true),
            ("4.0.0", true),
            ("3.4.99", false),
            ("2.3.8", false),
            ("3.5", false),
            ("", false),
        ] {
            let checked = check_version("http://e:1", version, false);
            assert_eq!(checked.is_ok(), is_taken, "{version}: {checked:?}");
            check_version("http://e:1", version, true).unwrap();
        }
        let refused = check_version("http://e:1", "3.5.16", false).unwrap_err();
        let text = refused.to_string();
        for part in ["http://e:1", "3.5.16", "3.5.28", "--etcd-any-version"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
