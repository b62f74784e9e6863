//! From the wire to the domain: every argument is checked here, before anything reaches the owner.
//!
//! The checks name the field by its path in the request, the limit and what was sent instead.

use std::fmt;
use std::time::Duration;

use soloist::v1;
use soloist::v1::error::Reason;

use crate::config::Limits;
use crate::machine::{
    Add, Beyond, Bounds, Condition, Delete, Expect, Key, List, ListShows, Operation, Read, Value,
    Write, WriteAnswer,
};
use crate::page_token;

/// An argument that cannot be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadArgument {
    /// The field's path within the request, such as `ops[3].write.key`.
    pub(crate) field: String,
    /// Which rule it breaks.
    pub(crate) reason: Reason,
    /// The rule in words, to be read after the path.
    pub(crate) problem: String,
    /// The limit, where the rule has one.
    pub(crate) limit: Option<String>,
    /// What was sent instead, where it is not too long to tell.
    pub(crate) actual: Option<String>,
}

/// Where in the request an argument stands. Written out only if the argument is bad.
#[derive(Clone, Copy)]
struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    name: &'static str,
    index: Option<usize>,
}

impl<'a> Path<'a> {
    const ROOT: Path<'static> = Path {
        parent: None,
        name: "",
        index: None,
    };

    fn field(&'a self, name: &'static str) -> Self {
        Self {
            parent: Some(self),
            name,
            index: None,
        }
    }

    fn element(&'a self, name: &'static str, index: usize) -> Self {
        Self {
            parent: Some(self),
            name,
            index: Some(index),
        }
    }

    fn bad(&self, reason: Reason, problem: impl Into<String>) -> BadArgument {
        BadArgument {
            field: self.to_string(),
            reason,
            problem: problem.into(),
            limit: None,
            actual: None,
        }
    }

    fn over(&self, reason: Reason, unit: &str, limit: usize, actual: usize) -> BadArgument {
        BadArgument {
            limit: Some(limit.to_string()),
            actual: Some(actual.to_string()),
            ..self.bad(reason, format!("has {actual} {unit}, the limit is {limit}"))
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent
            && parent.parent.is_some()
        {
            write!(f, "{parent}.")?;
        }
        f.write_str(self.name)?;
        match self.index {
            Some(index) => write!(f, "[{index}]"),
            None => Ok(()),
        }
    }
}

/// Checks the arguments of a Read.
pub(crate) fn read(request: v1::ReadRequest, limits: &Limits) -> Result<Read, BadArgument> {
    read_at(&Path::ROOT, request, limits)
}

/// Checks the arguments of a Write.
pub(crate) fn write(request: v1::WriteRequest, limits: &Limits) -> Result<Write, BadArgument> {
    write_at(&Path::ROOT, request, limits)
}

/// Checks the arguments of an Add.
pub(crate) fn add(request: v1::AddRequest, limits: &Limits) -> Result<Add, BadArgument> {
    add_at(&Path::ROOT, request, limits)
}

/// Checks the arguments of a Delete.
pub(crate) fn delete(request: v1::DeleteRequest, limits: &Limits) -> Result<Delete, BadArgument> {
    delete_at(&Path::ROOT, request, limits)
}

/// Checks the arguments of a List.
pub(crate) fn list(request: v1::ListRequest, limits: &Limits) -> Result<List, BadArgument> {
    let v1::ListRequest {
        prefix,
        page_size,
        page_token,
        keys_only,
    } = request;
    let bad = |field, problem| Path::ROOT.field(field).bad(Reason::BadPage, problem);
    if !prefix.is_empty() && !is_key(&prefix, limits) {
        // The same rules, told the same way.
        let why = key(&Path::ROOT.field("prefix"), prefix, limits).expect_err("it is no key");
        return Err(BadArgument {
            reason: Reason::BadPage,
            ..why
        });
    }
    let page_size = match usize::try_from(page_size) {
        Ok(0) => limits.max_page_size,
        Ok(page_size) => page_size.min(limits.max_page_size),
        Err(_) => {
            return Err(BadArgument {
                actual: Some(page_size.to_string()),
                ..bad(
                    "page_size",
                    format!("is {page_size}, but must be 0 or more"),
                )
            });
        }
    };
    let after = if page_token.is_empty() {
        None
    } else {
        let key = page_token::decode(&page_token)
            .ok_or_else(|| bad("page_token", "is none that a List has given".into()))?;
        if !key.starts_with(&prefix) {
            return Err(bad("page_token", format!("is not of prefix {prefix:?}")));
        }
        Some(key)
    };
    Ok(List {
        prefix,
        after,
        page_size,
        page_bytes: limits.max_page_bytes,
        shows: if keys_only {
            ListShows::Keys
        } else {
            ListShows::Entries
        },
    })
}

