//! Our values as etcd's messages, and back.

use crate::{
    Compare, KeyRange, KeyValue, Member, Op, OpAnswer, RangeAnswer, Txn, TxnAnswer, WatchEvent,
};

/// etcd's messages and clients.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    reason = "generated from etcd's names"
)]
pub(super) mod pb {
    tonic::include_proto!("etcdserverpb");
}

use pb::compare::{CompareResult, CompareTarget, TargetUnion};
use pb::request_op::Request;
use pb::response_op::Response;

pub(super) fn txn_request(txn: &Txn) -> pb::TxnRequest {
    pb::TxnRequest {
        compare: txn.when.iter().map(compare).collect(),
        success: txn.then.iter().map(op).collect(),
        failure: txn.otherwise.iter().map(op).collect(),
    }
}

fn compare(compare: &Compare) -> pb::Compare {
    use CompareResult::{Equal, Greater};
    use CompareTarget::{Create, Mod, Value};
    let (key, result, target, union) = match compare {
        Compare::ModRevision(key, revision) => {
            (key, Equal, Mod, TargetUnion::ModRevision(*revision))
        }
        Compare::Exists(key) => (key, Greater, Create, TargetUnion::CreateRevision(0)),
        Compare::Missing(key) => (key, Equal, Create, TargetUnion::CreateRevision(0)),
        Compare::Value(key, value) => (key, Equal, Value, TargetUnion::Value(value.clone())),
    };
    pb::Compare {
        result: result.into(),
        target: target.into(),
        key: key.clone(),
        target_union: Some(union),
    }
}

fn op(op: &Op) -> pb::RequestOp {
    let request = match op {
        Op::Put { key, value, lease } => Request::RequestPut(pb::PutRequest {
            key: key.clone(),
            value: value.clone(),
            lease: *lease,
        }),
        Op::Delete(range) => {
            let (key, range_end) = range.bounds();
            Request::RequestDeleteRange(pb::DeleteRangeRequest { key, range_end })
        }
        Op::Get {
            range,
            limit,
            keys_only,
        } => Request::RequestRange(range_request(range, *limit, *keys_only, 0)),
    };
    pb::RequestOp {
        request: Some(request),
    }
}

pub(super) fn range_request(
    range: &KeyRange,
    limit: i64,
    keys_only: bool,
    revision: i64,
) -> pb::RangeRequest {
    let (key, range_end) = range.bounds();
    pb::RangeRequest {
        key,
        range_end,
        limit,
        revision,
        serializable: false,
        keys_only,
    }
}

pub(super) fn txn_answer(answer: pb::TxnResponse) -> TxnAnswer {
    let parts = answer.responses.into_iter();
    TxnAnswer {
        succeeded: answer.succeeded,
        revision: revision(answer.header.as_ref()),
        answers: parts
            .map(|part| match part.response {
                Some(Response::ResponseRange(got)) => OpAnswer::Got(range_answer(got)),
                Some(Response::ResponseDeleteRange(gone)) => OpAnswer::Deleted(gone.deleted),
                Some(Response::ResponsePut(_)) | None => OpAnswer::Put,
            })
            .collect(),
    }
}

pub(super) fn range_answer(answer: pb::RangeResponse) -> RangeAnswer {
    RangeAnswer {
        revision: revision(answer.header.as_ref()),
        kvs: answer.kvs.into_iter().map(key_value).collect(),
        more: answer.more,
        count: answer.count,
    }
}

fn key_value(kv: pb::KeyValue) -> KeyValue {
    KeyValue {
        key: kv.key,
        value: kv.value,
        create_revision: kv.create_revision,
        mod_revision: kv.mod_revision,
        version: kv.version,
        lease: kv.lease,
    }
}

pub(super) fn event(event: pb::Event) -> WatchEvent {
    let is_delete = event.r#type() == pb::event::EventType::Delete;
    let kv = event.kv.unwrap_or_default();
    match is_delete {
        false => WatchEvent::Put(key_value(kv)),
        true => WatchEvent::Delete {
            key: kv.key,
            mod_revision: kv.mod_revision,
        },
    }
}

pub(super) fn watch_request(range: &KeyRange, from: i64) -> pb::WatchRequest {
    use pb::watch_request::RequestUnion;
    let (key, range_end) = range.bounds();
    pb::WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(pb::WatchCreateRequest {
            key,
            range_end,
            start_revision: from,
            fragment: true,
        })),
    }
}

pub(super) fn progress_request() -> pb::WatchRequest {
    use pb::watch_request::RequestUnion;
    pb::WatchRequest {
        request_union: Some(RequestUnion::ProgressRequest(pb::WatchProgressRequest {})),
    }
}

pub(super) fn member(status: pb::StatusResponse) -> Member {
    let header = status.header.unwrap_or_default();
    Member {
        id: header.member_id,
        version: status.version,
        db_size: status.db_size,
        db_in_use: status.db_size_in_use,
        db_quota: status.db_size_quota,
        leader: status.leader,
        raft_term: status.raft_term,
        revision: header.revision,
        errors: status.errors,
    }
}

pub(super) fn revision(header: Option<&pb::ResponseHeader>) -> i64 {
    header.map_or(0, |header| header.revision)
}

/// The bytes of a request, as etcd counts them against its limit.
#[cfg(feature = "sim")]
pub(crate) fn txn_bytes(txn: &Txn) -> usize {
    use prost::Message as _;
    txn_request(txn).encoded_len()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_transaction_on_the_wire() {
        use prost::Message as _;
        let key = Bytes::from_static(b"k");
        let txn = Txn {
            when: vec![Compare::Exists(key.clone())],
            then: vec![Op::Delete(KeyRange::One(key))],
            otherwise: vec![],
        };
        // Field numbers are those of rpc.proto: compare 1 (result 1 greater, target 2 create, key 3, create_revision 5),
        // success 2 (request_delete_range 3, key 1).
        let expected = [
            10, 9, 8, 1, 16, 1, 26, 1, b'k', 40, 0, 18, 5, 26, 3, 10, 1, b'k',
        ];
        assert_eq!(txn_request(&txn).encode_to_vec(), expected);
    }
}
