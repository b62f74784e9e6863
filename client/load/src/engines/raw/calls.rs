//! The calls of the engine `raw`: the path and the messages of each kind.

use prost::Message as _;
use soloist::v1::{self, op, op_result};

use crate::http2::Method;
use crate::plan::mix::Mix;
use crate::plan::settings::Settings;
use crate::workload::operation::{Call, Reply, SentOp};

/// Keys of which the requests to read them are kept, and the last answers: some megabytes at most.
const READS_KEPT: u64 = 16_384;

/// Answers that are kept: those of ints and short texts.
const ANSWER_BYTES_KEPT: usize = 256;

/// What is called: the kind of call decides how its answer is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Read,
    Write,
    Add,
    Transition,
    Delete,
    List,
    Batch,
    Renew,
}

impl Kind {
    const ALL: [Self; 8] = [
        Self::Read,
        Self::Write,
        Self::Add,
        Self::Transition,
        Self::Delete,
        Self::List,
        Self::Batch,
        Self::Renew,
    ];

    fn path(self) -> &'static str {
        match self {
            Self::Read => "/soloist.v1.State/Read",
            Self::Write => "/soloist.v1.State/Write",
            Self::Add => "/soloist.v1.State/Add",
            Self::Transition => "/soloist.v1.State/Transition",
            Self::Delete => "/soloist.v1.State/Delete",
            Self::List => "/soloist.v1.State/List",
            Self::Batch => "/soloist.v1.State/Batch",
            Self::Renew => "/soloist.v1.Sessions/RenewSession",
        }
    }

    /// Encodes a call, and says of what kind it is.
    fn encode(call: &Call, message: &mut Vec<u8>) -> Self {
        message.clear();
        let (kind, encoded) = match call {
            Call::Op(op::Op::Read(read)) => (Self::Read, read.encode(message)),
            Call::Op(op::Op::Write(write)) => (Self::Write, write.encode(message)),
            Call::Op(op::Op::Add(add)) => (Self::Add, add.encode(message)),
            Call::Op(op::Op::Transition(of)) => (Self::Transition, of.encode(message)),
            Call::Op(op::Op::Delete(delete)) => (Self::Delete, delete.encode(message)),
            Call::List(list) => (Self::List, list.encode(message)),
            Call::Batch(batch) => (Self::Batch, batch.encode(message)),
            Call::Renew(renew) => (Self::Renew, renew.encode(message)),
        };
        encoded.expect("a vector has room for everything");
        kind
    }

    pub(crate) fn decode(self, message: &[u8]) -> Result<Reply, prost::DecodeError> {
        use op_result::Result as Answer;
        use v1::{
            AddResponse, BatchResponse, DeleteResponse, ListResponse, ReadResponse, Session,
            TransitionResponse, WriteResponse,
        };
        Ok(match self {
            Self::Read => Reply::Op(Answer::Read(ReadResponse::decode(message)?)),
            Self::Write => Reply::Op(Answer::Write(WriteResponse::decode(message)?)),
            Self::Add => Reply::Op(Answer::Add(AddResponse::decode(message)?)),
            Self::Transition => Reply::Op(Answer::Transition(TransitionResponse::decode(message)?)),
            Self::Delete => Reply::Op(Answer::Delete(DeleteResponse::decode(message)?)),
            Self::List => Reply::List(ListResponse::decode(message)?),
            Self::Batch => Reply::Batch(BatchResponse::decode(message)?),
            Self::Renew => Reply::Renew(Session::decode(message)?),
        })
    }
}

/// The messages of calls.
pub(crate) struct Requests {
    mix: Mix,
    /// Reads of the first keys, each made when it is first sent.
    reads: Vec<Vec<u8>>,
    /// Any other.
    message: Vec<u8>,
}

impl Requests {
    pub(crate) fn new(settings: &Settings) -> Self {
        let kept = settings.keys.min(READS_KEPT);
        Self {
            mix: settings.mix,
            reads: (0..kept).map(|_| Vec::new()).collect(),
            message: Vec::new(),
        }
    }

