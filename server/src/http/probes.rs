//! The probes: whether the server lives, and whether calls may be sent to it. They say what they have looked at as etcd and
//! Kubernetes do.

use std::borrow::Cow;
use std::fmt::Write as _;

use http::StatusCode;

use super::response::{Response, text};
use super::site::Site;
use crate::metrics::DISK_ENOUGH;
use crate::role::{NodeStatus, Role, Step};

/// One thing that a probe looks at, and why it is not as it should be.
struct Check {
    name: &'static str,
    failed: Option<Cow<'static, str>>,
}

fn check(name: &'static str, is_ok: bool, otherwise: &'static str) -> Check {
    Check {
        name,
        failed: (!is_ok).then_some(otherwise.into()),
    }
}

/// Whether the owner has taken a message lately. If not, only a restart helps. A server that recovers, or drains, lives.
pub(super) fn live(site: &Site, verbose: bool) -> Response {
    let owner = check(
        "owner",
        site.is_owner_alive(),
        "it has taken no message for 10 s",
    );
    answer("livez", &[owner], verbose)
}

/// Whether calls can succeed.
pub(super) fn ready(site: &Site, verbose: bool) -> Response {
    let started = Check {
        name: "started",
        failed: (!site.has_started()).then(|| site.recovering().into()),
    };
    if let Some(node) = site.node().filter(|node| node.role() == Role::Standby) {
        return answer("readyz", &standby(site, &node), verbose);
    }
    let checks = [
        started,
        check("not-draining", !site.is_draining(), "draining"),
        check(
            "owner",
            site.is_owner_alive() && !site.has_owner_ended(),
            "it has ended, or taken no message for 10 s",
        ),
        check(
            "disk",
            site.disk() == DISK_ENOUGH,
            "too little space: changes are refused with STORE_FULL",
        ),
    ];
    answer("readyz", &checks, verbose)
}

/// Whether a standby could take the owner's place, and can answer meanwhile.
fn standby(site: &Site, node: &NodeStatus) -> [Check; 2] {
    let follows = Check {
        name: "standby",
        failed: (node.step != Step::Following).then(|| site.with_progress(node.text()).into()),
    };
    [
        follows,
        check("not-draining", !site.is_draining(), "draining"),
    ]
}

/// How the server is, in a word, and what is wrong with it.
pub(super) fn health(site: &Site) -> (&'static str, Vec<&'static str>) {
    let is_standby = site.node().is_some_and(|node| node.step == Step::Following);
    let health = match (site.has_started(), site.is_draining()) {
        (false, false) if is_standby => "standby",
        (false, _) => "recovering",
        (true, true) => "draining",
        (true, false) => "serving",
    };
    let mut problems = Vec::new();
    if !site.is_owner_alive() || site.has_owner_ended() {
        problems.push("the owner has ended, or taken no message for 10 s");
    }
    if site.disk() != DISK_ENOUGH {
        problems.push("too little disk space: changes are refused with STORE_FULL");
    }
    (health, problems)
}

/// The answer of a probe. One that fails always says why.
fn answer(probe: &str, checks: &[Check], verbose: bool) -> Response {
    let is_ok = checks.iter().all(|check| check.failed.is_none());
    let status = match is_ok {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut said = String::new();
    if verbose || !is_ok {
        for Check { name, failed } in checks {
            // Writing to a string never fails.
            let _ = match failed {
                None => writeln!(said, "[+]{name} ok"),
                Some(why) => writeln!(said, "[-]{name} failed: {why}"),
            };
        }
    }
    let _ = match is_ok {
        true if verbose => writeln!(said, "{probe} check passed"),
        true => writeln!(said, "ok"),
        false => writeln!(said, "{probe} check failed"),
    };
    text(status, said)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::watch;

    use super::*;
    use crate::metrics::{Metrics, Reloads};
    use crate::progress::{Progress, Unit};

    #[test]
    fn who_reads_a_store_is_not_ready_and_says_how_far_it_is() {
        let (_drain, draining) = watch::channel(false);
        let metrics = Arc::new(Metrics::new(1, Reloads::default()));
        let site = Site::new(metrics, None, None, draining);
        assert_eq!(site.recovering(), "recovering");
        let progress = Progress::default();
        site.show_opening(progress.clone());
        progress.begin("replaying the log", Unit::Things("records"), Some(4));
        progress.set(3);
        let said = site.recovering();
        let begins = "recovering: replaying the log: 3 of 4 records (75%)";
        assert!(said.starts_with(begins), "{said}");
        let not_ready = ready(&site, false);
        assert_eq!(not_ready.status(), StatusCode::SERVICE_UNAVAILABLE);
        let mut node = NodeStatus::new("b", "");
        node.step = Step::CatchingUp;
        let [standby, _] = standby(&site, &node);
        let begins = "reading the store: replaying the log: 3 of 4 records (75%)";
        let said = standby.failed.unwrap();
        assert!(said.starts_with(begins), "{said}");
    }
}
