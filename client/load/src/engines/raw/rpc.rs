//! The RPCs that the engine calls: path, request and response of each.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use soloist::v1::{self, op, op_result};

use crate::connect::destination::Destination;
use crate::connect::nodes::DIRECT;
use crate::connect::token::Token;
use crate::http2::Method;
use crate::plan::settings::{Settings, TOKEN_METADATA};
use crate::workload::operation::{Call, Reply};

/// An RPC. It decides how a response is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rpc {
    Read,
    Write,
    Add,
    Transition,
    Delete,
    List,
    Batch,
    Renew,
    /// The method that the user names.
    Call,
}

impl Rpc {
    const ALL: [Self; 9] = [
        Self::Read,
        Self::Write,
        Self::Add,
        Self::Transition,
        Self::Delete,
        Self::List,
        Self::Batch,
        Self::Renew,
        Self::Call,
    ];

    /// Returns the path. `named` is that of the method that the user names, if there is one.
    fn path(self, named: Option<&str>) -> &str {
        match self {
            Self::Read => "/soloist.v1.State/Read",
            Self::Write => "/soloist.v1.State/Write",
            Self::Add => "/soloist.v1.State/Add",
            Self::Transition => "/soloist.v1.State/Transition",
            Self::Delete => "/soloist.v1.State/Delete",
            Self::List => "/soloist.v1.State/List",
            Self::Batch => "/soloist.v1.State/Batch",
            Self::Renew => "/soloist.v1.Sessions/RenewSession",
            Self::Call => named.unwrap_or("/"),
        }
    }

    /// Replaces `message` by the encoded request of a call. Returns the RPC of the call.
    pub(crate) fn encode(call: &Call, message: &mut Vec<u8>) -> Self {
        message.clear();
        let (rpc, encoded) = match call {
            Call::Op(op::Op::Read(read)) => (Self::Read, read.encode(message)),
            Call::Op(op::Op::Write(write)) => (Self::Write, write.encode(message)),
            Call::Op(op::Op::Add(add)) => (Self::Add, add.encode(message)),
            Call::Op(op::Op::Transition(of)) => (Self::Transition, of.encode(message)),
            Call::Op(op::Op::Delete(delete)) => (Self::Delete, delete.encode(message)),
            Call::List(list) => (Self::List, list.encode(message)),
            Call::Batch(batch) => (Self::Batch, batch.encode(message)),
            Call::Renew(renew) => (Self::Renew, renew.encode(message)),
            Call::Messages(call) => {
                for bytes in call.messages.iter() {
                    message.extend_from_slice(bytes);
                }
                (Self::Call, Ok(()))
            }
        };
        encoded.expect("a Vec has room for any message");
        rpc
    }

    /// Decodes a response.
    pub(crate) fn decode(self, message: &[u8]) -> Result<Reply, prost::DecodeError> {
        use op_result::Result as OpAnswer;
        use v1::{
            AddResponse, BatchResponse, DeleteResponse, ListResponse, ReadResponse, Session,
            TransitionResponse, WriteResponse,
        };
        Ok(match self {
            Self::Read => Reply::Op(OpAnswer::Read(ReadResponse::decode(message)?)),
            Self::Write => Reply::Op(OpAnswer::Write(WriteResponse::decode(message)?)),
            Self::Add => Reply::Op(OpAnswer::Add(AddResponse::decode(message)?)),
            Self::Transition => {
                Reply::Op(OpAnswer::Transition(TransitionResponse::decode(message)?))
            }
            Self::Delete => Reply::Op(OpAnswer::Delete(DeleteResponse::decode(message)?)),
            Self::List => Reply::List(ListResponse::decode(message)?),
            Self::Batch => Reply::Batch(BatchResponse::decode(message)?),
            Self::Renew => Reply::Renew(Session::decode(message)?),
            Self::Call => Reply::Message(Bytes::copy_from_slice(message)),
        })
    }
}

/// The headers of each RPC.
pub(crate) struct Methods {
    methods: [Method; Rpc::ALL.len()],
    destination: Arc<Destination>,
    settings: Arc<Settings>,
    /// The path of the method that the user names, if there is one.
    named: Option<String>,
    /// The version of the token in the headers.
    token_version: Option<u64>,
    /// The version of the node that the headers name.
    node_version: u64,
}

impl Methods {
    /// `named` is the path of the method that the user names, if there is one.
    ///
    /// # Errors
    /// If the metadata of the settings cannot be sent.
    pub(crate) fn new(
        destination: &Arc<Destination>,
        settings: &Arc<Settings>,
        named: Option<&str>,
    ) -> Result<Self, String> {
        // A token that is replaced meanwhile is noticed later.
        let token_version = destination.token().map(Token::version);
        let node_version = destination.nodes().version();
        Ok(Self {
            node_version,
            methods: methods(destination, settings, named)?,
            destination: Arc::clone(destination),
            settings: Arc::clone(settings),
            named: named.map(str::to_owned),
            token_version,
        })
    }

    #[inline]
    pub(crate) fn of(&self, rpc: Rpc) -> &Method {
        &self.methods[rpc as usize]
    }

    /// Makes the headers anew if the token has been replaced, or another node is in use.
    pub(crate) fn renew(&mut self) {
        let token_version = self.destination.token().map(Token::version);
        if self.token_version == token_version
            && self.node_version == self.destination.nodes().version()
        {
            return;
        }
        let renewed = Self::new(&self.destination, &self.settings, self.named.as_deref());
        // A token that cannot be sent leaves the last one in use.
        if let Ok(renewed) = renewed {
            *self = renewed;
        }
    }
}

fn methods(
    destination: &Destination,
    settings: &Settings,
    named: Option<&str>,
) -> Result<[Method; Rpc::ALL.len()], String> {
    let mut metadata = settings.metadata.clone();
    if let Some(token) = destination.token() {
        let header = token.header();
        let text = header.to_str().map_err(|error| error.to_string())?;
        metadata.push((TOKEN_METADATA.to_owned(), text.to_owned()));
    }
    if destination.is_searched() {
        let (name, value) = DIRECT;
        metadata.push((name.to_owned(), value.to_owned()));
    }
    let node = destination.nodes().current();
    let (scheme, authority) = (node.scheme(), node.authority());
    let mut methods = Vec::with_capacity(Rpc::ALL.len());
    for rpc in Rpc::ALL {
        let path = rpc.path(named);
        let method = Method::new(scheme, authority, path, &metadata, settings.timeout);
        methods.push(method.map_err(|error| error.to_string())?);
    }
    Ok(methods.try_into().expect("one method for each RPC"))
}