/// Checks the operations of a frame. An atomic frame is bounded in bytes as well.
pub(crate) fn frame(
    ops: Vec<v1::Op>,
    atomic: bool,
    limits: &Limits,
) -> Result<Vec<Operation>, BadArgument> {
    let path = Path::ROOT.field("ops");
    if ops.is_empty() {
        return Err(path.bad(Reason::NoOperation, "has no operation"));
    }
    if ops.len() > limits.max_batch_ops {
        return Err(too_many_operations(ops.len(), limits));
    }
    let mut operations = Vec::with_capacity(ops.len());
    for (index, op) in ops.into_iter().enumerate() {
        operations.push(operation(&Path::ROOT.element("ops", index), op, limits)?);
    }
    if atomic {
        let bytes = operations.iter().map(Operation::byte_len).sum();
        if bytes > limits.max_batch_bytes {
            return Err(path.over(
                Reason::BatchTooLarge,
                "bytes of keys and values",
                limits.max_batch_bytes,
                bytes,
            ));
        }
    }
    Ok(operations)
}

/// Refuses a frame for its `count` of operations.
pub(crate) fn too_many_operations(count: usize, limits: &Limits) -> BadArgument {
    Path::ROOT.field("ops").over(
        Reason::TooManyOperations,
        "operations",
        limits.max_batch_ops,
        count,
    )
}

/// Checks a frame's timeout: none if it is unset or zero.
pub(crate) fn timeout(
    timeout: Option<prost_types::Duration>,
) -> Result<Option<Duration>, BadArgument> {
    let Some(timeout) = timeout else {
        return Ok(None);
    };
    let prost_types::Duration { seconds, nanos } = timeout;
    match (u64::try_from(seconds), u32::try_from(nanos)) {
        (Ok(0), Ok(0)) => Ok(None),
        (Ok(seconds), Ok(nanos)) if nanos < 1_000_000_000 => {
            Ok(Some(Duration::new(seconds, nanos)))
        }
        _ => {
            let actual = format!("{seconds} seconds and {nanos} nanoseconds");
            let problem = format!(
                "is {actual}, but must be 0 or more, with less than a second of nanoseconds"
            );
            Err(BadArgument {
                actual: Some(actual),
                ..Path::ROOT
                    .field("timeout")
                    .bad(Reason::BadDuration, problem)
            })
        }
    }
}

