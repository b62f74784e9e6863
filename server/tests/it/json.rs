//! Calls in JSON, as a person with grpcurl would type them, and what must come back.

use futures_util::StreamExt as _;
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor, SerializeOptions};
use serde_json::{Map, Value, json};
use soloist::codec::Encoded;
use tonic::client::Grpc;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;
use tonic_types::StatusExt as _;

use crate::support::TestServer;

/// Calls any method by its name, such as `State/Write`.
#[derive(Clone)]
pub(crate) struct Caller {
    channel: Channel,
    pool: DescriptorPool,
}

/// What a call must come to.
pub(crate) enum Expected {
    /// An answer with these fields, and any others.
    Answer(Value),
    /// An answer with exactly these fields.
    Exactly(Value),
    /// A refusal: code, reason and metadata, all of it.
    Refused(Code, &'static str, Value),
}

pub(crate) use Expected::{Answer, Exactly};

pub(crate) fn refused(code: Code, reason: &'static str, metadata: Value) -> Expected {
    Expected::Refused(code, reason, metadata)
}

impl Caller {
    pub(crate) async fn of(server: &TestServer) -> Self {
        let pool = DescriptorPool::decode(soloist::FILE_DESCRIPTOR_SET).unwrap();
        Self {
            channel: server.channel().await,
            pool,
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

    /// Calls a method whose answer is one message.
    pub(crate) async fn call(&self, name: &str, request: &Value) -> Result<Value, Status> {
        let mut answers = self.stream(name, request).await?;
        answers.next().await.expect("a call is answered")
    }

    /// Calls a method whose answers are a stream.
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
        let answers = grpc
            .server_streaming(
                Request::new(Encoded(message.encode_to_vec())),
                path.parse().unwrap(),
                ProstCodec::<Encoded, Encoded>::default(),
            )
            .await?
            .into_inner();
        Ok(answers.map(move |answer| {
            let answer = DynamicMessage::decode(method.output(), answer?.0.as_slice()).unwrap();
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

    /// Calls a method, and compares what it comes to. A refusal must leave no trace.
    pub(crate) async fn check(&self, name: &str, request: Value, expected: Expected) -> Value {
        let before = self.state().await;
        let answer = self.call(name, &request).await;
        let what = || format!("{name} {request}");
        match (answer, expected) {
            (Ok(answer), Expected::Answer(expected)) => {
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
                assert_eq!(self.state().await, before, "{}: left a trace", what());
                json!(status.message())
            }
            (answer, _) => panic!("{}: {answer:?}", what()),
        }
    }

    /// Everything that can be seen of the state.
    async fn state(&self) -> Value {
        let all = async |name, request| self.call(name, &request).await.unwrap();
        let mut info = all("Admin/GetInfo", json!({})).await;
        // They go on by themselves.
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

/// As grpcurl prints it: 64-bit numbers as strings, without what is not set.
fn to_json(message: &DynamicMessage) -> Value {
    let serializer = serde_json::value::Serializer;
    message
        .serialize_with_options(serializer, &SerializeOptions::new())
        .unwrap()
}

/// Whether `answer` has all that `expected` has.
pub(crate) fn has(answer: &Value, expected: &Value) -> bool {
    match (answer, expected) {
        (Value::Object(answer), Value::Object(expected)) => {
            let field = |(name, value): (&String, &Value)| match value {
                // Not set.
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

/// Several objects as one.
pub(crate) fn with(base: &Value, more: Value) -> Value {
    let mut merged: Map<_, _> = base.as_object().unwrap().clone();
    merged.extend(more.as_object().unwrap().clone());
    Value::Object(merged)
}
