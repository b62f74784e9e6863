//! Which path shows what.

use http::{Method, StatusCode};

use super::probes;
use super::request::Request;
use super::response::{Response, method_not_allowed, not_found, response};
use super::site::Site;
use crate::metrics;

/// Answers a request. The body of the answer to HEAD is left out by hyper.
pub(super) async fn route(request: &Request<'_>, site: &Site) -> Response {
    let is_read = matches!(request.parts.method, Method::GET | Method::HEAD);
    match request.path() {
        "/livez" | "/readyz" | "/metrics" if !is_read => method_not_allowed(),
        "/livez" => probes::live(site, request.asks("verbose")),
        "/readyz" => probes::ready(site, request.asks("verbose")),
        "/metrics" => {
            let snapshot = site.snapshot().await;
            response(
                StatusCode::OK,
                metrics::CONTENT_TYPE,
                metrics::encode(snapshot),
            )
        }
        _ => not_found(),
    }
}
