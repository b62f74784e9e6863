//! Add, Delete, Batch and List: their responses and refusals.

use serde_json::json;
use soloist::v1::condition::Test;
use soloist::v1::op_result::Result as OpResult;
use soloist::v1::{
    self, AddRequest, AddResponse, BatchRequest, DeleteRequest, ListRequest, ListResponse,
};
use tonic::Code;

use crate::json::Caller;
use crate::support::{
    TestServer, assert_refused, expect, frame, int, pipeline, read, read_op, text, write, write_op,
};

fn add(key: &str, delta: i64) -> AddRequest {
    AddRequest {
        key: key.into(),
        delta,
        ..AddRequest::default()
    }
}

fn delete(key: &str) -> DeleteRequest {
    DeleteRequest {
        key: key.into(),
        ..DeleteRequest::default()
    }
}

fn add_op(request: AddRequest) -> v1::Op {
    v1::Op {
        op: Some(v1::op::Op::Add(request)),
    }
}

fn delete_op(request: DeleteRequest) -> v1::Op {
    v1::Op {
        op: Some(v1::op::Op::Delete(request)),
    }
}

#[tokio::test]
async fn additions_return_the_sum() {
    let server = TestServer::start();
    let mut client = server.state().await;
    for (delta, value, revision) in [(5, 5, 1), (-7, -2, 2), (0, -2, 2)] {
        let answer = client.add(add("n", delta)).await.unwrap().into_inner();
        let expected = AddResponse {
            revision,
            create_revision: 1,
            value,
            applied: delta,
            replayed: false,
        };
        assert_eq!(answer, expected);
    }
    let saturating = AddRequest {
        max: Some(10),
        saturate: true,
        ..add("n", 100)
    };
    let answer = client.add(saturating).await.unwrap().into_inner();
    assert_eq!((answer.value, answer.applied), (10, 12));
}

#[tokio::test]
async fn additions_out_of_bounds_are_refused() {
    let server = TestServer::start();
    let mut client = server.state().await;
    client.write(write("text", text("1"))).await.unwrap();
    client.write(write("max", int(i64::MAX))).await.unwrap();
    client.write(write("n", int(9))).await.unwrap();
    for (request, code, reason, metadata) in [
        (
            add("text", 1),
            Code::FailedPrecondition,
            "NOT_AN_INT",
            &[("actual", "text")][..],
        ),
        (
            add("max", 1),
            Code::OutOfRange,
            "OVERFLOW",
            &[("actual", "9223372036854775807"), ("delta", "1")],
        ),
        (
            AddRequest {
                max: Some(10),
                ..add("n", 2)
            },
            Code::OutOfRange,
            "BOUND_REACHED",
            &[
                ("bound", "max"),
                ("limit", "10"),
                ("actual", "9"),
                ("delta", "2"),
            ],
        ),
        (
            AddRequest {
                min: Some(0),
                ..add("n", -10)
            },
            Code::OutOfRange,
            "BOUND_REACHED",
            &[
                ("bound", "min"),
                ("limit", "0"),
                ("actual", "9"),
                ("delta", "-10"),
            ],
        ),
        (
            AddRequest {
                min: Some(2),
                max: Some(1),
                ..add("n", 1)
            },
            Code::InvalidArgument,
            "BAD_BOUNDS",
            &[("field", "min"), ("limit", "1"), ("actual", "2")],
        ),
        (
            AddRequest {
                expect: expect(Test::Exists(true)),
                ..add("missing", 1)
            },
            Code::NotFound,
            "KEY_NOT_FOUND",
            &[],
        ),
        // The condition is checked before the kind of the value, and the kind before the bounds.
        (
            AddRequest {
                expect: expect(Test::Exists(false)),
                ..add("text", 1)
            },
            Code::AlreadyExists,
            "KEY_EXISTS",
            &[("revision", "1")],
        ),
        (
            AddRequest {
                max: Some(0),
                ..add("text", 1)
            },
            Code::FailedPrecondition,
            "NOT_AN_INT",
            &[("actual", "text")],
        ),
    ] {
        let refused = client.add(request).await.unwrap_err();
        assert_refused(&refused, code, reason, metadata);
    }
    let answer = client.read(read("n")).await.unwrap().into_inner();
    assert_eq!(answer.revision, 3, "nothing was applied");
}

