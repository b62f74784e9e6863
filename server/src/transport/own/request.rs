//! Requests of the fields of heads: what hyper would hand over for the same bytes.

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};
use soloist_http2 as http2;
use soloist_http2::{ContentType, Field, Fields, Head, Route};

use crate::rpc::services::UNARY_METHODS;

const TE: HeaderName = HeaderName::from_static("te");
const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const GRPC_PROTO: HeaderValue = HeaderValue::from_static("application/grpc+proto");

/// A field, the method or the path has bytes that it must not have.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Returns the request that has this head, still without a body.
///
/// # Errors
/// If it is malformed in a way that HTTP/2 alone does not look at.
pub(super) fn request(head: &Head<'_>) -> Result<Request<()>, Malformed> {
    let mut request = Request::new(());
    *request.version_mut() = Version::HTTP_2;
    *request.method_mut() = match head.method() {
        http2::Method::Post => Method::POST,
        http2::Method::Connect => Method::CONNECT,
        http2::Method::Other => method(head)?,
    };
    let known = head
        .route()
        .and_then(|Route(at)| UNARY_METHODS.get(usize::from(at)));
    let path = known.map(|method| method.path.as_bytes());
    if let Some(path) = path.or_else(|| head.path()) {
        let path = PathAndQuery::try_from(path).map_err(|_| Malformed)?;
        *request.uri_mut() = Uri::from(path);
    }
    // These have no bytes.
    let mut headers = HeaderMap::with_capacity(8);
    if head.has_te() {
        headers.insert(TE, TRAILERS);
    }
    match head.content_type() {
        Some(ContentType::Grpc) => headers.insert(http::header::CONTENT_TYPE, GRPC),
        Some(ContentType::GrpcProto) => headers.insert(http::header::CONTENT_TYPE, GRPC_PROTO),
        Some(ContentType::GrpcOther | ContentType::Other) | None => None,
    };
    add(&mut headers, head.fields())?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// Returns the trailers of a request.
///
/// # Errors
/// If they are malformed.
pub(super) fn trailers(fields: Fields<'_>) -> Result<HeaderMap, Malformed> {
    let mut headers = HeaderMap::new();
    add(&mut headers, fields)?;
    Ok(headers)
}

fn method(head: &Head<'_>) -> Result<Method, Malformed> {
    let found = head
        .fields()
        .find(|(class, ..)| matches!(class, Field::Method(_)));
    let (_, _, method) = found.ok_or(Malformed)?;
    Method::from_bytes(method).map_err(|_| Malformed)
}

fn add(headers: &mut HeaderMap, fields: Fields<'_>) -> Result<(), Malformed> {
    for (_, name, value) in fields {
        if name.starts_with(b":") {
            continue;
        }
        let name = HeaderName::from_bytes(name).map_err(|_| Malformed)?;
        let value = HeaderValue::from_bytes(value).map_err(|_| Malformed)?;
        headers.try_append(name, value).map_err(|_| Malformed)?;
    }
    Ok(())
}
