//! Tests of the harness: that its faults are what they say, and that it finds out a store which forgets.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::etcd::Etcd;
use crate::link::{Link, Mode};
use crate::load::Load;
use crate::place::free_address;
use crate::processes;

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_cut_off_has_no_quorum_and_the_others_have() {
    let folder = tempfile::tempdir().unwrap();
    let mut etcd = Etcd::start(folder.path(), 3, &[]).await;
    etcd.ctl(&["put", "k", "1"]).await;
    let cut = etcd.leader().await;
    let other = (cut + 1) % 3;
    etcd.isolate(cut);
    etcd.ctl_of(cut, &["put", "k", "2"]).await.unwrap_err();
    etcd.ctl_of(cut, &["get", "k"]).await.unwrap_err();
    while etcd.ctl_of(other, &["put", "k", "3"]).await.is_err() {}
    etcd.join(cut);
    etcd.wait_ready().await;
    while etcd.ctl_of(cut, &["get", "--print-value-only", "k"]).await != Ok("3\n".into()) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_silent_is_cut_and_passes_again() {
    let folder = tempfile::tempdir().unwrap();
    let etcd = Etcd::start(folder.path(), 1, &[]).await;
    let link = Link::to(etcd.members[0].address).await;
    let url = format!("http://{}", link.address);
    let put = async || {
        let arguments = ["--command-timeout=500ms", "put", "k", "v"];
        crate::etcd::ctl(&url, &[], &arguments).await
    };
    put().await.unwrap();
    for mode in [Mode::Silent, Mode::Cut, Mode::LosesAnswers(1)] {
        link.set(mode);
        put().await.unwrap_err();
    }
    link.set(Mode::Slow(Duration::from_millis(5)));
    while put().await.is_err() {}
    // The one before the faults, and the one at the end. Of those whose answers were lost some may have been done, too.
    let got = etcd.ctl(&["get", "k", "-w", "json"]).await;
    let got: serde_json::Value = serde_json::from_str(&got).unwrap();
    assert!(got["kvs"][0]["version"].as_i64().unwrap() >= 2, "{got}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_sends_again_what_was_sent() {
    let folder = tempfile::tempdir().unwrap();
    let etcd = Etcd::start(folder.path(), 1, &[]).await;
    let link = Link::to(etcd.members[0].address).await;
    link.keep_requests();
    let url = format!("http://{}", link.address);
    for key in ["k", "l"] {
        let put = ["put", key, "v"];
        crate::etcd::ctl(&url, &[], &put).await.unwrap();
    }
    let sent = link.send_again().await;
    assert!(sent.requests >= 2 && sent.answered >= 2, "{sent:?}");
    for key in ["k", "l"] {
        let got = etcd.ctl(&["get", key, "-w", "json"]).await;
        let got: serde_json::Value = serde_json::from_str(&got).unwrap();
        assert_eq!(got["kvs"][0]["version"], 2, "{got}");
    }
}

async fn plain_server(address: SocketAddr) -> Child {
    let mut server = Command::new(processes::server())
        .args(["--listen", &address.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while tokio::net::TcpStream::connect(address).await.is_err() {
        assert_eq!(server.try_wait().unwrap(), None);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_on_one_server_is_linearizable_and_one_that_forgets_is_found_out() {
    let addresses = [free_address(), free_address()];
    let mut server = plain_server(addresses[1]).await;
    // The first address refuses connections: the clients go on at the second.
    let load = Load::start(&addresses, 4, 2);
    load.go_on(Duration::from_millis(500)).await;
    let judged = load.judge().await.unwrap();
    assert!(
        judged.operations > 100 && judged.changes_answered > 50,
        "{judged:?}"
    );

    processes::kill(Some(server));
    server = plain_server(addresses[1]).await;
    let load = Load::start(&addresses, 4, 0);
    load.go_on(Duration::from_millis(300)).await;
    processes::kill(Some(server));
    let server = plain_server(addresses[1]).await;
    load.go_on(Duration::from_millis(300)).await;
    let lost = load.judge().await.unwrap_err();
    processes::kill(Some(server));
    assert!(
        lost.contains("counter") || lost.contains("shared"),
        "{lost}"
    );
}
