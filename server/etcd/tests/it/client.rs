//! The client.

use std::fs;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use soloist_etcd::{ErrorKind, Etcd, Get, KeyRange, Op, Tls, Txn};

use crate::real::{Member, options, until_it_answers};

fn put(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Txn {
    Txn {
        then: vec![Op::Put {
            key: key.into(),
            value: value.into(),
            lease: 0,
        }],
        ..Txn::default()
    }
}

#[tokio::test]
async fn after_an_endpoint_that_fails_comes_the_next() {
    let member = Member::start(&[]);
    member.client().await;
    // Nobody listens on this one.
    let dead = "http://127.0.0.1:1".to_owned();
    let etcd = Etcd::connect(options(vec![dead.clone(), member.url()], None, None)).unwrap();
    let error = etcd.get(&Get::one("k")).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.to_string().contains(&dead), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
    etcd.get(&Get::one("k")).await.unwrap();
    let members = etcd.members().await;
    assert!(members[0].1.is_err());
    let member = members[1].1.as_ref().unwrap();
    assert!(member.version.starts_with("3."), "{member:?}");
    assert!(member.leader == member.id && member.db_size >= member.db_in_use);
}

#[tokio::test]
async fn a_client_that_hedges_is_answered_though_a_member_stands_still() {
    let members = Member::three();
    let urls: Vec<_> = members.iter().map(Member::url).collect();
    until_it_answers(&Etcd::connect(options(urls.clone(), None, None)).unwrap()).await;
    let connect = || Etcd::connect(options(urls.clone(), None, None)).unwrap();
    let (etcd, plain) = (connect(), connect());
    let hedging = etcd.hedging(Duration::from_millis(100));
    hedging.get(&Get::one("k")).await.unwrap();
    // Both ask the first. It may be the leader, or not.
    members[0].signal("-STOP");
    let (made, read) = (put("k", "v"), Get::one("k"));
    let (made, read) = tokio::join!(hedging.txn(&made), plain.get(&read));
    assert!(made.unwrap().succeeded);
    assert_eq!(read.unwrap_err().kind, ErrorKind::Unavailable);
    // Who has answered is asked first from then on.
    etcd.get(&Get::one("k")).await.unwrap();
}

#[tokio::test]
async fn watches_of_more_than_a_message_show_whole_revisions() {
    let member = Member::start(&[]);
    let etcd = member.client().await;
    // A megabyte each: etcd sends them in several messages. Two keys a revision.
    let value = Bytes::from(vec![7; 700_000]);
    for n in 0..12 {
        let ops = ["a", "b"].map(|name| Op::Put {
            key: format!("{name}{n}").into(),
            value: value.clone(),
            lease: 0,
        });
        let txn = Txn {
            then: ops.to_vec(),
            ..Txn::default()
        };
        etcd.txn(&txn).await.unwrap();
    }
    let mut watch = etcd.watch(KeyRange::Prefix(Bytes::new()), 2).await.unwrap();
    let mut revision = 1;
    while revision < 13 {
        let seen = watch.next().await.unwrap();
        for pair in seen.events.chunks(2) {
            revision += 1;
            assert!(pair.len() == 2 && pair.iter().all(|event| event.revision() == revision));
        }
        assert_eq!(seen.revision, revision);
    }
    let all = etcd.get(&Get::prefix("")).await.unwrap();
    assert_eq!(all.kvs.len(), 24);
}

#[tokio::test]
async fn a_watch_that_is_silent_lives_as_long_as_its_member() {
    let member = Member::start(&[]);
    let mut options = options(vec![member.url()], None, None);
    member.client().await;
    options.timeout = Duration::from_millis(400);
    let etcd = Etcd::connect(options).unwrap();
    let mut watch = etcd.watch(KeyRange::One("k".into()), 0).await.unwrap();
    // Long enough for many signs of life.
    let silent = tokio::time::timeout(Duration::from_secs(2), watch.next()).await;
    assert!(silent.is_err(), "{silent:?}");
    member.client().await.txn(&put("k", "v")).await.unwrap();
    assert_eq!(watch.next().await.unwrap().events.len(), 1);
    drop(member);
    let error = watch.next().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_token_that_has_ended_is_renewed() {
    let member = Member::start(&["--auth-token-ttl", "1"]);
    let with_user = member.client_with(None, Some(("root", "secret"))).await;
    member.ctl(&["user", "add", "root:secret"]);
    member.ctl(&["user", "grant-role", "root", "root"]);
    member.ctl(&["auth", "enable"]);

    // It had found authentication not enabled.
    with_user.txn(&put("k", "v")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    with_user.txn(&put("k", "w")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    with_user.watch(KeyRange::One("k".into()), 0).await.unwrap();

    for user in [None, Some(("root", "wrong"))] {
        let other = Etcd::connect(options(vec![member.url()], None, user)).unwrap();
        let error = other.get(&Get::one("k")).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unauthenticated, "{error}");
    }
    member.ctl(&["--user", "root:secret", "user", "add", "guest:guest"]);
    let guest = Some(("guest", "guest"));
    let guest = Etcd::connect(options(vec![member.url()], None, guest)).unwrap();
    let error = guest.get(&Get::one("k")).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::PermissionDenied, "{error}");
    let watch = guest.watch(KeyRange::One("k".into()), 0).await;
    let error = watch.unwrap_err();
    assert_eq!(error.kind, ErrorKind::PermissionDenied, "{error}");
}

/// A CA, and a certificate and key for both server and client.
fn certificates(folder: &Path) {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    fs::write(folder.join("ca.pem"), ca.pem()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &ca).unwrap();
    fs::write(folder.join("cert.pem"), certificate.pem()).unwrap();
    fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
}

#[tokio::test]
async fn tls_with_certificates_on_both_sides() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let path = |name: &str| folder.path().join(name);
    let text = |name: &str| path(name).to_str().unwrap().to_owned();
    let (ca, cert, key) = (text("ca.pem"), text("cert.pem"), text("key.pem"));
    let flags = ["--client-cert-auth", "--trusted-ca-file", &ca];
    let files = ["--cert-file", &cert, "--key-file", &key];
    let member = Member::start_with("https", &[&flags[..], &files[..]].concat());
    let tls = Tls {
        ca: Some(path("ca.pem")),
        cert: Some(path("cert.pem")),
        key: Some(path("key.pem")),
    };
    let etcd = member.client_with(Some(tls.clone()), None).await;
    etcd.txn(&put("k", "v")).await.unwrap();

    let without_certificate = Tls {
        cert: None,
        key: None,
        ..tls.clone()
    };
    let options = |tls| options(vec![member.url()], Some(tls), None);
    let other = Etcd::connect(options(without_certificate)).unwrap();
    let error = other.get(&Get::one("k")).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    let missing = Tls {
        ca: Some(path("missing.pem")),
        ..tls.clone()
    };
    let error = Etcd::connect(options(missing)).unwrap_err();
    assert!(error.to_string().contains("missing.pem"), "{error}");
    let half = Tls { key: None, ..tls };
    assert_eq!(
        Etcd::connect(options(half)).unwrap_err().kind,
        ErrorKind::Refused
    );
}
