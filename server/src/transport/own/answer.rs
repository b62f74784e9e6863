//! Header blocks of answers. Nearly all answers have the same two: they are encoded once.

use std::borrow::Cow;
use std::sync::LazyLock;

use http::response::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use soloist_http2::HeaderBlock;
use tonic::Status;

/// The head of an answer with messages.
pub(super) static GRPC: LazyLock<HeaderBlock> =
    LazyLock::new(|| HeaderBlock::new([(":status", "200"), ("content-type", "application/grpc")]));

/// The trailers of an answer without an error.
pub(super) static OK: LazyLock<HeaderBlock> =
    LazyLock::new(|| HeaderBlock::new([("grpc-status", "0")]));

/// The head of an answer.
pub(super) fn head(parts: &Parts) -> Cow<'static, HeaderBlock> {
    let is_grpc = |headers: &HeaderMap| {
        headers.len() == 1
            && headers
                .get(header::CONTENT_TYPE)
                .is_some_and(|value| value == "application/grpc")
    };
    if parts.status == StatusCode::OK && is_grpc(&parts.headers) {
        return Cow::Borrowed(&GRPC);
    }
    let status = [(":status", parts.status.as_str().as_bytes())];
    Cow::Owned(HeaderBlock::of_bytes(
        status.into_iter().chain(fields(&parts.headers)),
    ))
}

/// The trailers of an answer.
pub(super) fn trailers(headers: &HeaderMap) -> Cow<'static, HeaderBlock> {
    let status = headers.get(Status::GRPC_STATUS).map(HeaderValue::as_bytes);
    if headers.len() == 1 && status == Some(b"0") {
        return Cow::Borrowed(&OK);
    }
    Cow::Owned(HeaderBlock::of_bytes(fields(headers)))
}

fn fields(headers: &HeaderMap) -> impl Iterator<Item = (&str, &[u8])> {
    headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
}

#[cfg(test)]
mod tests {
    use http::Response;

    use super::*;

    #[test]
    fn usual_blocks_are_the_same_as_encoded_ones() {
        let mut response = Response::new(());
        let headers = response.headers_mut();
        let grpc = HeaderValue::from_static("application/grpc");
        headers.insert(header::CONTENT_TYPE, grpc);
        let (parts, ()) = response.into_parts();
        let usual = head(&parts);
        assert!(matches!(usual, Cow::Borrowed(_)));
        let status = [(":status", &b"200"[..])];
        let encoded = HeaderBlock::of_bytes(status.into_iter().chain(fields(&parts.headers)));
        assert_eq!(*usual, encoded);
        let mut ok = HeaderMap::new();
        ok.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
        let usual = trailers(&ok);
        assert!(matches!(usual, Cow::Borrowed(_)));
        assert_eq!(*usual, HeaderBlock::of_bytes(fields(&ok)));
        ok.insert("a", HeaderValue::from_static("b"));
        assert!(matches!(trailers(&ok), Cow::Owned(_)));
    }
}
