//! Descriptors from the server itself. Source: grpc/reflection/v1/reflection.proto.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use http::uri::PathAndQuery;
use prost::Message as _;
use prost_reflect::DescriptorPool;
use prost_types::{FileDescriptorProto, FileDescriptorSet};
use tokio::sync::mpsc;
use tonic::client::Grpc;
use tonic::metadata::AsciiMetadataKey;
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

use crate::descriptors::find::unknown_service;
use crate::descriptors::imports::{complete, well_known};
use crate::descriptors::origin::Origin;
use crate::grpc::{ANSWER_BYTES_MAX, code_name, root_cause};

/// The versions of the service, in the order in which they are tried. Their messages have the same fields.
const PATHS: [&str; 2] = [
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// What to pass if the server does not describe itself.
const INSTEAD: &str = "pass --proto FILE (with -I DIR for its imports) or --protoset FILE instead";

/// The most files that a service may need. Those of the largest public APIs need some hundred.
const FILES_MAX: usize = 10_000;

/// Returns the descriptors of a service, and of everything that they need.
pub(super) async fn pool(
    channel: &Channel,
    service: &str,
    origin: Origin<'_>,
) -> Result<DescriptorPool, String> {
    let mut last = None;
    for path in PATHS {
        match Reflection::open(channel, path, origin).fetch(service).await {
            Ok(files) => return assembled(files, origin.destination.address()),
            Err(Refusal::NoSuchService(error)) => return Err(error),
            Err(Refusal::Call(status)) if status.code() == Code::Unimplemented => {
                last = Some(status)
            }
            Err(Refusal::Call(status)) => {
                let why = explain(&status, origin.destination.address());
                return Err(origin.destination.explain(why).await);
            }
        }
    }
    let address = origin.destination.address();
    let why = last.map(|status| status.message().to_owned());
    let why = why
        .filter(|why| !why.is_empty())
        .map_or_else(String::new, |why| format!(" ({why})"));
    Err(format!(
        "{address} has no server reflection{why}: {INSTEAD}"
    ))
}

fn explain(status: &Status, address: &str) -> String {
    let code = code_name(status.code());
    if status.code() == Code::Unauthenticated {
        let why = status.message();
        return format!(
            "{address} describes itself to known callers only ({why}): set --token-file, or {INSTEAD}"
        );
    }
    match (status.code(), status.message()) {
        (Code::DeadlineExceeded, why) => format!(
            "{address} accepts connections but its server reflection does not answer ({why}): {INSTEAD}"
        ),
        (_, why) => format!("{address} refuses server reflection with {code} ({why}): {INSTEAD}"),
    }
}

/// Makes a pool of files, each after those that it imports.
fn assembled(
    mut files: HashMap<String, FileDescriptorProto>,
    address: &str,
) -> Result<DescriptorPool, String> {
    complete(&mut files);
    let mut pool = DescriptorPool::new();
    let files = files.into_values().collect::<Vec<_>>();
    let added = pool.add_file_descriptor_set(FileDescriptorSet { file: files });
    added.map_err(|error| {
        format!("the descriptors of {address} cannot be used: {error}; {INSTEAD}")
    })?;
    Ok(pool)
}

/// Why there are no descriptors.
enum Refusal {
    Call(Status),
    /// The server knows its services, and this is none of them.
    NoSuchService(String),
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        Self::Call(status)
    }
}

/// A stream of questions and answers about descriptors.
struct Reflection<'a> {
    channel: &'a Channel,
    path: &'static str,
    origin: Origin<'a>,
    /// Opened with the first question.
    stream: Option<(
        mpsc::Sender<ServerReflectionRequest>,
        Streaming<ServerReflectionResponse>,
    )>,
}

impl<'a> Reflection<'a> {
    fn open(channel: &'a Channel, path: &'static str, origin: Origin<'a>) -> Self {
        Self {
            channel,
            path,
            origin,
            stream: None,
        }
    }

    /// Returns the files that a service needs, by name.
    async fn fetch(
        mut self,
        service: &str,
    ) -> Result<HashMap<String, FileDescriptorProto>, Refusal> {
        let symbol = MessageRequest::FileContainingSymbol(service.to_owned());
        let mut files = HashMap::new();
        let mut wanted: Vec<String> = Vec::new();
        let mut asked: HashSet<String> = HashSet::new();
        match self.ask(symbol).await? {
            Answer::Files(found) => take(found, &mut files, &mut wanted),
            Answer::Error(_, _) => return Err(self.no_such_service(service).await?),
        }
        while let Some(name) = wanted.pop() {
            if files.contains_key(&name) || !asked.insert(name.clone()) {
                continue;
            }
            if files.len() > FILES_MAX {
                let why = format!("the service needs more than {FILES_MAX} files");
                return Err(Status::out_of_range(why).into());
            }
            // Servers may leave out the files that every implementation has.
            match self.ask(MessageRequest::FileByFilename(name.clone())).await {
                Ok(Answer::Files(found)) => take(found, &mut files, &mut wanted),
                Ok(Answer::Error(code, why)) => match well_known(&name) {
                    Some(file) => take(vec![file], &mut files, &mut wanted),
                    None => {
                        let why =
                            format!("it does not have {name}, which the service needs: {why}");
                        return Err(Status::new(Code::from_i32(code), why).into());
                    }
                },
                Err(status) => return Err(status.into()),
            }
        }
        Ok(files)
    }

