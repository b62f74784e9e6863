//! Bad arguments, and the paths of their fields.

use std::fmt;

use soloist::v1::error::Reason;

/// An argument that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadArgument {
    /// The path of the field in the request, such as `ops[3].write.key`.
    pub(crate) field: String,
    /// The reason that the refusal gives.
    pub(crate) reason: Reason,
    /// What is wrong, in words that follow the path.
    pub(crate) problem: String,
    /// The limit, if the rule has one.
    pub(crate) limit: Option<String>,
    /// The actual value, if it is short enough to be shown.
    pub(crate) actual: Option<String>,
    /// The index of the operation that has the field, if the request has several.
    pub(crate) op: Option<usize>,
}

impl BadArgument {
    /// The same error, of an argument of this operation of a batch or frame.
    pub(super) fn of_op(self, index: usize) -> Self {
        Self {
            op: Some(index),
            ..self
        }
    }
}

/// The path of a field in a request. It becomes text only if the field is bad, so good arguments cost no allocation.
#[derive(Clone, Copy)]
pub(super) struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    name: &'static str,
    element: Element<'a>,
}

/// Which element of a repeated field or map is meant.
#[derive(Clone, Copy)]
pub(super) enum Element<'a> {
    None,
    Index(usize),
    Key(&'a str),
}

impl<'a> Path<'a> {
    /// The request itself.
    pub(super) const ROOT: Path<'static> = Path {
        parent: None,
        name: "",
        element: Element::None,
    };

    pub(super) fn field(&'a self, name: &'static str) -> Self {
        Self {
            parent: Some(self),
            name,
            element: Element::None,
        }
    }

    /// An element of a repeated field.
    pub(super) fn index(&'a self, name: &'static str, index: usize) -> Self {
        Self {
            parent: Some(self),
            name,
            element: Element::Index(index),
        }
    }

    /// An element of a map field.
    pub(super) fn key(&'a self, name: &'static str, key: &'a str) -> Self {
        Self {
            parent: Some(self),
            name,
            element: Element::Key(key),
        }
    }

    /// The error of this field, without a limit or an actual value.
    pub(super) fn bad(&self, reason: Reason, problem: impl Into<String>) -> BadArgument {
        BadArgument {
            field: self.to_string(),
            reason,
            problem: problem.into(),
            limit: None,
            actual: None,
            op: None,
        }
    }

    /// The error of this field, whose value is out of its range. `limit` describes the range.
    pub(super) fn out_of_range(
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

    /// The error of this field, which has more than `limit` bytes, operations or states.
    pub(super) fn over_limit(
        &self,
        reason: Reason,
        unit: &str,
        limit: usize,
        actual: usize,
    ) -> BadArgument {
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
        match self.element {
            Element::None => Ok(()),
            Element::Index(index) => write!(f, "[{index}]"),
            Element::Key(key) => write!(f, "[{key:?}]"),
        }
    }
}
