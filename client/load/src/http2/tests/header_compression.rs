//! Headers of requests, decoded by two servers with a dynamic table: one written for these tests, and `h2`.

use std::collections::VecDeque;

use proptest::collection::vec;
use proptest::prelude::*;
use soloist_http2::frame::{PAYLOAD_MAX, setting};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::http2::tests::*;

type Fields = Vec<(String, String)>;

/// Decodes header blocks with a dynamic table, and panics wherever the encoder breaks RFC 7541.
struct ReferenceServer {
    /// The dynamic table, with the newest entry first.
    table: Fields,
    size_max: usize,
    /// The values of HEADER_TABLE_SIZE that were acknowledged since the last block.
    limits: Vec<usize>,
    /// The last of them.
    limit: usize,
    /// The values of SETTINGS that were not acknowledged.
    settings: VecDeque<Vec<u32>>,
    block: Vec<u8>,
    received: Vec<ReceivedHeaders>,
}

/// The headers of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ReceivedHeaders {
    stream: u32,
    block: Vec<u8>,
    fields: Fields,
}

impl ReferenceServer {
    fn new() -> Self {
        Self {
            table: Vec::new(),
            size_max: 4096,
            limits: Vec::new(),
            limit: 4096,
            settings: VecDeque::new(),
            block: Vec::new(),
            received: Vec::new(),
        }
    }

    /// Makes SETTINGS that set the size of the table to each of `sizes` in turn.
    fn set(&mut self, sizes: &[u32]) -> Vec<u8> {
        self.settings.push_back(sizes.to_vec());
        let pairs: Vec<_> = sizes
            .iter()
            .map(|size| (setting::HEADER_TABLE_SIZE, *size))
            .collect();
        settings(&pairs)
    }

    /// Takes all frames that a client has sent since the last time.
    fn receive_from(&mut self, client: &mut Client) {
        client.take_output();
        let sent = [PREFACE, &std::mem::take(&mut client.sent)].concat();
        let mut open = None;
        for frame in frames(&sent) {
            match frame.kind {
                kind::SETTINGS if frame.flags == ACK => {
                    for size in self
                        .settings
                        .pop_front()
                        .expect("each SETTINGS is acknowledged once")
                    {
                        self.limit = size as usize;
                        self.limits.push(self.limit);
                    }
                }
                kind::HEADERS | kind::CONTINUATION => {
                    assert_eq!(open.is_some(), frame.kind == kind::CONTINUATION);
                    assert!(frame.payload.len() <= PAYLOAD_MAX);
                    assert_eq!(*open.get_or_insert(frame.stream), frame.stream);
                    self.block.extend(&frame.payload);
                    if frame.flags == END_HEADERS {
                        open = None;
                        let block = std::mem::take(&mut self.block);
                        let fields = self.decode(&block);
                        self.received.push(ReceivedHeaders {
                            stream: frame.stream,
                            block,
                            fields,
                        });
                    }
                }
                _ => assert_eq!(open, None, "no frame is inside a header block"),
            }
        }
        assert_eq!(open, None);
    }

    fn decode(&mut self, block: &[u8]) -> Fields {
        let mut rest = block;
        let mut updates = Vec::new();
        while rest[0] & 0xe0 == 0x20 {
            updates.push(number(&mut rest, 5));
        }
        for size in &updates {
            assert!(*size <= self.limit, "{size} is above {}", self.limit);
        }
        let least = self.limits.drain(..).min().unwrap_or(self.limit);
        if least < self.size_max {
            assert!(updates.first().is_some_and(|size| *size <= least));
        }
        for size in updates {
            self.size_max = size;
            while self.size() > size {
                self.table.pop();
            }
        }
        let mut fields = Vec::new();
        while !rest.is_empty() {
            let first = rest[0];
            if first & 0x80 != 0 {
                let index = number(&mut rest, 7);
                fields.push(self.entry(index));
                continue;
            }
            let indexed = first & 0x40 != 0;
            let name = match number(&mut rest, if indexed { 6 } else { 4 }) {
                0 => string(&mut rest),
                index => self.entry(index).0,
            };
            assert_eq!(first & 0xf0 == 0x10, is_secret(&name), "{name}");
            let field = (name, string(&mut rest));
            if indexed {
                self.table.insert(0, field.clone());
                assert!(self.size() <= self.size_max, "{field:?} evicts another");
            }
            fields.push(field);
        }
        fields
    }

