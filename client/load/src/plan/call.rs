//! A method of any gRPC service: which one, where its descriptors come from, what to send, and which answers are right.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use tonic::Code;

use crate::grpc::code_name;

/// The calls of `--call`, as the flags name them.
#[derive(Clone, Debug)]
pub(crate) struct CallPlan {
    /// `package.Service/Method`, or `package.Service.Method`.
    pub(crate) method: String,
    /// The messages: JSON, or `@FILE`. They take turns. Without any, the message is empty.
    pub(crate) data: Vec<String>,
    /// `.proto` files that describe the service. Without any, the descriptors come from the set or the server.
    pub(crate) proto: Vec<PathBuf>,
    /// The folders in which `proto` and its imports are.
    pub(crate) import_path: Vec<PathBuf>,
    /// A file with an encoded `FileDescriptorSet`.
    pub(crate) protoset: Option<PathBuf>,
    /// The codes that are answers. Any other code is a failure.
    pub(crate) expect_code: Vec<CodeName>,
    /// What the fields of an answer must be.
    pub(crate) expect: Vec<FieldCheck>,
    /// After how many messages of the server a stream ends; `None` to read each stream to its end.
    pub(crate) stream_messages: Option<u64>,
}

/// A gRPC code, as a flag names it: `NOT_FOUND`, `not_found` or `5`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CodeName(pub(crate) Code);

impl FromStr for CodeName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let codes = (0..=16).map(Code::from_i32);
        let is_meant = |code: &Code| {
            code_name(*code).eq_ignore_ascii_case(text) || i32::from(*code).to_string() == text
        };
        codes.clone().find(is_meant).map(Self).ok_or_else(|| {
            let names: Vec<_> = codes.map(code_name).collect();
            format!("{text:?} must be one of {}", names.join(", "))
        })
    }
}

impl fmt::Display for CodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(code_name(self.0))
    }
}

/// A field of the answer, and the value that it must have: `status=SERVING`, `items.0.name=a`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FieldCheck {
    /// The names from the message down, keys of maps, and indices of lists.
    pub(crate) path: Vec<String>,
    /// The value, as text or as JSON.
    pub(crate) value: String,
}

impl FromStr for FieldCheck {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (path, value) = text
            .split_once('=')
            .filter(|(path, _)| path.split('.').all(|name| !name.is_empty()))
            .ok_or("must have the form FIELD=VALUE, such as status=SERVING or items.0.name=a")?;
        Ok(Self {
            path: path.split('.').map(str::to_owned).collect(),
            value: value.to_owned(),
        })
    }
}

impl fmt::Display for FieldCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.path.join("."), self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_named_or_numbered() {
        for (text, code) in [
            ("OK", Code::Ok),
            ("not_found", Code::NotFound),
            ("14", Code::Unavailable),
        ] {
            assert_eq!(text.parse(), Ok(CodeName(code)), "{text}");
        }
        let error = "FINE".parse::<CodeName>().unwrap_err();
        assert!(error.contains("one of OK, CANCELLED"), "{error}");
    }

    #[test]
    fn a_check_has_a_path_and_a_value() {
        let check: FieldCheck = "items.0.name=a=b".parse().unwrap();
        assert_eq!(check.path, ["items", "0", "name"]);
        assert_eq!(
            (check.value.as_str(), check.to_string().as_str()),
            ("a=b", "items.0.name=a=b")
        );
        for text in ["status", "=1", "a..b=1"] {
            let error = text.parse::<FieldCheck>().unwrap_err();
            assert!(error.contains("FIELD=VALUE"), "{text}: {error}");
        }
    }
}
