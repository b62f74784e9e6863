//! One connection, from its first byte to its last.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::{sleep, timeout};

use super::request::{Reach, Request};
use super::response::{Response, misdirected};
use super::routes::route;
use super::site::Site;
use crate::config::{
    HTTP_BODY_BYTES_MAX, HTTP_CONNECTION_TIME, HTTP_HEAD_BYTES_MAX, HTTP_HEAD_TIMEOUT,
};
use crate::transport::{Accepted, open_http1};

/// Serves a connection until its peer closes it, or its time is over.
///
/// # Errors
/// Any other reason why the connection ended, for the debug log.
pub(super) async fn serve(
    accepted: Accepted,
    site: Arc<Site>,
    reach: Reach,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let tls = site.tls();
    let peer: Arc<str> = accepted.peer().into();
    let opened = timeout(HTTP_HEAD_TIMEOUT, open_http1(accepted, tls.as_deref())).await??;
    let Some((socket, certificates)) = opened else {
        return Ok(());
    };
    let certificate: Option<Arc<[u8]>> = certificates.own().map(Arc::from);
    let service = service_fn(move |request: http::Request<Incoming>| {
        let (site, certificate) = (Arc::clone(&site), certificate.clone());
        let peer = Arc::clone(&peer);
        async move {
            let (parts, body) = request.into_parts();
            // A body means nothing here. It is read all the same, so that the client reads the answer.
            discard(body).await;
            let request = Request {
                parts: &parts,
                certificate: certificate.as_deref(),
                peer: &peer,
            };
            Ok::<Response, Infallible>(match reach {
                Reach::ThisMachine if !request.names_this_machine() => misdirected(),
                _ => route(&request, &site).await,
            })
        }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HTTP_HEAD_TIMEOUT)
            .max_buf_size(HTTP_HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(socket), service)
    );
    tokio::select! {
        ended = connection.as_mut() => return Ok(ended?),
        () = sleep(HTTP_CONNECTION_TIME) => {}
    }
    connection.as_mut().graceful_shutdown();
    Ok(timeout(HTTP_HEAD_TIMEOUT, connection).await??)
}

/// Reads a body, up to a limit, and throws it away. hyper closes the connection if there is more.
async fn discard(body: Incoming) {
    let mut body = pin!(body);
    let mut bytes = 0;
    let next =
        |body: std::pin::Pin<&mut Incoming>, cx: &mut std::task::Context<'_>| body.poll_frame(cx);
    while bytes <= HTTP_BODY_BYTES_MAX {
        let frame = std::future::poll_fn(|cx| next(body.as_mut(), cx));
        match timeout(HTTP_HEAD_TIMEOUT, frame).await {
            Ok(Some(Ok(frame))) => bytes += frame.data_ref().map_or(0, Bytes::len),
            _ => return,
        }
    }
}