    fn size(&self) -> usize {
        let size = |(name, value): &(String, String)| name.len() + value.len() + 32;
        self.table.iter().map(size).sum()
    }

    fn entry(&self, index: usize) -> (String, String) {
        // The entries of the static table that requests use.
        let (name, value) = match index {
            1 => (":authority", ""),
            3 => (":method", "POST"),
            4 => (":path", "/"),
            6 => (":scheme", "http"),
            19 => ("accept", ""),
            23 => ("authorization", ""),
            31 => ("content-type", ""),
            32 => ("cookie", ""),
            58 => ("user-agent", ""),
            62.. => return self.table[index - 62].clone(),
            _ => panic!("entry {index}"),
        };
        (name.to_owned(), value.to_owned())
    }
}

fn is_secret(name: &str) -> bool {
    ["authorization", "cookie", "t-bin"].contains(&name)
}

fn number(rest: &mut &[u8], bits: u32) -> usize {
    let mask = (1_usize << bits) - 1;
    let mut value = usize::from(take(rest)) & mask;
    if value == mask {
        for place in 0.. {
            let byte = usize::from(take(rest));
            value += (byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                break;
            }
        }
    }
    value
}

fn string(rest: &mut &[u8]) -> String {
    assert_eq!(rest[0] & 0x80, 0, "Huffman-coded");
    let length = number(rest, 7);
    let (text, after) = rest.split_at(length);
    *rest = after;
    String::from_utf8(text.to_vec()).unwrap()
}

fn take(rest: &mut &[u8]) -> u8 {
    let (byte, after) = rest.split_first().unwrap();
    *rest = after;
    *byte
}

fn pairs(method: &Method) -> Fields {
    let fields = method.fields().iter();
    fields
        .map(|field| (field.name().to_owned(), field.value().to_owned()))
        .collect()
}

fn method(path: &str, metadata: &[(&str, &str)]) -> Method {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let metadata: Vec<_> = metadata.iter().map(own).collect();
    let timeout = std::time::Duration::from_secs(30);
    Method::new("http", "127.0.0.1:50051", path, &metadata, Some(timeout)).unwrap()
}

/// A client with its server, which has read everything so far.
struct Pair {
    client: Client,
    server: ReferenceServer,
}

impl Pair {
    fn new() -> Self {
        let mut client = Client::new(Config::default());
        // The preface, SETTINGS and WINDOW_UPDATE.
        client.take_output();
        client.sent.clear();
        let server = ReferenceServer::new();
        Self { client, server }
    }

    /// Sends a call, and returns its headers as the server decodes them.
    fn call(&mut self, method: &Method) -> ReceivedHeaders {
        let call = self.client.connection.send(method, 1, b"").unwrap();
        self.server.receive_from(&mut self.client);
        let received = self.server.received.pop().expect("a call has headers");
        assert_eq!(received.fields, pairs(method));
        assert_eq!(received.stream, call.0);
        assert!(self.server.received.is_empty());
        received
    }

    fn set(&mut self, sizes: &[u32]) {
        let frame = self.server.set(sizes);
        self.client.receive(&frame);
        assert_eq!(self.client.connection.closed(), None);
    }
}

#[test]
fn headers_are_short_from_the_second_call_on() {
    let mut pair = Pair::new();
    let read = method("/soloist.v1.State/Read", &[]);
    let first = pair.call(&read).block;
    assert!(first.len() > 100, "{} bytes", first.len());
    assert_eq!(
        pair.call(&read).block,
        first,
        "the server's SETTINGS have not come"
    );
    pair.set(&[]);
    // The path is a literal with indexing.
    assert_eq!(pair.call(&read).block[2], 0x44);
    let short = vec![0x83, 0x86, 0xc3, 0xc2, 0xc1, 0xc0, 0xbf, 0xbe];
    for _ in 0..3 {
        assert_eq!(pair.call(&read).block, short);
    }
    // An equal method has the same block, and so has a clone.
    let again = method("/soloist.v1.State/Read", &[]);
    assert_eq!(pair.call(&again).block, short);
    assert_eq!(pair.call(&read.clone()).block, short);
}

