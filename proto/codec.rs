//! How a server decodes requests: protobuf, with an answer that blames the right side.

use std::collections::HashMap;
use std::marker::PhantomData;

use prost::Message;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::v1::error::Reason;

/// Per-call buffers. tonic's default of 8 KiB for each direction of each call is most of what a small call
/// allocates; a buffer that needs more grows.
const BUFFER_BYTES: usize = 512;
/// From this much on, encoded messages of a stream are handed to the connection (tonic's default).
const YIELD_BYTES: usize = 32 * 1024;

/// The error for a request that is not a message of this contract: INVALID_ARGUMENT, BAD_MESSAGE.
///
/// tonic on its own would answer INTERNAL, which tells a caller that the server is broken.
#[must_use]
pub fn bad_message(what: impl Into<String>) -> Status {
    Status::with_error_details(
        Code::InvalidArgument,
        what,
        ErrorDetails::with_error_info(
            Reason::BadMessage.as_str_name(),
            crate::ERROR_DOMAIN,
            HashMap::new(),
        ),
    )
}

/// The codec of the generated services: `T` is encoded to the client, `U` decoded from it.
#[derive(Debug)]
pub struct RequestCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for RequestCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for RequestCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ResponseEncoder<T>;
    type Decoder = RequestDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ResponseEncoder(PhantomData)
    }

    fn decoder(&mut self) -> Self::Decoder {
        RequestDecoder(PhantomData)
    }
}

/// Encodes responses.
#[derive(Debug)]
pub struct ResponseEncoder<T>(PhantomData<T>);

impl<T: Message> Encoder for ResponseEncoder<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, item: T, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(buf)
            .expect("an EncodeBuf grows, and encoding fails only for want of room");
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER_BYTES, YIELD_BYTES)
    }
}

/// Decodes requests, answering [`bad_message`] where that fails.
#[derive(Debug)]
pub struct RequestDecoder<U>(PhantomData<U>);

impl<U: Message + Default> Decoder for RequestDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        U::decode(buf)
            .map(Some)
            .map_err(|error| bad_message(format!("request is not a valid message: {error}")))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER_BYTES, YIELD_BYTES)
    }
}
