//! The fields of one header block: their classes, and the bytes of those whose class does not say everything.
//!
//! There is one list for each connection, which every block fills anew: no block allocates.

use crate::fields::field::{Field, Malformed, Method};
use crate::hpack::ENTRY_OVERHEAD;

/// Buffers above this are freed after a block.
const BYTES_KEPT: usize = 2 * 1_024;

/// A field whose bytes are kept.
#[derive(Clone, Copy, Debug)]
struct Span {
    class: Field,
    start: usize,
    name_len: usize,
    value_len: usize,
}

/// Which pseudo-headers have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    method: bool,
    scheme: bool,
    path: bool,
    authority: bool,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct FieldList {
    bytes: Vec<u8>,
    spans: Vec<Span>,
    /// The first of each class that there may be only one of, or of which the first counts.
    pub(super) method: Option<Method>,
    pub(super) path: Option<Field>,
    pub(super) scheme: Option<Field>,
    pub(super) content_type: Option<Field>,
    pub(super) timeout: Option<Field>,
    pub(super) has_te: bool,
    content_length: Option<u64>,
    seen: Seen,
    has_regular: bool,
    malformed: Option<Malformed>,
    list_bytes: usize,
    list_bytes_max: usize,
}

impl FieldList {
    /// A list that keeps nothing of a block whose fields have more than `list_bytes_max` together (RFC 9113, section 6.5.2).
    pub(crate) fn new(list_bytes_max: usize) -> Self {
        Self {
            list_bytes_max,
            ..Self::default()
        }
    }

    /// Empties the list for the next block.
    #[inline]
    pub(crate) fn clear(&mut self) {
        let (mut bytes, mut spans) = (
            std::mem::take(&mut self.bytes),
            std::mem::take(&mut self.spans),
        );
        if bytes.capacity() > BYTES_KEPT || spans.capacity() * size_of::<Span>() > BYTES_KEPT {
            (bytes, spans) = (Vec::new(), Vec::new());
        }
        bytes.clear();
        spans.clear();
        *self = Self {
            bytes,
            spans,
            ..Self::new(self.list_bytes_max)
        };
    }

    /// Adds a field.
    #[inline]
    pub(crate) fn push(&mut self, class: Field, name: &[u8], value: &[u8]) {
        self.list_bytes += name.len() + value.len() + ENTRY_OVERHEAD;
        if self.list_bytes > self.list_bytes_max {
            return;
        }
        self.look_at(class);
        if class.is_told_by_class() {
            return;
        }
        self.spans.push(Span {
            class,
            start: self.bytes.len(),
            name_len: name.len(),
            value_len: value.len(),
        });
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(value);
    }

    #[inline]
    fn look_at(&mut self, class: Field) {
        match class {
            Field::Method(method) => {
                self.method.get_or_insert(method);
                let seen = std::mem::replace(&mut self.seen.method, true);
                self.pseudo(seen);
            }
            Field::SchemeHttp | Field::SchemeHttps | Field::Scheme => {
                self.scheme.get_or_insert(class);
                let seen = std::mem::replace(&mut self.seen.scheme, true);
                self.pseudo(seen);
            }
            Field::Route(_) | Field::Path => {
                self.path.get_or_insert(class);
                let seen = std::mem::replace(&mut self.seen.path, true);
                self.pseudo(seen);
            }
            Field::Authority => {
                let seen = std::mem::replace(&mut self.seen.authority, true);
                self.pseudo(seen);
            }
            Field::Malformed(why) => self.fault(why),
            _ => self.regular(class),
        }
    }

    #[inline]
    fn regular(&mut self, class: Field) {
        self.has_regular = true;
        match class {
            Field::Te => self.has_te = true,
            Field::ContentType(_) => {
                self.content_type.get_or_insert(class);
            }
            Field::Timeout(_) => {
                self.timeout.get_or_insert(class);
            }
            Field::ContentLength(length) => {
                let before = self.content_length.replace(length);
                if before.is_some_and(|before| before != length) {
                    self.fault(Malformed::ContentLength);
                }
            }
            _ => {}
        }
    }

    #[inline]
    fn pseudo(&mut self, seen: bool) {
        if seen {
            self.fault(Malformed::DuplicatePseudo);
        } else if self.has_regular {
            self.fault(Malformed::LatePseudo);
        }
    }

    #[cold]
    fn fault(&mut self, why: Malformed) {
        self.malformed.get_or_insert(why);
    }

    /// Whether the fields are too many or too long. Then the list has only the first of them.
    pub(crate) fn is_too_large(&self) -> bool {
        self.list_bytes > self.list_bytes_max
    }

    /// What makes the fields malformed as the head of a request (RFC 9113, section 8.3.1).
    #[inline]
    pub(crate) fn malformed_head(&self) -> Option<Malformed> {
        let seen = self.seen;
        let is_whole = match self.method {
            Some(Method::Connect) => !seen.scheme && !seen.path && seen.authority,
            Some(_) => seen.scheme && seen.path,
            None => false,
        };
        match self.malformed {
            None if !is_whole => Some(Malformed::MissingPseudo),
            malformed => malformed,
        }
    }

    /// What makes the fields malformed as trailers (section 8.1).
    pub(crate) fn malformed_trailers(&self) -> Option<Malformed> {
        match self.malformed {
            None if self.seen != Seen::default() => Some(Malformed::LatePseudo),
            malformed => malformed,
        }
    }

    /// `content-length`.
    #[inline]
    pub(crate) fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    /// The fields whose bytes are kept.
    #[inline]
    pub(crate) fn fields(&self) -> Fields<'_> {
        Fields {
            bytes: &self.bytes,
            spans: self.spans.iter(),
        }
    }

    /// Bytes of memory that the list holds.
    pub(crate) fn held(&self) -> usize {
        self.bytes.capacity() + self.spans.capacity() * size_of::<Span>()
    }
}

/// The fields of a header block, in their order: class, name and value. Fields whose class says everything are left out, which
/// are `:method` POST, `:scheme`, a `:path` that is known, `te`, and the usual values of `content-type`.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    bytes: &'a [u8],
    spans: std::slice::Iter<'a, Span>,
}

impl<'a> Iterator for Fields<'a> {
    type Item = (Field, &'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let span = self.spans.next()?;
        let rest = self.bytes.get(span.start..)?;
        let (name, rest) = rest.split_at_checked(span.name_len)?;
        Some((span.class, name, rest.get(..span.value_len)?))
    }
}