    /// Encodes a call, and says of what kind it is; `None`: a plain Read of the key.
    pub(crate) fn encode(&mut self, asked: SentOp, call: Option<&Call>) -> (Kind, &[u8]) {
        let Some(call) = call else {
            return (Kind::Read, self.read(asked.key));
        };
        let kind = Kind::encode(call, &mut self.message);
        (kind, &self.message)
    }

    fn read(&mut self, key: u64) -> &[u8] {
        let message = match self.reads.get_mut(key as usize) {
            Some(kept) if !kept.is_empty() => return kept,
            Some(kept) => kept,
            None => &mut self.message,
        };
        Kind::encode(&Call::read(self.mix.key_name(key)), message);
        message
    }
}

/// The last answers to Reads of the first keys that were decoded and found to be as they should, by key. The same bytes
/// are the same answer, and comparing costs a tenth of decoding.
pub(crate) struct AnswerCache(Vec<Vec<u8>>);

impl AnswerCache {
    /// None.
    pub(crate) fn new(settings: &Settings) -> Self {
        let kept = match settings.mix.depends_on_answers() {
            true => 0,
            false => settings.keys.min(READS_KEPT),
        };
        Self((0..kept).map(|_| Vec::new()).collect())
    }

    /// Whether this is the answer that the key had the last time.
    pub(crate) fn know(&self, key: u64, message: &[u8]) -> bool {
        let known = self.0.get(key as usize);
        known.is_some_and(|known| !known.is_empty() && known == message)
    }

    /// Keeps an answer that is an entry.
    pub(crate) fn keep(&mut self, key: u64, message: &[u8]) {
        if let Some(known) = self.0.get_mut(key as usize)
            && message.len() <= ANSWER_BYTES_KEPT
        {
            known.clear();
            known.extend_from_slice(message);
        }
    }
}

/// The head of every kind of call.
pub(crate) struct Methods([Method; Kind::ALL.len()]);

impl Methods {
    pub(crate) fn new(address: &str, settings: &Settings) -> Result<Self, String> {
        let mut methods = Vec::with_capacity(Kind::ALL.len());
        for kind in Kind::ALL {
            let path = kind.path();
            let method = Method::new(address, path, &settings.metadata, settings.timeout);
            methods.push(method.map_err(|error| error.to_string())?);
        }
        Ok(Self(methods.try_into().expect("one for each kind")))
    }

    pub(crate) fn of(&self, kind: Kind) -> &Method {
        &self.0[kind as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command_line::resolve::tests::settings;

    fn read(key: u64) -> SentOp {
        let kind = crate::plan::kind::Kind::Read;
        SentOp { kind, key }
    }

    #[test]
    fn a_read_that_is_kept_is_what_it_would_be() {
        let settings = settings("--engine raw --keys 20000 -n 1").unwrap();
        let mut requests = Requests::new(&settings);
        for key in [0, 7, READS_KEPT - 1, READS_KEPT, 19_999, 7, 0] {
            let mut expected = Vec::new();
            Kind::encode(&Call::read(settings.mix.key_name(key)), &mut expected);
            let encoded = requests.encode(read(key), None);
            assert_eq!(encoded, (Kind::Read, &expected[..]), "{key}");
        }
    }

    #[test]
    fn an_answer_is_known_by_its_key_and_all_its_bytes() {
        let mut answers = AnswerCache::new(&settings("--engine raw --keys 5 -n 1").unwrap());
        assert!(!answers.know(1, b""));
        answers.keep(1, b"one");
        let cases: [(u64, &[u8], bool); 5] = [
            (1, b"one", true),
            (1, b"on", false),
            (1, b"onf", false),
            (2, b"one", false),
            (9, b"one", false),
        ];
        for (key, message, known) in cases {
            assert_eq!(answers.know(key, message), known, "{key} {message:?}");
        }
        answers.keep(1, b"two");
        assert!(answers.know(1, b"two") && !answers.know(1, b"one"));
        let long = [1; ANSWER_BYTES_KEPT + 1];
        answers.keep(2, &long);
        assert!(!answers.know(2, &long));
    }

    #[test]
    fn who_learns_from_answers_reads_them() {
        let mut answers = AnswerCache::new(&settings("--engine raw --workload f -n 1").unwrap());
        answers.keep(1, b"one");
        assert!(!answers.know(1, b"one"));
    }
}
