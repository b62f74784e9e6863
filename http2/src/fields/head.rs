//! The head of a request.

use crate::fields::field::{ContentType, Field, Method, Route, Timeout};
use crate::fields::list::{FieldList, Fields};

/// The head of a request, which is whole by the rules of HTTP/2. Whether it is a call of gRPC is for the user to say.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    list: &'a FieldList,
}

impl<'a> Head<'a> {
    pub(crate) fn new(list: &'a FieldList) -> Self {
        Self { list }
    }

    /// The path's number, if the path is known.
    #[inline]
    #[must_use]
    pub fn route(&self) -> Option<Route> {
        match self.list.path {
            Some(Field::Route(route)) => Some(route),
            _ => None,
        }
    }

    /// The path, if it is not known. (A known one is [`route`](Self::route), and CONNECT has none.)
    #[must_use]
    pub fn path(&self) -> Option<&'a [u8]> {
        self.first(|class| class == Field::Path)
    }

    /// `:method`.
    #[inline]
    #[must_use]
    pub fn method(&self) -> Method {
        self.list.method.unwrap_or(Method::Other)
    }

    /// Whether `:scheme` is https.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.list.scheme == Some(Field::SchemeHttps)
    }

    /// `:authority`.
    #[must_use]
    pub fn authority(&self) -> Option<&'a [u8]> {
        self.first(|class| class == Field::Authority)
    }

    /// The first `content-type`.
    #[inline]
    #[must_use]
    pub fn content_type(&self) -> Option<ContentType> {
        match self.list.content_type {
            Some(Field::ContentType(content_type)) => Some(content_type),
            _ => None,
        }
    }

    /// Whether there is `te: trailers`, by which a client of gRPC is known.
    #[inline]
    #[must_use]
    pub fn has_te(&self) -> bool {
        self.list.has_te
    }

    /// The first `grpc-timeout`.
    #[inline]
    #[must_use]
    pub fn timeout(&self) -> Option<Timeout> {
        match self.list.timeout {
            Some(Field::Timeout(timeout)) => Some(timeout),
            _ => None,
        }
    }

    /// The first `grpc-encoding`, if it is not identity.
    #[must_use]
    pub fn encoding(&self) -> Option<&'a [u8]> {
        self.first(|class| class == Field::Encoding)
    }

    /// The first `authorization`.
    #[must_use]
    pub fn authorization(&self) -> Option<&'a [u8]> {
        self.first(|class| class == Field::Authorization)
    }

    /// All fields but those that are told by the other methods and need no bytes: see [`Fields`].
    #[must_use]
    pub fn fields(&self) -> Fields<'a> {
        self.list.fields()
    }

    fn first(&self, is: impl Fn(Field) -> bool) -> Option<&'a [u8]> {
        let mut fields = self.list.fields();
        fields
            .find(|(class, ..)| is(*class))
            .map(|(_, _, value)| value)
    }
}
