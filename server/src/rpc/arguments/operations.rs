//! Checks the operations on a key: Read, Write, Add, Transition and Delete.
//!
//! A call and an operation of a frame have the same message. `write` and its like check a call; `write_at` and its like check
//! the message wherever it is, and name its fields by their path.

use soloist::v1;
use soloist::v1::error::Reason;
use soloist::v1::op::Op;

use super::condition::{condition, expect};
use super::lifetime::{WireLifetime, set_lifetime};
use super::names::{key, name};
use super::path::{BadArgument, Path};
use super::request_id::optional_request_id;
use super::value::value;
use crate::config::Limits;
use crate::machine::{
    Add, AddOptions, Bounds, Delete, OnOverflow, Operation, Read, RequestId, Transition,
    TransitionOptions, Write, WriteOptions, WriteShows,
};

/// Checks the arguments of a Read call.
pub(crate) fn read(request: v1::ReadRequest, limits: &Limits) -> Result<Read, BadArgument> {
    read_at(&Path::ROOT, request, limits)
}

/// Checks the arguments of a Write call, and its request id.
pub(crate) fn write(
    mut request: v1::WriteRequest,
    limits: &Limits,
) -> Result<(Write, Option<Box<RequestId>>), BadArgument> {
    let id = std::mem::take(&mut request.request_id);
    let request_id = optional_request_id(&Path::ROOT, id, || as_op(Op::Write(request.clone())))?;
    Ok((write_at(&Path::ROOT, request, limits)?, request_id))
}

/// Checks the arguments of an Add call, and its request id.
pub(crate) fn add(
    mut request: v1::AddRequest,
    limits: &Limits,
) -> Result<(Add, Option<Box<RequestId>>), BadArgument> {
    let id = std::mem::take(&mut request.request_id);
    let request_id = optional_request_id(&Path::ROOT, id, || as_op(Op::Add(request.clone())))?;
    Ok((add_at(&Path::ROOT, request, limits)?, request_id))
}

/// Checks the arguments of a Transition call, and its request id.
pub(crate) fn transition(
    mut request: v1::TransitionRequest,
    limits: &Limits,
) -> Result<(Transition, Option<Box<RequestId>>), BadArgument> {
    let id = std::mem::take(&mut request.request_id);
    let request_id =
        optional_request_id(&Path::ROOT, id, || as_op(Op::Transition(request.clone())))?;
    Ok((transition_at(&Path::ROOT, request, limits)?, request_id))
}

/// Checks the arguments of a Delete call, and its request id.
pub(crate) fn delete(
    mut request: v1::DeleteRequest,
    limits: &Limits,
) -> Result<(Delete, Option<Box<RequestId>>), BadArgument> {
    let id = std::mem::take(&mut request.request_id);
    let request_id = optional_request_id(&Path::ROOT, id, || as_op(Op::Delete(request.clone())))?;
    Ok((delete_at(&Path::ROOT, request, limits)?, request_id))
}

/// Wraps a request, so that the fingerprint of an operation is the same in a call and in a frame.
fn as_op(op: Op) -> v1::Op {
    v1::Op { op: Some(op) }
}

/// Checks an operation of a frame or batch.
pub(super) fn operation(
    path: &Path<'_>,
    op: v1::Op,
    limits: &Limits,
) -> Result<Operation, BadArgument> {
    match op.op {
        None => Err(path.bad(Reason::NoOperation, "has no operation")),
        Some(Op::Read(request)) => {
            read_at(&path.field("read"), request, limits).map(Operation::Read)
        }
        Some(Op::Write(request)) => {
            write_at(&path.field("write"), request, limits).map(Operation::Write)
        }
        Some(Op::Add(request)) => add_at(&path.field("add"), request, limits).map(Operation::Add),
        Some(Op::Transition(request)) => {
            transition_at(&path.field("transition"), request, limits).map(Operation::Transition)
        }
        Some(Op::Delete(request)) => {
            delete_at(&path.field("delete"), request, limits).map(Operation::Delete)
        }
    }
}

fn read_at(
    path: &Path<'_>,
    request: v1::ReadRequest,
    limits: &Limits,
) -> Result<Read, BadArgument> {
    Ok(Read {
        key: key(&path.field("key"), request.key, limits)?,
        expect: expect(path, request.expect, limits)?,
    })
}

