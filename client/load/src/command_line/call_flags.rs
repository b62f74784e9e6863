//! The flags of calls of any gRPC service.

use std::path::PathBuf;
use std::str::FromStr;

use crate::command_line::parse::{count, metadata};
use crate::plan::call::{CodeName, FieldCheck};

/// What to send to any gRPC service.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct CallFlags {
    /// Call this method, of any gRPC service, instead of a workload of Soloist: package.Service/Method. `soloist-load call`
    /// takes it as its second word.
    #[arg(long, value_name = "METHOD")]
    pub(crate) call: Option<String>,
    /// A message as JSON, or @FILE. Several take turns, and so do the messages of a JSON array or of JSON Lines; if the client
    /// streams, these are the messages of one call. Placeholders: {{counter}}, {{uuid}}, {{int MIN MAX}}, {{string LENGTH}},
    /// {{bytes LENGTH}}, {{choice A B C}} (or A|B|C) and {{csv FILE COLUMN}}. Default: an empty message.
    #[arg(
        short = 'd',
        long,
        value_name = "JSON|@FILE",
        allow_hyphen_values = true
    )]
    pub(crate) data: Vec<String>,
    /// A .proto file that describes the service. Without it, the server describes itself (reflection). May be repeated.
    #[arg(long, value_name = "FILE", conflicts_with = "protoset")]
    pub(crate) proto: Vec<PathBuf>,
    /// A folder in which the files of --proto and their imports are. May be repeated. Default: the folders of the files, and
    /// this one.
    #[arg(short = 'I', long, value_name = "DIR", requires = "proto")]
    pub(crate) import_path: Vec<PathBuf>,
    /// A file with an encoded FileDescriptorSet that describes the service (protoc --include_imports, buf build).
    #[arg(long, value_name = "FILE")]
    pub(crate) protoset: Option<PathBuf>,
    /// The codes that count as answers, such as OK,NOT_FOUND. Any other code is a failure. Default: OK.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(crate) expect_code: Vec<CodeName>,
    /// What a field of the answer must be, such as status=SERVING or items.0.name=a. May be repeated. Each answer is decoded
    /// then. Of a stream it is the last message.
    #[arg(long, value_name = "FIELD=VALUE")]
    pub(crate) expect: Vec<FieldCheck>,
    /// End each stream of the server after this many messages.
    #[arg(long, value_name = "N", value_parser = count(1, u64::MAX))]
    pub(crate) stream_messages: Option<u64>,
    /// Headers for every call as a JSON object of texts, as ghz takes them; -H adds one header.
    #[arg(short = 'm', value_name = "JSON")]
    pub(crate) metadata_json: Vec<JsonMetadata>,
}

/// The headers of a JSON object.
#[derive(Clone, Debug)]
pub(crate) struct JsonMetadata(pub(crate) Vec<(String, String)>);

impl FromStr for JsonMetadata {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = |_| "must be a JSON object of texts, such as {\"x-tenant\":\"a\"}".to_owned();
        let object = serde_json::from_str::<serde_json::Map<_, _>>(text).map_err(form)?;
        let pairs = object.iter().map(|(name, value)| match value.as_str() {
            Some(value) => metadata(&format!("{name}:{value}")),
            None => Err(format!("{name} must be a text, not {value}")),
        });
        pairs.collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headers_of_a_json_object() {
        let parsed: JsonMetadata = r#"{"X-Tenant": "a b", "y": "z"}"#.parse().unwrap();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut pairs = parsed.0;
        pairs.sort();
        assert_eq!(pairs, [pair("x-tenant", "a b"), pair("y", "z")]);
        for (text, part) in [
            ("a:b", "a JSON object"),
            (r#"{"a": 1}"#, "a must be a text"),
            (r#"{"grpc-x": "1"}"#, "gRPC reserves"),
        ] {
            let error = text.parse::<JsonMetadata>().unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