    /// Returns the refusal for a service that the server does not know, with those that it knows.
    async fn no_such_service(&mut self, service: &str) -> Result<Refusal, Status> {
        let stream = self
            .send(MessageRequest::ListServices(String::new()))
            .await?;
        let names = match stream {
            Some(MessageResponse::ListServicesResponse(list)) => list.service,
            _ => Vec::new(),
        };
        let names = names.into_iter().map(|of| of.name);
        Ok(Refusal::NoSuchService(unknown_service(service, names)))
    }

    async fn ask(&mut self, question: MessageRequest) -> Result<Answer, Status> {
        match self.send(question).await? {
            Some(MessageResponse::FileDescriptorResponse(found)) => {
                let decoded = found.file_descriptor_proto.iter();
                let decoded = decoded.map(|file| FileDescriptorProto::decode(&file[..]));
                decoded
                    .collect::<Result<_, _>>()
                    .map(Answer::Files)
                    .map_err(|error| {
                        Status::data_loss(format!("a descriptor cannot be decoded: {error}"))
                    })
            }
            Some(MessageResponse::ErrorResponse(error)) => {
                Ok(Answer::Error(error.error_code, error.error_message))
            }
            _ => Err(Status::data_loss("an answer to another question")),
        }
    }

    async fn send(&mut self, question: MessageRequest) -> Result<Option<MessageResponse>, Status> {
        let Origin {
            destination,
            timeout,
            ..
        } = self.origin;
        let request = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(question),
        };
        // A server may end the stream after an error. The next question opens another one.
        let answered = tokio::time::timeout(timeout, self.exchange(request)).await;
        answered.unwrap_or_else(|_| Err(no_answer(destination.address(), timeout)))
    }

    async fn exchange(
        &mut self,
        request: ServerReflectionRequest,
    ) -> Result<Option<MessageResponse>, Status> {
        let had_stream = self.stream.is_some();
        let (questions, answers) = match &mut self.stream {
            Some(stream) => stream,
            None => {
                let stream = self.start(request.clone()).await?;
                self.stream.insert(stream)
            }
        };
        if had_stream && questions.try_send(request.clone()).is_err() {
            self.stream = None;
            return Box::pin(self.exchange(request)).await;
        }
        match answers.message().await {
            Ok(Some(answer)) => Ok(answer.message_response),
            Ok(None) | Err(_) if had_stream => {
                self.stream = None;
                Box::pin(self.exchange(request)).await
            }
            Ok(None) => Err(Status::unavailable(
                "the server ended the stream without an answer",
            )),
            Err(status) => {
                self.stream = None;
                Err(status)
            }
        }
    }

    async fn start(
        &self,
        first: ServerReflectionRequest,
    ) -> Result<
        (
            mpsc::Sender<ServerReflectionRequest>,
            Streaming<ServerReflectionResponse>,
        ),
        Status,
    > {
        let (questions, queue) = mpsc::channel(1);
        // Some servers send no headers before the first question.
        let _ = questions.try_send(first);
        let queue = futures_util::stream::unfold(queue, |mut queue| async move {
            queue.recv().await.map(|question| (question, queue))
        });
        let mut request = Request::new(queue);
        for (name, value) in self.origin.metadata {
            if let (Ok(name), Ok(value)) = (name.parse::<AsciiMetadataKey>(), value.parse()) {
                request.metadata_mut().append(name, value);
            }
        }
        self.origin.destination.authorize(request.metadata_mut());
        let origin = self.origin.destination.nodes().current().origin();
        let mut client = Grpc::with_origin(self.channel.clone(), origin)
            .max_decoding_message_size(ANSWER_BYTES_MAX);
        let ready = client.ready().await;
        ready.map_err(|error| Status::unavailable(root_cause(&error).to_string()))?;
        let path = PathAndQuery::from_static(self.path);
        let answers = client
            .streaming(request, path, ProstCodec::default())
            .await?;
        Ok((questions, answers.into_inner()))
    }
}

/// What the server says of a symbol or a file.
enum Answer {
    Files(Vec<FileDescriptorProto>),
    /// A gRPC code and a message.
    Error(i32, String),
}

fn no_answer(address: &str, timeout: Duration) -> Status {
    Status::deadline_exceeded(format!("{address}: nothing within {timeout:?}"))
}

/// Keeps files, and notes what they import.
fn take(
    found: Vec<FileDescriptorProto>,
    files: &mut HashMap<String, FileDescriptorProto>,
    wanted: &mut Vec<String>,
) {
    for file in found {
        wanted.extend(file.dependency.iter().cloned());
        files.insert(file.name().to_owned(), file);
    }
}