#[tokio::test]
async fn a_delete_returns_the_entry_that_it_deleted() {
    let server = TestServer::start();
    let mut client = server.state().await;
    client.write(write("k", int(1))).await.unwrap();
    let guarded = DeleteRequest {
        expect: expect(Test::Revision(7)),
        ..delete("k")
    };
    let refused = client.delete(guarded).await.unwrap_err();
    assert_refused(
        &refused,
        Code::Aborted,
        "EXPECTATION_FAILED",
        &[("test", "revision"), ("expected", "7"), ("actual", "1")],
    );
    let deleted = client.delete(delete("k")).await.unwrap().into_inner();
    assert_eq!(deleted.revision, 2);
    assert_eq!(deleted.previous.unwrap().value, Some(int(1)));
    let again = client.delete(delete("k")).await.unwrap().into_inner();
    assert_eq!((again.revision, again.previous), (2, None));
}

#[tokio::test]
async fn a_batch_is_all_or_nothing() {
    let server = TestServer::start();
    let mut client = server.state().await;
    client.write(write("from", int(10))).await.unwrap();
    let transfer = |amount: i64| BatchRequest {
        ops: vec![
            add_op(AddRequest {
                min: Some(0),
                ..add("from", -amount)
            }),
            add_op(add("to", amount)),
            write_op(write("last", int(amount))),
            read_op("from"),
            delete_op(delete("missing")),
        ],
        ..Default::default()
    };
    let done = client.batch(transfer(7)).await.unwrap().into_inner();
    assert_eq!(done.revision, 2);
    let results: Vec<_> = done
        .results
        .into_iter()
        .map(|r| r.result.unwrap())
        .collect();
    let [
        OpResult::Add(from),
        OpResult::Add(to),
        OpResult::Write(last),
        OpResult::Read(read_back),
        OpResult::Delete(missing),
    ] = &results[..]
    else {
        panic!("{results:?}");
    };
    assert_eq!((from.value, to.value), (3, 7));
    let revisions = [
        from.revision,
        to.revision,
        last.revision,
        read_back.revision,
        missing.revision,
    ];
    assert_eq!(revisions, [2; 5], "one revision for the whole batch");
    assert_eq!(read_back.entry.as_ref().unwrap().value, Some(int(3)));

    let refused = client.batch(transfer(7)).await.unwrap_err();
    assert_refused(
        &refused,
        Code::OutOfRange,
        "BOUND_REACHED",
        &[
            ("bound", "min"),
            ("limit", "0"),
            ("actual", "3"),
            ("delta", "-7"),
            ("op", "0"),
        ],
    );
    let late = BatchRequest {
        ops: vec![
            delete_op(delete("from")),
            add_op(add("to", 1)),
            add_op(AddRequest {
                expect: expect(Test::Exists(true)),
                ..add("missing", 1)
            }),
        ],
        ..Default::default()
    };
    let refused = client.batch(late).await.unwrap_err();
    assert_refused(&refused, Code::NotFound, "KEY_NOT_FOUND", &[("op", "2")]);
    let from = client.read(read("from")).await.unwrap().into_inner();
    assert_eq!(from.revision, 2, "nothing was applied");
    assert_eq!(from.entry.unwrap().value, Some(int(3)));

    let refused = client.batch(BatchRequest::default()).await.unwrap_err();
    let field = [("field", "ops")];
    assert_refused(&refused, Code::InvalidArgument, "NO_OPERATION", &field);
    let bad = BatchRequest {
        ops: vec![read_op("a"), add_op(add("", 1))],
        ..Default::default()
    };
    let refused = client.batch(bad).await.unwrap_err();
    assert_refused(
        &refused,
        Code::InvalidArgument,
        "BAD_KEY",
        &[
            ("field", "ops[1].add.key"),
            ("limit", "1"),
            ("actual", "0"),
            ("op", "1"),
        ],
    );
}

