//! Checks the operations of frames and batches.

use soloist::v1;
use soloist::v1::error::Reason;
use soloist::v1::op::Op;

use crate::config::Limits;
use crate::machine::{Operation, RequestId};

use super::operations::operation;
use super::path::{BadArgument, Path};
use super::request_id::request_id as checked_request_id;

/// The operations of a frame, and the request ids among them, each with the index of its operation.
pub(crate) type Operations = (Vec<Operation>, Vec<(usize, RequestId)>);

/// Checks the operations of a frame that is not atomic.
pub(crate) fn each(ops: Vec<v1::Op>, limits: &Limits) -> Result<Operations, BadArgument> {
    check_count(ops.len(), limits)?;
    let mut operations = Vec::with_capacity(ops.len());
    let mut request_ids = Vec::new();
    for (index, mut op) in ops.into_iter().enumerate() {
        let path = Path::ROOT.index("ops", index);
        if let Some((kind, id)) = take_request_id(&mut op) {
            let path = path.field(kind);
            let id = checked_request_id(&path, id, &op).map_err(|bad| bad.of_op(index))?;
            request_ids.push((index, *id));
        }
        operations.push(operation(&path, op, limits).map_err(|bad| bad.of_op(index))?);
    }
    Ok((operations, request_ids))
}

/// Checks the operations and the request id of a batch or atomic frame.
pub(crate) fn all(
    mut ops: Vec<v1::Op>,
    request_id: String,
    limits: &Limits,
) -> Result<(Vec<Operation>, Option<Box<RequestId>>), BadArgument> {
    check_count(ops.len(), limits)?;
    let request_id = if request_id.is_empty() {
        None
    } else {
        let content = v1::BatchRequest {
            ops,
            request_id: String::new(),
        };
        let request_id = checked_request_id(&Path::ROOT, request_id, &content)?;
        ops = content.ops;
        Some(request_id)
    };
    let mut operations = Vec::with_capacity(ops.len());
    for (index, mut op) in ops.into_iter().enumerate() {
        let path = Path::ROOT.index("ops", index);
        if let Some((kind, _)) = take_request_id(&mut op) {
            let path = path.field(kind);
            let bad = path.field("request_id").bad(
                Reason::BadRequestId,
                "must not be set here: set the request_id of the batch or frame instead",
            );
            return Err(bad.of_op(index));
        }
        operations.push(operation(&path, op, limits).map_err(|bad| bad.of_op(index))?);
    }
    let bytes = operations.iter().map(Operation::byte_len).sum();
    if bytes > limits.max_batch_bytes {
        return Err(Path::ROOT.field("ops").over_limit(
            Reason::BatchTooLarge,
            "bytes of keys and values",
            limits.max_batch_bytes,
            bytes,
        ));
    }
    Ok((operations, request_id))
}

/// Refuses a request id on a frame that is not atomic.
pub(crate) fn no_request_id(request_id: &str) -> Result<(), BadArgument> {
    if request_id.is_empty() {
        return Ok(());
    }
    Err(Path::ROOT.field("request_id").bad(
        Reason::BadRequestId,
        "must not be set on a frame that is not atomic: set those of its operations instead",
    ))
}

/// Takes the request id out of an operation. Returns it with the name of the operation's field; none if there is no id.
fn take_request_id(op: &mut v1::Op) -> Option<(&'static str, String)> {
    let (kind, id) = match op.op.as_mut()? {
        Op::Read(_) => return None,
        Op::Write(write) => ("write", &mut write.request_id),
        Op::Add(add) => ("add", &mut add.request_id),
        Op::Transition(transition) => ("transition", &mut transition.request_id),
        Op::Delete(delete) => ("delete", &mut delete.request_id),
    };
    (!id.is_empty()).then(|| (kind, std::mem::take(id)))
}

fn check_count(count: usize, limits: &Limits) -> Result<(), BadArgument> {
    if count == 0 {
        let path = Path::ROOT.field("ops");
        return Err(path.bad(Reason::NoOperation, "has no operation"));
    }
    if count > limits.max_batch_ops {
        return Err(too_many_operations(count, limits));
    }
    Ok(())
}

/// The refusal of a batch or frame with `count` operations.
pub(crate) fn too_many_operations(count: usize, limits: &Limits) -> BadArgument {
    Path::ROOT.field("ops").over_limit(
        Reason::TooManyOperations,
        "operations",
        limits.max_batch_ops,
        count,
    )
}
