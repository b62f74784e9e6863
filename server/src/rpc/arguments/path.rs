//! Where in a request a bad argument stands.

use std::fmt;

use soloist::v1::error::Reason;

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
pub(super) struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    name: &'static str,
    element: Element<'a>,
}

/// Which one of a field's elements.
#[derive(Clone, Copy)]
pub(super) enum Element<'a> {
    None,
    Index(usize),
    Key(&'a str),
}

impl<'a> Path<'a> {
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

    pub(super) fn index(&'a self, name: &'static str, index: usize) -> Self {
        Self {
            parent: Some(self),
            name,
            element: Element::Index(index),
        }
    }

    /// An element of a map.
    pub(super) fn key(&'a self, name: &'static str, key: &'a str) -> Self {
        Self {
            parent: Some(self),
            name,
            element: Element::Key(key),
        }
    }

    pub(super) fn bad(&self, reason: Reason, problem: impl Into<String>) -> BadArgument {
        BadArgument {
            field: self.to_string(),
            reason,
            problem: problem.into(),
            limit: None,
            actual: None,
        }
    }

    /// Out of its range, which `limit` tells in words.
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
