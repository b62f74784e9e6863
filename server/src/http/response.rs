//! Responses: a status, a text, and headers.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use http_body::{Body, Frame, SizeHint};

/// A response of this listener.
pub(super) type Response = http::Response<Whole>;

/// A body that is there as a whole.
#[derive(Debug)]
pub(super) struct Whole(Option<Bytes>);

impl Body for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

/// A response with a content-type. What it shows is of this moment, so nobody may keep it.
pub(super) fn response(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response {
    let body = Some(body.into()).filter(|body: &Bytes| !body.is_empty());
    let mut response = http::Response::new(Whole(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        "x-content-type-options",
        HeaderValue::from_static("nosniff"),
    );
    response
}

/// A response for people.
pub(super) fn text(status: StatusCode, text: impl Into<String>) -> Response {
    let text: String = text.into();
    response(status, "text/plain; charset=utf-8", text)
}

pub(super) fn not_found() -> Response {
    text(
        StatusCode::NOT_FOUND,
        "not found: there are /, /livez, /readyz and /metrics\n",
    )
}

/// The response to a method that no path has.
pub(super) fn method_not_allowed() -> Response {
    let mut response = text(
        StatusCode::METHOD_NOT_ALLOWED,
        "only GET and HEAD are allowed: nothing can be changed here\n",
    );
    let headers = response.headers_mut();
    headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

/// The response to a host that cannot be meant.
pub(super) fn misdirected() -> Response {
    text(
        StatusCode::MISDIRECTED_REQUEST,
        "this listener is on a loopback address: ask for localhost or for the address, not for another name\n",
    )
}