#[test]
fn methods_share_the_entries_of_equal_fields() {
    let mut pair = Pair::new();
    pair.set(&[]);
    let methods = ["Read", "Write", "Batch", "Add", "List"]
        .map(|name| method(&format!("/soloist.v1.State/{name}"), &[("x-tenant", "7")]));
    let first: Vec<_> = methods.iter().map(|of| pair.call(of).block.len()).collect();
    assert!(first[0] > 100, "{first:?}");
    for length in &first[1..] {
        // The path, and eight indices.
        assert!(*length < 35, "{first:?}");
    }
    let second: Vec<_> = methods.iter().map(|of| pair.call(of).block).collect();
    for (of, block) in methods.iter().zip(&second) {
        assert_eq!(block.len(), 9);
        assert_eq!(pair.call(of).block, *block);
    }
    // A new method adds two entries, which moves the indices of the others.
    let late = method("/soloist.v1.State/Delete", &[("x-tenant", "8")]);
    pair.call(&late);
    for (of, block) in methods.iter().zip(&second) {
        let moved = |byte: &u8| byte + if *byte >= 0xbe { 2 } else { 0 };
        let moved: Vec<_> = block.iter().map(moved).collect();
        assert_eq!(pair.call(of).block, moved);
        assert_eq!(pair.call(of).block, moved);
    }
}

#[test]
fn more_methods_than_are_cached_can_be_called() {
    let mut pair = Pair::new();
    pair.set(&[]);
    let methods: Vec<_> = (0..100)
        .map(|number| method(&format!("/some.Service/Method{number}"), &[]))
        .collect();
    for _ in 0..3 {
        for of in &methods {
            pair.call(of);
        }
    }
    assert!(pair.server.size() > 4_000, "{}", pair.server.size());
}

#[test]
fn a_server_without_a_dynamic_table_gets_literals() {
    let mut pair = Pair::new();
    let read = method("/soloist.v1.State/Read", &[]);
    let full = pair.call(&read).block;
    pair.set(&[0]);
    assert_eq!(pair.call(&read).block, [&[0x20][..], &full].concat());
    for _ in 0..2 {
        assert_eq!(pair.call(&read).block, full);
    }
    // Until the server has a table.
    pair.set(&[4_096]);
    assert_eq!(pair.call(&read).block[..3], [0x3f, 0xe1, 0x1f]);
    assert_eq!(pair.call(&read).block.len(), 8);
    // A table that is too small for all fields keeps the path, which came first.
    pair.set(&[60]);
    pair.call(&read);
    pair.set(&[0, 60]);
    assert_eq!(pair.call(&read).block[..3], [0x20, 0x3f, 29]);
    let block = pair.call(&read).block;
    assert_eq!(block[..3], [0x83, 0x86, 0xbe]);
    assert_eq!(block.len(), full.len() - 23);
    assert_eq!(pair.call(&read).block, block);
}

