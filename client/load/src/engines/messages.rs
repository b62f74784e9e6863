//! Calls of methods that the user names: messages that are bytes already, in any number in both directions.

use std::time::{Duration, Instant};

use bytes::{Buf as _, BufMut as _, Bytes};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataMap;
use tonic::{Request, Status};

use crate::engines::connection::Connection;
use crate::workload::call::messages::Messages;
use crate::workload::call::totals::StreamAnswer;
use crate::workload::operation::Reply;

/// Makes one call: sends all messages, and receives the whole answer.
pub(super) async fn call(
    mut grpc: Grpc<Connection>,
    messages: Messages,
    metadata: MetadataMap,
    timeout: Option<Duration>,
) -> Result<Reply, Status> {
    let program = &messages.program;
    let path = program.path.clone();
    if program.is_unary() {
        let message = messages.messages.first().cloned().unwrap_or_default();
        let request = request(message, metadata, timeout);
        let answer = grpc.unary(request, path, BytesCodec).await?;
        return Ok(Reply::Message(answer.into_inner()));
    }
    let sent: Vec<Bytes> = messages.messages.to_vec();
    let request = request(futures_util::stream::iter(sent), metadata, timeout);
    if !program.method.is_server_streaming() {
        let answer = grpc.client_streaming(request, path, BytesCodec).await?;
        return Ok(Reply::Message(answer.into_inner()));
    }
    let mut answers = grpc
        .streaming(request, path, BytesCodec)
        .await?
        .into_inner();
    let mut stream = StreamAnswer::default();
    let mut last = Bytes::new();
    while let Some(message) = answers.message().await? {
        let now = Instant::now();
        let first = stream.arrived.map_or(now, |(first, _)| first);
        stream.arrived = Some((first, now));
        stream.sizes.count(message.len());
        last = message;
        if program.stream_messages == Some(stream.sizes.messages) {
            break;
        }
    }
    Ok(Reply::Stream(stream, last))
}

fn request<T>(message: T, metadata: MetadataMap, timeout: Option<Duration>) -> Request<T> {
    let mut request = Request::new(message);
    *request.metadata_mut() = metadata;
    if let Some(timeout) = timeout {
        request.set_timeout(timeout);
    }
    request
}

/// Messages as they are.
#[derive(Clone, Copy, Debug)]
struct BytesCodec;

impl Codec for BytesCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(message);
        Ok(())
    }
}

impl Decoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}
