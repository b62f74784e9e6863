//! Calls in JSON, as a person with grpcurl types them, and the responses that they must have.

use bytes::{Buf as _, BufMut as _};
use futures_util::StreamExt as _;
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor, SerializeOptions};
use serde_json::{Map, Value, json};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use crate::support::TestServer;

/// A client that calls any method by its name, such as `State/Write`.
#[derive(Clone)]
pub(crate) struct Caller {
    channel: Channel,
    pool: DescriptorPool,
    /// The header `authorization` of each call.
    authorization: Option<String>,
}

/// The result that a call must have.
pub(crate) enum Expected {
    /// A response with these fields, and any others. Null stands for a field that is not set.
    Includes(Value),
    /// A response with exactly these fields.
    Exactly(Value),
    /// A refusal with this code, this reason and exactly this metadata.
    Refused(Code, &'static str, Value),
}

pub(crate) use Expected::{Exactly, Includes};

pub(crate) fn refused(code: Code, reason: &'static str, metadata: Value) -> Expected {
    Expected::Refused(code, reason, metadata)
}

impl Caller {
    pub(crate) async fn of(server: &TestServer) -> Self {
        let pool = DescriptorPool::decode(soloist::FILE_DESCRIPTOR_SET).unwrap();
        Self {
            channel: server.channel().await,
            pool,
            authorization: None,
        }
    }

    /// The same client, which shows this header `authorization`.
    pub(crate) fn showing(&self, authorization: &str) -> Self {
        Self {
            authorization: Some(authorization.into()),
            ..self.clone()
        }
    }

    fn method(&self, name: &str) -> MethodDescriptor {
        let (service, method) = name.split_once('/').unwrap();
        let service = self
            .pool
            .get_service_by_name(&format!("soloist.v1.{service}"))
            .unwrap_or_else(|| panic!("no service {service}"));
        let found = service.methods().find(|found| found.name() == method);
        found.unwrap_or_else(|| panic!("no method {name}"))
    }

    /// Calls a method that returns one message.
    pub(crate) async fn call(&self, name: &str, request: &Value) -> Result<Value, Status> {
        let mut answers = self.stream(name, request).await?;
        answers.next().await.expect("a call has a response")
    }

    /// Calls a method that returns a stream.
    pub(crate) async fn stream(
        &self,
        name: &str,
        request: &Value,
    ) -> Result<impl futures_util::Stream<Item = Result<Value, Status>> + Unpin + use<>, Status>
    {
        let method = self.method(name);
        let message = DynamicMessage::deserialize(method.input(), request)
            .unwrap_or_else(|error| panic!("{name} {request}: {error}"));
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await.unwrap();
        let mut call = Request::new(message.encode_to_vec());
        if let Some(authorization) = &self.authorization {
            let metadata = call.metadata_mut();
            metadata.insert("authorization", authorization.parse().unwrap());
        }
        let answers = grpc
            .server_streaming(call, path.parse().unwrap(), BytesCodec)
            .await?
            .into_inner();
        Ok(answers.map(move |answer| {
            let answer = DynamicMessage::decode(method.output(), answer?.as_slice()).unwrap();
            Ok(to_json(&answer))
        }))
    }

    /// The names of all methods of the contract.
    pub(crate) fn methods(&self) -> Vec<String> {
        let services = self.pool.services();
        let ours = services.filter(|service| service.parent_file().package_name() == "soloist.v1");
        ours.flat_map(|service| {
            let methods = service.methods().map(|method| method.name().to_owned());
            let name = service.name().to_owned();
            methods
                .map(move |method| format!("{name}/{method}"))
                .collect::<Vec<_>>()
        })
        .collect()
    }

    /// Calls a method, and compares the result. A refusal must not change the state.
    pub(crate) async fn check(&self, name: &str, request: Value, expected: Expected) -> Value {
        let before = self.state().await;
        let answer = self.call(name, &request).await;
        let what = || format!("{name} {request}");
        match (answer, expected) {
            (Ok(answer), Expected::Includes(expected)) => {
                assert!(has(&answer, &expected), "{}: {answer:#}", what());
                answer
            }
            (Ok(answer), Expected::Exactly(expected)) => {
                assert_eq!(answer, expected, "{}", what());
                answer
            }
            (Err(status), Expected::Refused(code, reason, metadata)) => {
                assert_eq!(status.code(), code, "{}: {status:?}", what());
                let details = status.check_error_details().unwrap();
                let info = details.error_info().unwrap_or_else(|| {
                    panic!("{}: no ErrorInfo in {status:?}", what());
                });
                assert_eq!(info.domain, "soloist.v1");
                assert_eq!(
                    (info.reason.as_str(), json!(info.metadata)),
                    (reason, metadata),
                    "{}: {}",
                    what(),
                    status.message()
                );
                let second = [
                    details.bad_request().is_some(),
                    details.precondition_failure().is_some(),
                    details.resource_info().is_some(),
                    details.quota_failure().is_some(),
                    details.retry_info().is_some(),
                ];
                assert!(second.contains(&true), "{}: no second detail", what());
                assert_eq!(self.state().await, before, "{}: changed the state", what());
                json!(status.message())
            }
            (answer, _) => panic!("{}: {answer:?}", what()),
        }
    }

    /// Everything of the state that calls can show.
    async fn state(&self) -> Value {
        let all = async |name, request| self.call(name, &request).await.unwrap();
        let mut info = all("Admin/GetInfo", json!({})).await;
        // CPU time grows by itself, and limits do not change.
        let shown = info.as_object_mut().unwrap();
        shown.remove("cpuTime");
        shown.remove("limits");
        json!([
            info,
            all("State/List", json!({})).await,
            all("Sessions/ListSessions", json!({})).await,
            all("Machines/ListMachines", json!({})).await,
        ])
    }
}

/// Sends and receives messages that are encoded already.
#[derive(Clone, Copy)]
struct BytesCodec;

impl Codec for BytesCodec {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
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
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, message: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&message);
        Ok(())
    }
}

impl Decoder for BytesCodec {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut message = vec![0; buffer.remaining()];
        buffer.copy_to_slice(&mut message);
        Ok(Some(message))
    }
}

/// The JSON that grpcurl prints: 64-bit numbers as strings, and without fields that are not set.
fn to_json(message: &DynamicMessage) -> Value {
    let serializer = serde_json::value::Serializer;
    message
        .serialize_with_options(serializer, &SerializeOptions::new())
        .unwrap()
}

/// Whether `answer` has all fields of `expected`.
pub(crate) fn has(answer: &Value, expected: &Value) -> bool {
    match (answer, expected) {
        (Value::Object(answer), Value::Object(expected)) => {
            let field = |(name, value): (&String, &Value)| match value {
                // Null stands for a field that is not set.
                Value::Null => !answer.contains_key(name),
                value => answer.get(name).is_some_and(|answer| has(answer, value)),
            };
            expected.iter().all(field)
        }
        (Value::Array(answer), Value::Array(expected)) => {
            answer.len() == expected.len() && answer.iter().zip(expected).all(|(a, e)| has(a, e))
        }
        (answer, expected) => answer == expected,
    }
}

/// The object `base`, with the fields of `more` added or replaced.
pub(crate) fn with(base: &Value, more: Value) -> Value {
    let mut merged: Map<_, _> = base.as_object().unwrap().clone();
    merged.extend(more.as_object().unwrap().clone());
    Value::Object(merged)
}
