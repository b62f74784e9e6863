//! From the wire to the domain: every argument is checked here, before anything reaches the owner.
//!
//! The checks name the field by its path in the request, the limit and what was sent instead.

use std::fmt;

use soloist::v1;
use soloist::v1::error::Reason;
use soloist::v1::op::Op;

use crate::config::{Limits, NAME_BYTES_MAX, TTL_RANGE};
use crate::machine::{
    Add, AddTerms, Beyond, Bounds, Condition, Delete, Expect, Key, List, ListShows, Name,
    Operation, Read, Request, SetLifetime, Transition, TransitionTerms, Value, Write, WriteAnswer,
    WriteTerms,
};
use crate::rpc::{fingerprint::fingerprint, page_token};

use duration::span_in;

pub(crate) mod duration;
pub(crate) mod frame;
pub(crate) mod machines;
pub(crate) mod sessions;
pub(crate) mod watch;

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
    place: Place<'a>,
}

/// Which one of a field's elements.
#[derive(Clone, Copy)]
enum Place<'a> {
    Only,
    Index(usize),
    Key(&'a str),
}

impl<'a> Path<'a> {
    const ROOT: Path<'static> = Path {
        parent: None,
        name: "",
        place: Place::Only,
    };

    fn field(&'a self, name: &'static str) -> Self {
        Self {
            parent: Some(self),
            name,
            place: Place::Only,
        }
    }

    fn element(&'a self, name: &'static str, index: usize) -> Self {
        Self {
            parent: Some(self),
            name,
            place: Place::Index(index),
        }
    }

    /// An element of a map.
    fn key(&'a self, name: &'static str, key: &'a str) -> Self {
        Self {
            parent: Some(self),
            name,
            place: Place::Key(key),
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

    /// Out of its range, which `limit` tells in words.
    fn out_of_range(
        &self,
        reason: Reason,
        limit: impl fmt::Display,
        actual: impl fmt::Display,
    ) -> BadArgument {
        BadArgument {
            limit: Some(limit.to_string()),
            actual: Some(actual.to_string()),
            ..self.bad(reason, format!("is {actual}, but must be {limit}"))
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
        match self.place {
            Place::Only => Ok(()),
            Place::Index(index) => write!(f, "[{index}]"),
            Place::Key(key) => write!(f, "[{key:?}]"),
        }
    }
}

/// Checks the arguments of a Read.
pub(crate) fn read(request: v1::ReadRequest, limits: &Limits) -> Result<Read, BadArgument> {
    read_at(&Path::ROOT, request, limits)
}

/// Checks the arguments of a Write.
pub(crate) fn write(
    mut request: v1::WriteRequest,
    limits: &Limits,
) -> Result<(Write, Option<Box<Request>>), BadArgument> {
    let id = std::mem::take(&mut request.request_id);
    let named = named(&Path::ROOT, id, || as_op(Op::Write(request.clone())))?;
    Ok((write_at(&Path::ROOT, request, limits)?, named))
}

/// Checks the arguments of an Add.
pub(crate) fn add(
    mut request: v1::AddRequest,
    limits: &Limits,
) -> Result<(Add, Option<Box<Request>>), BadArgument> {
    let id = std::mem::take(&mut request.request_id);
    let named = named(&Path::ROOT, id, || as_op(Op::Add(request.clone())))?;
    Ok((add_at(&Path::ROOT, request, limits)?, named))
}

/// Checks the arguments of a Transition.
pub(crate) fn transition(
    mut request: v1::TransitionRequest,
    limits: &Limits,
) -> Result<(Transition, Option<Box<Request>>), BadArgument> {
    let id = std::mem::take(&mut request.request_id);
    let named = named(&Path::ROOT, id, || as_op(Op::Transition(request.clone())))?;
    Ok((transition_at(&Path::ROOT, request, limits)?, named))
}

/// Checks the arguments of a Delete.
pub(crate) fn delete(
    mut request: v1::DeleteRequest,
    limits: &Limits,
) -> Result<(Delete, Option<Box<Request>>), BadArgument> {
    let id = std::mem::take(&mut request.request_id);
    let named = named(&Path::ROOT, id, || as_op(Op::Delete(request.clone())))?;
    Ok((delete_at(&Path::ROOT, request, limits)?, named))
}

/// Names a request by its id, if it has one. Single operations are named by the same content, alone or in a frame.
fn named<M: prost::Message>(
    path: &Path<'_>,
    id: String,
    content: impl FnOnce() -> M,
) -> Result<Option<Box<Request>>, BadArgument> {
    if id.is_empty() {
        return Ok(None);
    }
    request_named(path, id, &content()).map(Some)
}

fn as_op(op: Op) -> v1::Op {
    v1::Op { op: Some(op) }
}

/// Names a request by its id.
fn request_named(
    path: &Path<'_>,
    id: String,
    content: &impl prost::Message,
) -> Result<Box<Request>, BadArgument> {
    let id = checked(
        &path.field("request_id"),
        Reason::BadRequestId,
        id,
        NAME_BYTES_MAX,
    )?;
    Ok(Box::new(Request {
        id,
        fingerprint: fingerprint(content),
    }))
}

/// Checks the arguments of a List.
pub(crate) fn list(request: v1::ListRequest, limits: &Limits) -> Result<List, BadArgument> {
    let v1::ListRequest {
        prefix,
        page_size,
        page_token,
        keys_only,
    } = request;
    check_prefix(
        &Path::ROOT.field("prefix"),
        Reason::BadPage,
        &prefix,
        limits,
    )?;
    let page_size = checked_page_size(page_size, limits)?;
    let after = after_token(&page_token)?;
    if after.as_ref().is_some_and(|key| !key.starts_with(&prefix)) {
        let problem = format!("is not of prefix {prefix:?}");
        return Err(Path::ROOT.field("page_token").bad(Reason::BadPage, problem));
    }
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

/// Checks what a page of names is asked for by: the last name of the page before, and the size of this one.
fn page(
    page_token: &str,
    page_size: i32,
    limits: &Limits,
) -> Result<(Option<String>, usize), BadArgument> {
    Ok((
        after_token(page_token)?,
        checked_page_size(page_size, limits)?,
    ))
}

/// How many entries a page has.
fn checked_page_size(page_size: i32, limits: &Limits) -> Result<usize, BadArgument> {
    match usize::try_from(page_size) {
        Ok(0) => Ok(limits.max_page_size),
        Ok(page_size) => Ok(page_size.min(limits.max_page_size)),
        Err(_) => {
            let path = Path::ROOT.field("page_size");
            Err(BadArgument {
                actual: Some(page_size.to_string()),
                ..path.bad(
                    Reason::BadPage,
                    format!("is {page_size}, but must be 0 or more"),
                )
            })
        }
    }
}

/// What stands in a page token: the last name of the page before.
fn after_token(page_token: &str) -> Result<Option<String>, BadArgument> {
    if page_token.is_empty() {
        return Ok(None);
    }
    match page_token::decode(page_token) {
        Some(after) => Ok(Some(after)),
        None => {
            let path = Path::ROOT.field("page_token");
            Err(path.bad(Reason::BadPage, "is none that this server has given"))
        }
    }
}

/// Checks what names begin with: the same rules as for a key, but it may be empty.
fn check_prefix(
    path: &Path<'_>,
    reason: Reason,
    prefix: &str,
    limits: &Limits,
) -> Result<(), BadArgument> {
    if prefix.is_empty() || is_name(prefix, limits.max_key_bytes) {
        return Ok(());
    }
    checked(path, reason, prefix.to_owned(), limits.max_key_bytes).map(|_| ())
}

fn operation(path: &Path<'_>, op: v1::Op, limits: &Limits) -> Result<Operation, BadArgument> {
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
        // Not kept is the same as not said.
        None | Some(Lifetime::KeepLifetime(false)) => None,
        Some(Lifetime::Ttl(ttl)) => Some(Lifespan::Ttl(ttl)),
        Some(Lifetime::Session(id)) => Some(Lifespan::Session(id)),
        Some(Lifetime::KeepLifetime(true)) if value.is_none() => {
            return Err(bad(
                "must not be set together with keep_lifetime: nothing is asked for then",
            ));
        }
        Some(Lifetime::KeepLifetime(true)) => Some(Lifespan::Keep),
    };
    let terms = WriteTerms {
        expect,
        lifetime: set_lifetime(path, lifetime, session_create_revision)?,
        answer: if return_previous {
            WriteAnswer::Previous
        } else {
            WriteAnswer::Revisions
        },
    };
    let terms = (terms != WriteTerms::default()).then(|| Box::new(terms));
    Ok(Write { key, value, terms })
}

/// A lifetime on the wire.
enum Lifespan {
    Ttl(prost_types::Duration),
    Session(String),
    Keep,
}

fn set_lifetime(
    path: &Path<'_>,
    lifetime: Option<Lifespan>,
    session_create_revision: i64,
) -> Result<SetLifetime, BadArgument> {
    if session_create_revision != 0 {
        let path = path.field("session_create_revision");
        if session_create_revision < 0 {
            return Err(path.out_of_range(
                Reason::BadLifetime,
                "1 or more, or unset",
                session_create_revision,
            ));
        }
        if !matches!(lifetime, Some(Lifespan::Session(_))) {
            return Err(path.bad(Reason::BadLifetime, "is set, but session is not"));
        }
    }
    Ok(match lifetime {
        None => SetLifetime::Unlimited,
        Some(Lifespan::Keep) => SetLifetime::Keep,
        Some(Lifespan::Ttl(ttl)) => {
            let path = path.field("ttl");
            SetLifetime::Ttl(span_in(&path, Reason::BadLifetime, Some(ttl), &TTL_RANGE)?)
        }
        Some(Lifespan::Session(id)) => SetLifetime::Session {
            id: name(&path.field("session"), Reason::BadLifetime, id)?,
            create_revision: Some(session_create_revision).filter(|revision| *revision != 0),
        },
    })
}

/// Whether `text` may be a key; [`key`] tells why not.
pub(crate) fn is_key(text: &str, limits: &Limits) -> bool {
    is_name(text, limits.max_key_bytes)
}

/// Whether `text` may be a name of up to so many bytes; [`checked`] tells why not.
pub(crate) fn is_name(text: &str, bytes_max: usize) -> bool {
    let plain = |byte: &u8| (b' '..0x7f).contains(byte);
    !text.is_empty()
        && text.len() <= bytes_max
        && !text.starts_with('$')
        // Most names are ASCII, which is quicker to look through.
        && (text.as_bytes().iter().all(plain) || !text.contains(char::is_control))
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
        beyond: if request.saturate {
            Beyond::Saturate
        } else {
            Beyond::Refuse
        },
    };
    let lifetime = request.lifetime.map(|lifetime| match lifetime {
        Lifetime::Ttl(ttl) => Lifespan::Ttl(ttl),
        Lifetime::Session(id) => Lifespan::Session(id),
    });
    let key = key(&path.field("key"), request.key, limits)?;
    let terms = AddTerms {
        expect: condition(path, request.expect, limits)?,
        bounds,
        lifetime: set_lifetime(path, lifetime, request.session_create_revision)?,
    };
    Ok(Add {
        key,
        delta: request.delta,
        terms: (terms != AddTerms::default()).then(|| Box::new(terms)),
    })
}

fn transition_at(
    path: &Path<'_>,
    request: v1::TransitionRequest,
    limits: &Limits,
) -> Result<Transition, BadArgument> {
    let key = key(&path.field("key"), request.key, limits)?;
    let to = name(&path.field("to"), Reason::BadMachine, request.to)?;
    let terms = TransitionTerms {
        expect: condition(path, request.expect, limits)?,
        value: match request.value {
            None => None,
            new_value => Some(value(&path.field("value"), new_value, limits)?),
        },
    };
    let terms = (terms != TransitionTerms::default()).then(|| Box::new(terms));
    Ok(Transition { key, to, terms })
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
    checked(path, Reason::BadKey, key, limits.max_key_bytes)
}

/// The name of a session, machine or state.
fn name(path: &Path<'_>, reason: Reason, name: String) -> Result<Name, BadArgument> {
    checked(path, reason, name, NAME_BYTES_MAX)
}

/// A name of up to so many bytes.
fn checked(
    path: &Path<'_>,
    reason: Reason,
    name: String,
    bytes_max: usize,
) -> Result<Name, BadArgument> {
    if is_name(&name, bytes_max) {
        return Ok(Name::from(name));
    }
    let bad = |problem| path.bad(reason, problem);
    if name.is_empty() {
        return Err(BadArgument {
            limit: Some("1".into()),
            actual: Some("0".into()),
            ..bad("is empty, but must have at least 1 byte".to_owned())
        });
    }
    if name.len() > bytes_max {
        return Err(path.over(reason, "bytes", bytes_max, name.len()));
    }
    if name.starts_with('$') {
        return Err(bad(format!(
            "is {name:?}, but names that begin with $ are reserved"
        )));
    }
    let (at, char) = name
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
    expect: Option<v1::Condition>,
    limits: &Limits,
) -> Result<Expect, BadArgument> {
    Ok(condition(parent, expect, limits)?.map(Box::new))
}

fn condition(
    parent: &Path<'_>,
    expect: Option<v1::Condition>,
    limits: &Limits,
) -> Result<Option<Condition>, BadArgument> {
    let Some(condition) = expect else {
        return Ok(None);
    };
    let path = parent.field("expect");
    let revision = |field, revision: i64| {
        if revision < 0 {
            let problem = format!("is {revision}, but must be 0 or more");
            return Err(path.field(field).bad(Reason::BadCondition, problem));
        }
        Ok(revision)
    };
    let name = |field, text| name(&path.field(field), Reason::BadCondition, text);
    use v1::condition::Test;
    let condition = match condition.test {
        None => {
            return Err(path.bad(
                Reason::BadCondition,
                "tests nothing: set one of exists, revision, create_revision, value, state, session",
            ));
        }
        Some(Test::Exists(exists)) => Condition::Exists(exists),
        Some(Test::Revision(r)) => Condition::Revision(revision("revision", r)?),
        Some(Test::CreateRevision(r)) => Condition::CreateRevision(revision("create_revision", r)?),
        Some(Test::Value(expected)) => {
            Condition::Value(value(&path.field("value"), Some(expected), limits)?)
        }
        Some(Test::State(state)) => Condition::State(name("state", state)?),
        Some(Test::Session(session)) if session.is_empty() => Condition::Session(None),
        Some(Test::Session(session)) => Condition::Session(Some(name("session", session)?)),
    };
    Ok(Some(condition))
}
