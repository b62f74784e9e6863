//! Why a confirmation has to read.

use soloist_etcd::{Compare, ErrorKind, Etcd, Get, Txn};

use crate::real::{Member, options, until_it_answers};

#[tokio::test]
async fn a_member_without_the_others_answers_a_transaction_that_neither_reads_nor_writes() {
    let [first, second, third] = Member::three();
    let urls = [&first, &second, &third].map(Member::url).to_vec();
    until_it_answers(&Etcd::connect(options(urls, None, None)).unwrap()).await;
    let etcd = first.client().await;
    drop(second);
    drop(third);

    let error = etcd.get(&Get::one("k")).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    let missing = Txn {
        when: vec![Compare::Missing("k".into())],
        ..Txn::default()
    };
    let answer = etcd.txn(&missing).await.unwrap();
    assert!(answer.succeeded);
}
