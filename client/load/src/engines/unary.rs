//! Unary calls of the generated clients.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use soloist::v1::op::Op;
use soloist::v1::op_result::Result as OpAnswer;
use soloist::v1::sessions_client::SessionsClient;
use soloist::v1::state_client::StateClient;
use tonic::client::Grpc;
use tonic::metadata::MetadataMap;
use tonic::{Request, Status};

use crate::connect::destination::Destination;
use crate::engines::connection::{Connection, metadata_map};
use crate::engines::messages;
use crate::plan::settings::Settings;
use crate::workload::operation::{Call, Reply};

pub(crate) type CallResult = Result<Reply, Status>;

/// Makes calls on one connection.
#[derive(Debug)]
pub(crate) struct Caller {
    clients: Clients,
    /// For methods that the user names.
    grpc: Box<Grpc<Connection>>,
    /// Without the token, which may change.
    metadata: MetadataMap,
    destination: Arc<Destination>,
    timeout: Option<Duration>,
}

/// The generated clients. Each call has clones of its own.
#[derive(Clone, Debug)]
struct Clients {
    state: StateClient<Connection>,
    sessions: SessionsClient<Connection>,
}

/// A call in flight. Its output is the result, with the number of the call.
pub(crate) struct CallInFlight {
    pub(crate) number: u64,
    result: Pin<Box<dyn Future<Output = CallResult>>>,
}

impl Future for CallInFlight {
    type Output = (u64, CallResult);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let number = self.number;
        self.result.as_mut().poll(cx).map(|result| (number, result))
    }
}

impl Caller {
    pub(crate) fn new(connection: &Connection, settings: &Settings) -> Self {
        Self {
            clients: Clients {
                state: connection.state(),
                sessions: connection.sessions(),
            },
            grpc: Box::new(connection.grpc()),
            metadata: metadata_map(&settings.metadata),
            destination: Arc::clone(connection.destination()),
            timeout: settings.timeout,
        }
    }

    /// Starts a call.
    pub(crate) fn start(&self, number: u64, call: Call) -> CallInFlight {
        let (mut metadata, timeout) = (self.metadata.clone(), self.timeout);
        self.destination.authorize(&mut metadata);
        let result: Pin<Box<dyn Future<Output = CallResult>>> = match call {
            Call::Messages(messages) => {
                let grpc = Grpc::clone(&self.grpc);
                Box::pin(messages::call(grpc, messages, metadata, timeout))
            }
            call => Box::pin(self.clients.clone().call(call, metadata, timeout)),
        };
        CallInFlight { number, result }
    }
}

impl Clients {
    async fn call(
        mut self,
        call: Call,
        mut metadata: MetadataMap,
        timeout: Option<Duration>,
    ) -> CallResult {
        let state = &mut self.state;
        let metadata = &mut metadata;
        Ok(match call {
            Call::Op(Op::Read(read)) => {
                let answer = state.read(request(read, metadata, timeout)).await?;
                Reply::Op(OpAnswer::Read(answer.into_inner()))
            }
            Call::Op(Op::Write(write)) => {
                let answer = state.write(request(write, metadata, timeout)).await?;
                Reply::Op(OpAnswer::Write(answer.into_inner()))
            }
            Call::Op(Op::Add(add)) => {
                let answer = state.add(request(add, metadata, timeout)).await?;
                Reply::Op(OpAnswer::Add(answer.into_inner()))
            }
            Call::Op(Op::Transition(transition)) => {
                let request = request(transition, metadata, timeout);
                let answer = state.transition(request).await?;
                Reply::Op(OpAnswer::Transition(answer.into_inner()))
            }
            Call::Op(Op::Delete(delete)) => {
                let answer = state.delete(request(delete, metadata, timeout)).await?;
                Reply::Op(OpAnswer::Delete(answer.into_inner()))
            }
            Call::List(list) => {
                let answer = state.list(request(list, metadata, timeout)).await?;
                Reply::List(answer.into_inner())
            }
            Call::Batch(batch) => {
                let answer = state.batch(request(batch, metadata, timeout)).await?;
                Reply::Batch(answer.into_inner())
            }
            Call::Renew(renew) => {
                let request = request(renew, metadata, timeout);
                let answer = self.sessions.renew_session(request).await?;
                Reply::Renew(answer.into_inner())
            }
            Call::Messages(_) => unreachable!("the caller makes these calls itself"),
        })
    }
}

fn request<T>(message: T, metadata: &mut MetadataMap, timeout: Option<Duration>) -> Request<T> {
    let mut request = Request::new(message);
    *request.metadata_mut() = std::mem::take(metadata);
    if let Some(timeout) = timeout {
        request.set_timeout(timeout);
    }
    request
}