fn operation(path: &Path<'_>, op: v1::Op, limits: &Limits) -> Result<Operation, BadArgument> {
    match op.op {
        None => Err(path.bad(Reason::NoOperation, "has no operation")),
        Some(v1::op::Op::Read(request)) => {
            read_at(&path.field("read"), request, limits).map(Operation::Read)
        }
        Some(v1::op::Op::Write(request)) => {
            write_at(&path.field("write"), request, limits).map(Operation::Write)
        }
        Some(v1::op::Op::Add(request)) => {
            add_at(&path.field("add"), request, limits).map(Operation::Add)
        }
        Some(v1::op::Op::Delete(request)) => {
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
    Ok(Write {
        key: key(&path.field("key"), request.key, limits)?,
        expect: expect(path, request.expect, limits)?,
        value: value(&path.field("value"), request.value, limits)?,
        answer: if request.return_previous {
            WriteAnswer::Previous
        } else {
            WriteAnswer::Revisions
        },
    })
}

/// Whether `text` may be a key; [`key`] tells why not.
pub(crate) fn is_key(text: &str, limits: &Limits) -> bool {
    let plain = |byte: &u8| (b' '..0x7f).contains(byte);
    !text.is_empty()
        && text.len() <= limits.max_key_bytes
        && !text.starts_with('$')
        // Most keys are ASCII, which is quicker to look through.
        && (text.as_bytes().iter().all(plain) || !text.contains(char::is_control))
}

fn add_at(path: &Path<'_>, request: v1::AddRequest, limits: &Limits) -> Result<Add, BadArgument> {
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
        beyond: if request.saturate {
            Beyond::Saturate
        } else {
            Beyond::Refuse
        },
    };
    Ok(Add {
        key: key(&path.field("key"), request.key, limits)?,
        expect: expect(path, request.expect, limits)?,
        delta: request.delta,
        bounds: (bounds != Bounds::NONE).then(|| Box::new(bounds)),
    })
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

fn key(path: &Path<'_>, key: String, limits: &Limits) -> Result<Key, BadArgument> {
    if is_key(&key, limits) {
        return Ok(Key::from(key));
    }
    let bad = |problem| path.bad(Reason::BadKey, problem);
    if key.is_empty() {
        return Err(BadArgument {
            limit: Some("1".into()),
            actual: Some("0".into()),
            ..bad("is empty, but must have at least 1 byte".to_owned())
        });
    }
    if key.len() > limits.max_key_bytes {
        return Err(path.over(Reason::BadKey, "bytes", limits.max_key_bytes, key.len()));
    }
    if key.starts_with('$') {
        return Err(bad(format!(
            "is {key:?}, but names that begin with $ are reserved"
        )));
    }
    let (at, char) = key
        .char_indices()
        .find(|(_, char)| char.is_control())
        .expect("nothing else is wrong with it");
    Err(bad(format!(
        "has the control character U+{:04X} at byte {at}",
        char as u32
    )))
}

fn value(path: &Path<'_>, value: Option<v1::Value>, limits: &Limits) -> Result<Value, BadArgument> {
    let Some(kind) = value.and_then(|value| value.kind) else {
        return Err(path.bad(
            Reason::ValueMissing,
            "is missing: set one of int, text, bytes",
        ));
    };
    let (name, value) = match kind {
        v1::value::Kind::Int(int) => return Ok(Value::Int(int)),
        v1::value::Kind::Text(text) => ("text", Value::Text(text.into())),
        v1::value::Kind::Bytes(bytes) => ("bytes", Value::Bytes(bytes.into())),
    };
    if value.byte_len() > limits.max_value_bytes {
        return Err(path.field(name).over(
            Reason::ValueTooLarge,
            "bytes",
            limits.max_value_bytes,
            value.byte_len(),
        ));
    }
    Ok(value)
}

fn expect(
    parent: &Path<'_>,
    condition: Option<v1::Condition>,
    limits: &Limits,
) -> Result<Expect, BadArgument> {
    let Some(condition) = condition else {
        return Ok(None);
    };
    let path = parent.field("expect");
    let revision = |name, revision: i64| {
        if revision < 0 {
            let problem = format!("is {revision}, but must be 0 or more");
            return Err(path.field(name).bad(Reason::BadCondition, problem));
        }
        Ok(revision)
    };
    use v1::condition::Test;
    let condition = match condition.test {
        None => {
            return Err(path.bad(
                Reason::BadCondition,
                "tests nothing: set one of exists, revision, create_revision, value",
            ));
        }
        Some(Test::Exists(exists)) => Condition::Exists(exists),
        Some(Test::Revision(r)) => Condition::Revision(revision("revision", r)?),
        Some(Test::CreateRevision(r)) => Condition::CreateRevision(revision("create_revision", r)?),
        Some(Test::Value(expected)) => {
            Condition::Value(value(&path.field("value"), Some(expected), limits)?)
        }
    };
    Ok(Some(Box::new(condition)))
}
