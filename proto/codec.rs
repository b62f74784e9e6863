//! The codec of the generated services: protobuf, with an error that blames the client for a message that it broke.

use std::collections::HashMap;
use std::marker::PhantomData;

use bytes::{Buf, BufMut};
use prost::{DecodeError, Message};
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::v1::error::Reason;

/// Initial bytes of the buffers of a call. tonic's default, 8 KiB for each direction, is most of what a small call allocates.
/// A buffer that needs more grows.
const BUFFER_BYTES: usize = 512;
/// Encoded messages of a stream are collected up to this many bytes before they are handed to the connection. Source: tonic's
/// default.
const YIELD_BYTES: usize = 32 * 1024;

/// The error for a request that is not a message of this contract: INVALID_ARGUMENT, BAD_MESSAGE.
///
/// tonic on its own would answer INTERNAL, which tells a caller that the server is broken.
#[must_use]
pub fn bad_message(message: impl Into<String>) -> Status {
    Status::with_error_details(
        Code::InvalidArgument,
        message,
        ErrorDetails::with_error_info(
            Reason::BadMessage.as_str_name(),
            crate::ERROR_DOMAIN,
            HashMap::new(),
        ),
    )
}

/// The error for a request that protobuf cannot decode: INVALID_ARGUMENT, BAD_MESSAGE.
#[must_use]
pub fn not_a_message(error: &DecodeError) -> Status {
    bad_message(format!("request is not a valid message: {error}"))
}

/// The codec of the generated services. Encodes `T` for the client, and decodes `U` from it.
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
        ResponseEncoder {
            scratch: Vec::new(),
            item: PhantomData,
        }
    }

    fn decoder(&mut self) -> Self::Decoder {
        RequestDecoder(PhantomData)
    }
}

/// Encodes responses.
#[derive(Debug)]
pub struct ResponseEncoder<T> {
    /// A message is encoded here first, and then copied to the buffer of the call: prost writes byte by byte, and a vector
    /// takes bytes several times faster than an `EncodeBuf`.
    scratch: Vec<u8>,
    item: PhantomData<T>,
}

impl<T: Message> Encoder for ResponseEncoder<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, item: T, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        self.scratch.clear();
        // `encode` would first work out the length, to check that the buffer has room. A vector grows.
        item.encode_raw(&mut self.scratch);
        buf.put_slice(&self.scratch);
        // A large message must not hold its memory for the rest of the stream.
        self.scratch.shrink_to(YIELD_BYTES);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER_BYTES, YIELD_BYTES)
    }
}

/// Decodes requests. Those that cannot be decoded are answered with [`not_a_message`].
#[derive(Debug)]
pub struct RequestDecoder<U>(PhantomData<U>);

impl<U: Message + Default> Decoder for RequestDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        let len = buf.remaining();
        // Most messages are in one piece, and a slice is decoded faster than a buffer.
        let decoded = match buf.chunk() {
            message if message.len() == len => {
                let decoded = U::decode(message);
                buf.advance(len);
                decoded
            }
            _ => U::decode(buf),
        };
        decoded.map(Some).map_err(|error| not_a_message(&error))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER_BYTES, YIELD_BYTES)
    }
}