#[tokio::test]
async fn frames_add_and_delete() {
    let server = TestServer::start();
    let (frames, mut answers) = pipeline(&mut server.state().await).await;
    let ops = [
        add_op(add("n", 5)),
        add_op(AddRequest {
            max: Some(6),
            ..add("n", 5)
        }),
        delete_op(delete("n")),
    ];
    frames.send(frame(ops)).await.unwrap();
    let answer = answers.message().await.unwrap().unwrap();
    let results: Vec<_> = answer
        .results
        .into_iter()
        .map(|r| r.result.unwrap())
        .collect();
    let [
        OpResult::Add(sum),
        OpResult::Error(refused),
        OpResult::Delete(deleted),
    ] = &results[..]
    else {
        panic!("{results:?}");
    };
    assert_eq!(sum.value, 5);
    assert_eq!(refused.code, Code::OutOfRange as i32);
    assert_eq!(deleted.previous.as_ref().unwrap().value, Some(int(5)));
}

fn keys(list: ListResponse) -> Vec<String> {
    list.entries.into_iter().map(|entry| entry.key).collect()
}

#[tokio::test]
async fn each_page_goes_on_after_the_one_before() {
    let server = TestServer::with(|config| config.limits.max_page_size = 3);
    let mut client = server.state().await;
    for n in 0..7 {
        let key = format!("jobs/{n}");
        client.write(write(key, int(n))).await.unwrap();
    }
    client.write(write("other", int(0))).await.unwrap();
    let mut request = ListRequest {
        prefix: "jobs/".into(),
        // More than max_page_size counts as max_page_size.
        page_size: 100,
        ..ListRequest::default()
    };
    let mut pages = Vec::new();
    loop {
        let page = client.list(request.clone()).await.unwrap().into_inner();
        assert_eq!(page.revision, 8);
        request.page_token = page.next_page_token.clone();
        pages.push(keys(page).len());
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(pages, [3, 3, 1]);

    let only_keys = ListRequest {
        keys_only: true,
        page_size: 1,
        ..ListRequest::default()
    };
    let page = client.list(only_keys).await.unwrap().into_inner();
    let entry = &page.entries[0];
    assert_eq!((entry.key.as_str(), &entry.value), ("jobs/0", &None));
    assert_eq!((entry.revision, entry.create_revision), (1, 1));
}

#[tokio::test]
async fn bad_pages_are_refused() {
    let server = TestServer::start();
    let mut client = server.state().await;
    for key in ["a", "b"] {
        client.write(write(key, int(0))).await.unwrap();
    }
    let first = ListRequest {
        page_size: 1,
        ..ListRequest::default()
    };
    let token = client
        .list(first)
        .await
        .unwrap()
        .into_inner()
        .next_page_token;
    let list = ListRequest::default;
    for (request, metadata) in [
        (
            ListRequest {
                page_size: -1,
                ..list()
            },
            &[("field", "page_size"), ("actual", "-1")][..],
        ),
        (
            ListRequest {
                page_token: "?".into(),
                ..list()
            },
            &[("field", "page_token")],
        ),
        (
            ListRequest {
                page_token: token,
                prefix: "b".into(),
                ..list()
            },
            &[("field", "page_token")],
        ),
        (
            ListRequest {
                prefix: "$".into(),
                ..list()
            },
            &[("field", "prefix")],
        ),
        (
            ListRequest {
                prefix: "k".repeat(1025),
                ..list()
            },
            &[("field", "prefix"), ("limit", "1024"), ("actual", "1025")],
        ),
    ] {
        let refused = client.list(request).await.unwrap_err();
        assert_refused(&refused, Code::InvalidArgument, "BAD_PAGE", metadata);
    }
}

#[tokio::test]
async fn every_method_of_the_contract_is_served() {
    let server = TestServer::start();
    let caller = Caller::of(&server).await;
    let methods = caller.methods();
    assert!(methods.contains(&"State/Read".into()) && methods.len() > 15);
    for method in methods {
        if let Err(status) = caller.stream(&method, &json!({})).await {
            assert_ne!(status.code(), Code::Unimplemented, "{method}: {status:?}");
        }
    }
}
