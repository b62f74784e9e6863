//! The paths that a server knows, and the classes of all fields.

use crate::fields::field::{Field, Route, classify};
use crate::hpack::{Classify, STATIC_TABLE_LEN, static_entry};

/// The paths of a server. All connections share them.
#[derive(Debug)]
pub struct Routes {
    /// By the length of the path, which few of them share.
    by_length: Vec<Vec<(Box<[u8]>, Route)>>,
    of_static: [Field; STATIC_TABLE_LEN],
}

impl Routes {
    /// Takes paths such as `/soloist.v1.State/Read`, each with its number.
    pub fn new<'a>(paths: impl IntoIterator<Item = (&'a str, Route)>) -> Self {
        let mut by_length: Vec<Vec<_>> = Vec::new();
        for (path, route) in paths {
            if by_length.len() <= path.len() {
                by_length.resize_with(path.len() + 1, Vec::new);
            }
            by_length[path.len()].push((path.as_bytes().into(), route));
        }
        let mut routes = Self {
            by_length,
            of_static: [Field::Other; STATIC_TABLE_LEN],
        };
        for index in 1..=STATIC_TABLE_LEN {
            if let Some((name, value)) = static_entry(index) {
                routes.of_static[index - 1] = routes.class(name.as_bytes(), value.as_bytes());
            }
        }
        routes
    }

    /// The number of a path, if it is known.
    #[must_use]
    pub fn route(&self, path: &[u8]) -> Option<Route> {
        let same_length = self.by_length.get(path.len())?;
        let found = same_length.iter().find(|(known, _)| **known == *path);
        found.map(|(_, route)| *route)
    }

    /// The path of a number.
    #[must_use]
    pub fn path(&self, route: Route) -> Option<&[u8]> {
        let mut all = self.by_length.iter().flatten();
        all.find(|(_, known)| *known == route)
            .map(|(path, _)| &**path)
    }
}

impl Classify for Routes {
    type Class = Field;

    fn class(&self, name: &[u8], value: &[u8]) -> Field {
        match name {
            b":path" if !value.is_empty() => match self.route(value) {
                Some(route) => Field::Route(route),
                None => classify(name, value),
            },
            _ => classify(name, value),
        }
    }

    #[inline]
    fn class_of_static(&self, index: usize) -> Field {
        self.of_static[index - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::field::Method;

    #[test]
    fn a_path_is_found_by_all_its_bytes() {
        let routes = Routes::new([
            ("/s/Read", Route(7)),
            ("/s/Reap", Route(8)),
            ("/s/Write", Route(9)),
        ]);
        for (path, route) in [
            ("/s/Read", Some(7)),
            ("/s/Reap", Some(8)),
            ("/s/Write", Some(9)),
            ("/s/Rea", None),
            ("/s/read", None),
            ("/s/Writes", None),
            ("", None),
        ] {
            let route = route.map(Route);
            assert_eq!(routes.route(path.as_bytes()), route, "{path}");
        }
        assert_eq!(routes.path(Route(8)), Some(&b"/s/Reap"[..]));
        assert_eq!(routes.path(Route(1)), None);
    }

    #[test]
    fn entries_of_the_static_table_have_their_classes() {
        let routes = Routes::new([("/", Route(1))]);
        assert_eq!(routes.class_of_static(3), Field::Method(Method::Post));
        assert_eq!(routes.class_of_static(4), Field::Route(Route(1)));
        assert_eq!(routes.class_of_static(5), Field::Path);
        assert_eq!(routes.class_of_static(23), Field::Authorization);
        assert_eq!(routes.class_of_static(58), Field::Other);
    }
}
