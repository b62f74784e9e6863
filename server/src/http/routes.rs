//! Which path shows what.

use http::{Method, StatusCode};

use super::page::{page, refusal};
use super::probes;
use super::request::Request;
use super::response::{Response, method_not_allowed, not_found, response, text};
use super::site::Site;
use super::status::Status;
use crate::metrics;

/// Answers a request. The body of the answer to HEAD is left out by hyper.
pub(super) async fn route(request: &Request<'_>, site: &Site) -> Response {
    let is_read = matches!(request.parts.method, Method::GET | Method::HEAD);
    match request.path() {
        "/" | "/status.json" | "/livez" | "/readyz" | "/metrics" if !is_read => {
            method_not_allowed()
        }
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
        "/" => refusal(request, site).unwrap_or_else(page),
        "/status.json" => status(request, site).await,
        _ => not_found(),
    }
}

async fn status(request: &Request<'_>, site: &Site) -> Response {
    if let Some(refusal) = refusal(request, site) {
        return refusal;
    }
    let known = request.number("since").unwrap_or(0);
    let status = Status::now(site, known).await;
    match serde_json::to_vec(&status) {
        Ok(json) => response(StatusCode::OK, "application/json", json),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}
