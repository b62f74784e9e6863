//! Checks conditions, the field `expect`.

use soloist::v1;
use soloist::v1::error::Reason;

use super::names::name;
use super::path::{BadArgument, Path};
use super::value::value;
use crate::config::Limits;
use crate::machine::{Condition, Expect};

/// Checks a condition. Boxed, because most operations have none.
pub(super) fn expect(
    parent: &Path<'_>,
    expect: Option<v1::Condition>,
    limits: &Limits,
) -> Result<Expect, BadArgument> {
    Ok(condition(parent, expect, limits)?.map(Box::new))
}

/// Checks a condition.
pub(super) fn condition(
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
