//! Bodies of calls as files, for programs that know HTTP/2 and not gRPC.

use std::io::Write as _;
use std::path::Path;

use prost::Message;
use tempfile::NamedTempFile;

/// Returns the URL of a method of `State`.
pub(crate) fn url(authority: &str, method: &str) -> String {
    format!("{authority}/soloist.v1.State/{method}")
}

/// The headers of every call of gRPC, as arguments of curl, nghttp and h2load.
pub(crate) const HEADERS: [&str; 4] =
    ["-H", "content-type: application/grpc", "-H", "te: trailers"];

/// Returns a message with the five bytes that gRPC puts before it.
pub(crate) fn framed(message: &impl Message) -> Vec<u8> {
    let length = message.encoded_len() as u32;
    let mut bytes = [&[0][..], &length.to_be_bytes()].concat();
    message.encode(&mut bytes).unwrap();
    bytes
}

/// Returns the message of a body that has exactly one.
pub(crate) fn message_of<M: Message + Default>(body: &[u8]) -> M {
    let (prefix, message) = body.split_at(5);
    assert_eq!(prefix[1..], (message.len() as u32).to_be_bytes());
    M::decode(message).unwrap()
}

/// A request that a file holds. Dropping it removes the file.
pub(crate) struct Request(NamedTempFile);

impl Request {
    pub(crate) fn of(message: &impl Message) -> Self {
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(&framed(message)).unwrap();
        Self(file)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}
