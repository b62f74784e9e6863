//! A client that reads only when it is told, and whose windows are as large as they can be: what the server writes is limited by the
//! socket alone.

use std::path::Path;

use soloist_http2::frame::{
    END_HEADERS, END_STREAM, FRAME_HEADER_BYTES, FrameHeader, PREFACE, kind, put, put_settings,
    put_window_update, setting,
};
use soloist_http2::hpack::put_string;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

/// See the [module](self). Of a Unix socket the kernel holds little, and always the same.
pub(crate) struct Raw(UnixStream);

impl Raw {
    pub(crate) async fn connect(path: &Path) -> Self {
        let mut hello = PREFACE.to_vec();
        let window = i32::MAX as u32;
        put_settings(&mut hello, &[(setting::INITIAL_WINDOW_SIZE, window)]);
        put_window_update(&mut hello, 0, window - 65_535);
        let mut raw = Self(UnixStream::connect(path).await.unwrap());
        raw.send(&hello).await;
        raw
    }

    pub(crate) async fn send(&mut self, frames: &[u8]) {
        self.0.write_all(frames).await.unwrap();
    }

    /// Reads a frame. None if the server has closed the connection.
    pub(crate) async fn frame(&mut self) -> Option<(FrameHeader, Vec<u8>)> {
        let mut header = [0; FRAME_HEADER_BYTES];
        self.0.read_exact(&mut header).await.ok()?;
        let header = FrameHeader::parse(&header);
        let mut payload = vec![0; header.length];
        self.0.read_exact(&mut payload).await.ok()?;
        Some((header, payload))
    }
}

/// The frames that begin a call: a whole one with a message, and otherwise its head alone.
pub(crate) fn call(stream: u32, method: &str, message: Option<&[u8]>) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", &format!("/soloist.v1.State/{method}")),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ] {
        block.push(0);
        put_string(&mut block, name.as_bytes());
        put_string(&mut block, value.as_bytes());
    }
    let mut frames = Vec::new();
    put(&mut frames, kind::HEADERS, END_HEADERS, stream, &block);
    if let Some(message) = message {
        let length = (message.len() as u32).to_be_bytes();
        let body = [&[0][..], &length, message].concat();
        put(&mut frames, kind::DATA, END_STREAM, stream, &body);
    }
    frames
}
