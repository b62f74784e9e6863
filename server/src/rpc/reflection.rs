//! Server reflection: answers what the contract is. Source: grpc/reflection/v1/reflection.proto.
//!
//! tonic-reflection ends the stream at the first unknown name; by the specification a name that is not known is answered
//! with an `error_response`, and the stream goes on.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use futures_core::Stream;
use futures_util::StreamExt as _;
use prost::Message as _;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::server_reflection_server::ServerReflection;
use tonic_reflection::pb::v1::{
    ErrorResponse, ExtensionNumberResponse, FileDescriptorResponse, ListServiceResponse,
    ServerReflectionRequest, ServerReflectionResponse, ServiceResponse,
};

/// The descriptors of everything that the server serves.
#[derive(Clone, Debug)]
pub(super) struct ReflectionService(Arc<Index>);

#[derive(Debug, Default)]
struct Index {
    /// Encoded `FileDescriptorProto`s by name.
    files: HashMap<String, Vec<u8>>,
    /// The name of the file that defines a symbol, by the symbol's full name.
    symbols: HashMap<String, String>,
    /// The full names of messages.
    messages: Vec<String>,
    services: Vec<String>,
}

impl ReflectionService {
    /// Serves these encoded `FileDescriptorSet`s.
    ///
    /// # Panics
    /// If a set cannot be decoded: the build made them.
    pub(super) fn new(sets: &[&[u8]]) -> Self {
        let mut index = Index::default();
        for set in sets {
            let set = FileDescriptorSet::decode(*set).expect("the build made the descriptor sets");
            for file in set.file {
                if !index.files.contains_key(file.name()) {
                    index.add(&file);
                }
            }
        }
        Self(Arc::new(index))
    }
}

impl Index {
    fn add(&mut self, file: &FileDescriptorProto) {
        self.files.insert(file.name().into(), file.encode_to_vec());
        let mut symbols = Vec::new();
        for message in &file.message_type {
            self.messages_of(file.package(), message, &mut symbols);
        }
        for kind in &file.enum_type {
            symbols_of_enum(file.package(), kind, &mut symbols);
        }
        for extension in &file.extension {
            symbols.push(full_name(file.package(), extension.name()));
        }
        for service in &file.service {
            let name = full_name(file.package(), service.name());
            let methods = service.method.iter();
            symbols.extend(methods.map(|method| full_name(&name, method.name())));
            self.services.push(name.clone());
            symbols.push(name);
        }
        let symbols = symbols.into_iter();
        self.symbols
            .extend(symbols.map(|symbol| (symbol, file.name().into())));
    }

    fn messages_of(&mut self, scope: &str, message: &DescriptorProto, symbols: &mut Vec<String>) {
        let name = full_name(scope, message.name());
        for nested in &message.nested_type {
            self.messages_of(&name, nested, symbols);
        }
        for kind in &message.enum_type {
            symbols_of_enum(&name, kind, symbols);
        }
        let fields = message.field.iter().chain(&message.extension);
        symbols.extend(fields.map(|field| full_name(&name, field.name())));
        let oneofs = message.oneof_decl.iter();
        symbols.extend(oneofs.map(|oneof| full_name(&name, oneof.name())));
        self.messages.push(name.clone());
        symbols.push(name);
    }

    fn answer(&self, request: ServerReflectionRequest) -> ServerReflectionResponse {
        let answer = match &request.message_request {
            Some(MessageRequest::FileByFilename(name)) => self.file(name),
            Some(MessageRequest::FileContainingSymbol(symbol)) => match self.symbols.get(symbol) {
                Some(file) => self.file(file),
                None => not_found(format!("there is no symbol {symbol}")),
            },
            Some(MessageRequest::FileContainingExtension(extension)) => not_found(format!(
                "there is no extension {} of {}",
                extension.extension_number, extension.containing_type
            )),
            Some(MessageRequest::AllExtensionNumbersOfType(name)) => {
                if self.messages.contains(name) {
                    MessageResponse::AllExtensionNumbersResponse(ExtensionNumberResponse {
                        base_type_name: name.clone(),
                        extension_number: Vec::new(),
                    })
                } else {
                    not_found(format!("there is no message {name}"))
                }
            }
            Some(MessageRequest::ListServices(_)) => {
                let services = self.services.iter().cloned();
                MessageResponse::ListServicesResponse(ListServiceResponse {
                    service: services.map(|name| ServiceResponse { name }).collect(),
                })
            }
            None => error(Code::InvalidArgument, "message_request is not set".into()),
        };
        ServerReflectionResponse {
            valid_host: request.host.clone(),
            original_request: Some(request),
            message_response: Some(answer),
        }
    }

    fn file(&self, name: &str) -> MessageResponse {
        match self.files.get(name) {
            Some(file) => MessageResponse::FileDescriptorResponse(FileDescriptorResponse {
                file_descriptor_proto: vec![file.clone()],
            }),
            None => not_found(format!("there is no file {name}")),
        }
    }
}

fn full_name(scope: &str, name: &str) -> String {
    match scope {
        "" => name.into(),
        scope => format!("{scope}.{name}"),
    }
}

/// The enum and its values, with the names that reflection clients ask for: the values are in the scope of the enum.
fn symbols_of_enum(scope: &str, kind: &EnumDescriptorProto, symbols: &mut Vec<String>) {
    let name = full_name(scope, kind.name());
    for value in &kind.value {
        symbols.push(full_name(&name, value.name()));
        // By the rules of protobuf, they are in the scope around the enum.
        symbols.push(full_name(scope, value.name()));
    }
    symbols.push(name);
}

fn not_found(message: String) -> MessageResponse {
    error(Code::NotFound, message)
}

fn error(code: Code, error_message: String) -> MessageResponse {
    MessageResponse::ErrorResponse(ErrorResponse {
        error_code: code.into(),
        error_message,
    })
}

#[tonic::async_trait]
impl ServerReflection for ReflectionService {
    type ServerReflectionInfoStream =
        Pin<Box<dyn Stream<Item = Result<ServerReflectionResponse, Status>> + Send>>;

    async fn server_reflection_info(
        &self,
        requests: Request<Streaming<ServerReflectionRequest>>,
    ) -> Result<Response<Self::ServerReflectionInfoStream>, Status> {
        let index = Arc::clone(&self.0);
        let answers = requests
            .into_inner()
            .map(move |request| Ok(index.answer(request?)));
        Ok(Response::new(Box::pin(answers)))
    }
}