#[test]
fn long_headers_have_continuation_frames() {
    let values: Vec<_> = (0..50)
        .map(|number| (format!("x-{number}"), "v".repeat(1_000)))
        .collect();
    let metadata: Vec<_> = values
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let (long, short) = (method("/long", &metadata), method("/short", &[]));
    let mut pair = Pair::new();
    let full = pair.call(&long).block.len();
    assert!(full > 3 * PAYLOAD_MAX);
    pair.call(&short);
    pair.set(&[]);
    for round in 0..3 {
        let length = pair.call(&long).block.len();
        assert!(length > 2 * PAYLOAD_MAX, "{length}");
        // Three values of a thousand bytes are in the table, from the second round on.
        assert!((length < full - 3_000) == (round > 0), "{length}");
        pair.call(&short);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Call(usize),
    Set(Vec<u32>),
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![
        2 => 0..600_u32,
        1 => 0..5_000_u32,
        1 => Just(4_096_u32),
        1 => any::<u32>(),
    ];
    prop_oneof![
        6 => (0..6_usize).prop_map(Step::Call),
        1 => vec(size, 0..4).prop_map(Step::Set),
    ]
}

fn metadata() -> impl Strategy<Value = Vec<(&'static str, String)>> {
    let name = prop::sample::select(vec![
        "x-a",
        "x-b",
        "accept",
        "authorization",
        "cookie",
        "t-bin",
    ]);
    let value = prop_oneof![
        4 => "[ab]{0,2}",
        2 => (0..200_usize).prop_map(|length| "v".repeat(length)),
        1 => (0..20_000_usize).prop_map(|length| "v".repeat(length)),
    ];
    vec((name, value), 0..5)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Methods are called in any order while the table grows and shrinks. The server must decode the right headers,
    /// without secrets in its table and without evictions. Once its settings stay the same, so must the blocks.
    #[test]
    fn all_headers_are_decoded_as_they_were_meant(
        of_methods in vec(metadata(), 1..6),
        steps in vec(step(), 0..60),
    ) {
        let methods: Vec<_> = of_methods
            .iter()
            .enumerate()
            .map(|(number, metadata)| {
                let metadata: Vec<_> = metadata
                    .iter()
                    .map(|(name, value)| (*name, value.as_str()))
                    .collect();
                method(&format!("/s.S/{number}"), &metadata)
            })
            .collect();
        let mut pair = Pair::new();
        for step in steps {
            match step {
                Step::Call(number) => drop(pair.call(&methods[number % methods.len()])),
                Step::Set(sizes) => pair.set(&sizes),
            }
            prop_assert!(!pair.server.table.iter().any(|(name, _)| is_secret(name)));
        }
        let mut round = || methods.iter().map(|of| pair.call(of).block).collect::<Vec<_>>();
        round();
        let settled = round();
        prop_assert_eq!(&round(), &settled);
        prop_assert_eq!(&round(), &settled);
    }
}

/// Calls of three methods in turn, the first of them before the server's SETTINGS.
#[tokio::test]
async fn h2_decodes_the_same_headers() {
    const CALLS: usize = 300;
    for table_size in [None, Some(0), Some(100), Some(300), Some(1 << 16)] {
        let secret = ("authorization", "Basic YTpi");
        let methods = [
            method("/soloist.v1.State/Read", &[]),
            method("/soloist.v1.State/Write", &[("x-tenant", "7"), secret]),
            method("/soloist.v1.State/Batch", &[("x-tenant", "8")]),
        ];
        let (mut socket, other) = tokio::io::duplex(1 << 16);
        let server = tokio::spawn(async move {
            let mut builder = h2::server::Builder::new();
            if let Some(size) = table_size {
                builder.header_table_size(size);
            }
            let mut connection = builder.handshake::<_, &[u8]>(other).await.unwrap();
            let mut received = Vec::new();
            while let Some(request) = connection.accept().await {
                let (request, mut respond) = request.unwrap();
                let response = http::Response::builder()
                    .header("content-type", "application/grpc")
                    .header("grpc-status", "5");
                respond
                    .send_response(response.body(()).unwrap(), true)
                    .unwrap();
                received.push(request.into_parts().0);
            }
            received
        });
        let mut connection = Connection::new(Config::default());
        let (mut begun, mut ended) = (0, 0);
        let mut buffer = vec![0; 1 << 16];
        while ended < CALLS {
            while begun < CALLS && begun < ended + 10 {
                let of = &methods[begun % methods.len()];
                connection.send(of, begun as u64, b"hello").unwrap();
                begun += 1;
            }
            socket.write_all(connection.output()).await.unwrap();
            connection.consume(connection.output().len());
            let count = socket.read(&mut buffer).await.unwrap();
            connection
                .receive(&buffer[..count], |_, event| match event {
                    Event::Failed { failure, .. } if failure.processed == Processed::Answered => {
                        ended += 1
                    }
                    event => panic!("{event:?}"),
                })
                .unwrap();
        }
        drop(socket);
        let received = server.await.unwrap();
        assert_eq!(received.len(), CALLS);
        for (number, request) in received.iter().enumerate() {
            let mut fields = vec![
                (":method", request.method.as_str()),
                (":scheme", request.uri.scheme_str().unwrap()),
                (":path", request.uri.path()),
                (":authority", request.uri.authority().unwrap().as_str()),
            ];
            for (name, value) in &request.headers {
                fields.push((name.as_str(), value.to_str().unwrap()));
            }
            let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
            let fields: Fields = fields.into_iter().map(own).collect();
            assert_eq!(
                fields,
                pairs(&methods[number % 3]),
                "{number}, {table_size:?}"
            );
        }
    }
}