fn write_at(
    path: &Path<'_>,
    request: v1::WriteRequest,
    limits: &Limits,
) -> Result<Write, BadArgument> {
    use v1::write_request::Lifetime;
    let v1::WriteRequest {
        key: name,
        expect,
        request_id: _,
        value: new_value,
        keep_value,
        lifetime,
        return_previous,
        session_create_revision,
    } = request;
    let bad = |problem| path.field("keep_value").bad(Reason::BadLifetime, problem);
    let key = key(&path.field("key"), name, limits)?;
    let expect = condition(path, expect, limits)?;
    let value = match (new_value, keep_value) {
        (Some(_), true) => return Err(bad("must not be set together with value")),
        (None, true) => None,
        (new_value, false) => Some(value(&path.field("value"), new_value, limits)?),
    };
    let lifetime = match lifetime {
        // `keep_lifetime: false` means the same as no lifetime at all.
        None | Some(Lifetime::KeepLifetime(false)) => None,
        Some(Lifetime::Ttl(ttl)) => Some(WireLifetime::Ttl(ttl)),
        Some(Lifetime::Session(id)) => Some(WireLifetime::Session(id)),
        Some(Lifetime::KeepLifetime(true)) if value.is_none() => {
            return Err(bad(
                "must not be set together with keep_lifetime: nothing would change",
            ));
        }
        Some(Lifetime::KeepLifetime(true)) => Some(WireLifetime::Keep),
    };
    let options = WriteOptions {
        expect,
        lifetime: set_lifetime(path, lifetime, session_create_revision)?,
        shows: if return_previous {
            WriteShows::Previous
        } else {
            WriteShows::Revisions
        },
    };
    let options = (options != WriteOptions::default()).then(|| Box::new(options));
    Ok(Write {
        key,
        value,
        options,
    })
}

fn add_at(path: &Path<'_>, request: v1::AddRequest, limits: &Limits) -> Result<Add, BadArgument> {
    use v1::add_request::Lifetime;
    if let (Some(min), Some(max)) = (request.min, request.max)
        && min > max
    {
        let problem = format!("is {min}, but must be at most max, which is {max}");
        return Err(BadArgument {
            limit: Some(max.to_string()),
            actual: Some(min.to_string()),
            ..path.field("min").bad(Reason::BadBounds, problem)
        });
    }
    let bounds = Bounds {
        min: request.min,
        max: request.max,
        on_overflow: if request.saturate {
            OnOverflow::Saturate
        } else {
            OnOverflow::Refuse
        },
    };
    let lifetime = request.lifetime.map(|lifetime| match lifetime {
        Lifetime::Ttl(ttl) => WireLifetime::Ttl(ttl),
        Lifetime::Session(id) => WireLifetime::Session(id),
    });
    let key = key(&path.field("key"), request.key, limits)?;
    let options = AddOptions {
        expect: condition(path, request.expect, limits)?,
        bounds,
        lifetime: set_lifetime(path, lifetime, request.session_create_revision)?,
    };
    Ok(Add {
        key,
        delta: request.delta,
        options: (options != AddOptions::default()).then(|| Box::new(options)),
    })
}

fn transition_at(
    path: &Path<'_>,
    request: v1::TransitionRequest,
    limits: &Limits,
) -> Result<Transition, BadArgument> {
    let key = key(&path.field("key"), request.key, limits)?;
    let to = name(&path.field("to"), Reason::BadMachine, request.to)?;
    let options = TransitionOptions {
        expect: condition(path, request.expect, limits)?,
        value: match request.value {
            None => None,
            new_value => Some(value(&path.field("value"), new_value, limits)?),
        },
    };
    let options = (options != TransitionOptions::default()).then(|| Box::new(options));
    Ok(Transition { key, to, options })
}

fn delete_at(
    path: &Path<'_>,
    request: v1::DeleteRequest,
    limits: &Limits,
) -> Result<Delete, BadArgument> {
    Ok(Delete {
        key: key(&path.field("key"), request.key, limits)?,
        expect: expect(path, request.expect, limits)?,
    })
}
