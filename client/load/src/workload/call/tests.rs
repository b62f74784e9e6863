use std::collections::HashSet;
use std::fs;
use std::sync::Arc;

use prost_reflect::{DynamicMessage, MessageDescriptor, MethodDescriptor};
use protox::Compiler;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use serde_json::{Value, json};

use crate::plan::call::CallPlan;
use crate::plan::choices::Part;
use crate::workload::call::program::CallProgram;
use crate::workload::call::split::split;
use crate::workload::call::turns::{CallRun, Turns};

const PROTO: &str = r#"
syntax = "proto3";
package zoo;
import "google/protobuf/timestamp.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/wrappers.proto";
import "google/protobuf/field_mask.proto";
enum Colour { GREY = 0; RED = 1; }
message Animal {
  string name = 1;
  int32 age = 2;
  int64 id = 3;
  bytes tag = 4;
  Colour colour = 5;
  Animal parent = 6;
  repeated Animal children = 7;
  map<string, int32> legs = 8;
  map<int32, Animal> by_place = 9;
  oneof food { string plant = 10; uint64 meat = 11; }
  google.protobuf.Timestamp born = 12;
  google.protobuf.Duration nap = 13;
  google.protobuf.Struct notes = 14;
  google.protobuf.StringValue nick = 15;
  google.protobuf.FieldMask mask = 16;
  double weight = 17;
  bool is_tame = 18;
}
service Keeper {
  rpc Feed(Animal) returns (Animal);
  rpc Watch(Animal) returns (stream Animal);
  rpc Collect(stream Animal) returns (Animal);
}
"#;

fn method(name: &str) -> MethodDescriptor {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("zoo.proto"), PROTO).unwrap();
    let mut compiler = Compiler::new([folder.path()]).unwrap();
    compiler
        .include_imports(true)
        .open_file("zoo.proto")
        .unwrap();
    let service = compiler
        .descriptor_pool()
        .get_service_by_name("zoo.Keeper")
        .unwrap();
    service.methods().find(|of| of.name() == name).unwrap()
}

fn plan(data: &[&str]) -> CallPlan {
    CallPlan {
        method: "zoo.Keeper/Feed".to_owned(),
        data: data.iter().map(|&text| text.to_owned()).collect(),
        proto: Vec::new(),
        import_path: Vec::new(),
        protoset: None,
        expect_code: Vec::new(),
        expect: Vec::new(),
        stream_messages: None,
    }
}

fn program(name: &str, data: &[&str]) -> Result<Arc<CallProgram>, String> {
    CallProgram::new(&plan(data), method(name)).map(Arc::new)
}

fn decoded(descriptor: &MessageDescriptor, bytes: &[u8]) -> Value {
    let message = DynamicMessage::decode(descriptor.clone(), bytes).unwrap();
    serde_json::to_value(message).unwrap()
}

/// Returns the messages of the first calls of a worker, as JSON.
fn sent(program: &Arc<CallProgram>, worker: u64, seed: u64, calls: usize) -> Vec<Vec<Value>> {
    let run = CallRun::new(Arc::clone(program), Part { index: 0, of: 1 });
    let mut turns = Turns::new(run, worker);
    let mut rng = SmallRng::seed_from_u64(seed);
    let input = program.method.input();
    let calls = (0..calls).map(|_| {
        let (turn, made) = turns.draw(&mut rng);
        let messages = match &made {
            Some(made) => &made.messages,
            None => program.fixed_messages(turn),
        };
        messages
            .iter()
            .map(|bytes| decoded(&input, bytes))
            .collect()
    });
    calls.collect()
}

#[test]
fn messages_are_split_by_their_brackets() {
    for (text, messages) in [
        ("", &[] as &[&str]),
        ("[]", &[]),
        (" {} ", &["{}"]),
        (r#"{"a": [1, 2]}"#, &[r#"{"a": [1, 2]}"#]),
        (
            r#"[{"a": 1}, {"b": "],}{"}]"#,
            &[r#"{"a": 1}"#, r#"{"b": "],}{"}"#],
        ),
        (
            "{\"a\": 1}\n\n{\"b\": 2}\n",
            &[r#"{"a": 1}"#, r#"{"b": 2}"#],
        ),
        (r#"{"a": "\""}{"b": 2}"#, &[r#"{"a": "\""}"#, r#"{"b": 2}"#]),
        (
            r#"[{"a": {{int 1 2}}}, {"b": "{{uuid}}"}]"#,
            &[r#"{"a": {{int 1 2}}}"#, r#"{"b": "{{uuid}}"}"#],
        ),
        ("{} x", &["{}", "x"]),
        ("[{},]", &["{}", ""]),
    ] {
        assert_eq!(split(text), messages, "{text}");
    }
}

#[test]
fn every_kind_of_field_goes_from_json_to_bytes() {
    let message = json!({
        "name": "Ada", "age": -3, "id": "9007199254740993", "tag": "AQID", "colour": "RED",
        "parent": {"parent": {"parent": {"name": "root"}}},
        "children": [{"name": "a"}, {"children": [{"name": "b"}]}],
        "legs": {"left": 2, "right": 1},
        "byPlace": {"7": {"name": "c"}},
        "meat": "18446744073709551615",
        "born": "2024-01-02T03:04:05.006Z", "nap": "1.500s",
        "notes": {"x": [1.0, null, "y"]}, "nick": "Addie", "mask": "a,bC",
        "weight": 1.5, "isTame": true,
    });
    let program = program("Feed", &[&message.to_string()]).unwrap();
    let sent = sent(&program, 0, 1, 1);
    // A mask is shown in the names of JSON.
    assert_eq!(sent, [[message]]);
}

#[test]
fn wrong_json_is_explained() {
    let deep = r#"{"parent": {"children": [{"age": "x"}]}}"#;
    for (data, parts) in [
        (
            r#"{"name": 5}"#,
            &["zoo.Animal", "field name:", "string"] as &[&str],
        ),
        (deep, &["field parent.children[0].age:"]),
        (r#"{"nome": "a"}"#, &["nome", "the fields are name, age"]),
        (r#"{"parent": {"nome": "a"}}"#, &["nome", "field parent"]),
        (r#"{"colour": "BLUE"}"#, &["field colour", "BLUE"]),
        (r#"{"age": 3000000000}"#, &["field age"]),
        (r#"{"plant": "a", "meat": 1}"#, &["meat"]),
        (r#"{"tag": "?"}"#, &["field tag"]),
        (r#"{"born": "yesterday"}"#, &["field born"]),
        ("{", &["no JSON"]),
        ("hello", &["no JSON"]),
        ("[{}, {\"age\": []}]", &["field age"]),
        ("@/no/such/file", &["--data @/no/such/file"]),
    ] {
        let error = program("Feed", &[data]).unwrap_err();
        for part in parts {
            assert!(error.contains(part), "{data}: {part}: {error}");
        }
    }
}

#[test]
fn messages_take_turns_and_workers_begin_at_different_ones() {
    let program = program("Feed", &[r#"{"age": 1}"#, r#"[{"age": 2}, {"age": 3}]"#]).unwrap();
    let ages = |worker| -> Vec<i64> {
        let sent = sent(&program, worker, 1, 4);
        sent.iter()
            .map(|call| call[0]["age"].as_i64().unwrap())
            .collect()
    };
    assert_eq!(ages(0), [1, 2, 3, 1]);
    assert_eq!(ages(4), [2, 3, 1, 2]);
}

#[test]
fn a_client_stream_sends_a_list_of_messages() {
    let data = [
        "{\"age\": 1}\n{\"age\": {{int 2 2}}}",
        r#"[{"age": 3}]"#,
        "[]",
    ];
    let program = program("Collect", &data).unwrap();
    let ages: Vec<Vec<i64>> = sent(&program, 0, 1, 3)
        .iter()
        .map(|call| {
            call.iter()
                .map(|one| one["age"].as_i64().unwrap())
                .collect()
        })
        .collect();
    assert_eq!(ages, [vec![1, 2], vec![3], vec![]]);
}

#[test]
fn without_data_the_message_is_empty() {
    for name in ["Feed", "Watch", "Collect"] {
        let program = program(name, &[]).unwrap();
        assert_eq!(
            sent(&program, 0, 1, 2),
            [[json!({})], [json!({})]],
            "{name}"
        );
    }
}

#[test]
fn placeholders_are_drawn_from_the_seed() {
    let data = r#"{"id": {{counter}}, "name": "{{uuid}}", "age": "{{int -5 5}}", "tag": "{{bytes 3}}", "plant": "{{string 9}}",
        "colour": "{{choice GREY RED}}", "nick": "a {{choice New \"York|Boston}} {{.RequestNumber}}"}"#;
    let data = data.replace("\\\"", "");
    let program = program("Feed", &[&data]).unwrap();
    assert_eq!(sent(&program, 0, 7, 50), sent(&program, 0, 7, 50));
    let calls = sent(&program, 0, 7, 50);
    assert_ne!(calls, sent(&program, 0, 8, 50));
    let mut seen = HashSet::new();
    for (number, call) in calls.iter().enumerate() {
        let one = &call[0];
        let text = |field: &str| one[field].as_str().unwrap_or_default().to_owned();
        let id = if number == 0 {
            String::new()
        } else {
            number.to_string()
        };
        assert_eq!(text("id"), id);
        assert!(text("nick").ends_with(&format!(" {number}")), "{one}");
        assert_eq!((text("tag").len(), text("plant").len()), (4, 9));
        assert!((-5..=5).contains(&one["age"].as_i64().unwrap_or(0)));
        let uuid = text("name");
        assert_eq!((uuid.len(), &uuid[14..15]), (36, "4"), "{uuid}");
        assert!("89ab".contains(&uuid[19..20]), "{uuid}");
        assert!(seen.insert(uuid));
    }
}

#[test]
fn a_column_of_a_file_goes_line_by_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.csv");
    fs::write(&file, "who,\"how old\"\nAda,36\n\"Bo \"\"B\"\" C\\\",5\n").unwrap();
    let file = file.display();
    let data = format!(r#"{{"name": "{{{{csv {file} who}}}}", "age": {{{{csv {file} 2}}}}}}"#);
    let program = program("Feed", &[&data]).unwrap();
    let calls = sent(&program, 0, 1, 3);
    let ada = json!({"name": "Ada", "age": 36});
    let bo = json!({"name": "Bo \"B\" C\\", "age": 5});
    assert_eq!(calls, [[ada.clone()], [bo], [ada]]);
    for (column, part) in [("nobody", "there is who, how old"), ("3", "no column 3")] {
        let data = format!(r#"{{"name": "{{{{csv {file} {column}}}}}"}}"#);
        let error = super::tests::program("Feed", &[&data]).unwrap_err();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_placeholder_that_makes_no_message_is_found_before_the_run() {
    for (data, part) in [
        (r#"{"age": {{int 1 3000000000}}}"#, "field age"),
        (r#"{"colour": "{{choice RED BLUE}}"}"#, "BLUE"),
        (r#"{"age": "{{uuid}}"}"#, "field age"),
        (r#"{"age": {{int 5 1}}}"#, "MIN must not be above MAX"),
        (r#"{"age": {{int x 1}}}"#, "whole numbers"),
        (r#"{"name": "{{string -1}}"}"#, "the length"),
        (
            r#"{"name": "{{name}}"}"#,
            "the placeholders are {{counter}}",
        ),
        (r#"{"name": "{{.Timestamp}}"}"#, ".RequestNumber"),
        (r#"{"name": "{{uuid"}"#, "must end with }}"),
        (r#"{"name": "{{csv /no/such who}}"}"#, "/no/such"),
    ] {
        let error = program("Feed", &[data]).unwrap_err();
        assert!(error.contains(part), "{data}: {error}");
    }
}

#[test]
fn the_fields_of_an_answer_are_checked() {
    let answer = json!({
        "name": "Ada", "age": 3, "id": "4", "colour": "RED", "children": [{"name": "a"}],
        "legs": {"left": 2}, "parent": {"isTame": true}, "tag": "AQID", "meat": "0", "nick": "x",
    });
    let answer = super::json::encode(&method("Feed").output(), &answer.to_string()).unwrap();
    for (check, wrong) in [
        ("name=Ada", None),
        ("age=3", None),
        ("id=4", None),
        ("colour=RED", None),
        ("children.0.name=a", None),
        ("legs.left=2", None),
        ("parent.is_tame=true", None),
        ("parent.isTame=true", None),
        ("tag=AQID", None),
        ("meat=0", None),
        ("weight=0.0", None),
        ("nick=x", None),
        ("name=Bo", Some("name is \"Ada\", not Bo")),
        ("age=4", Some("age is 3, not 4")),
        ("children.1.name=a", Some("children.1.name is nothing")),
        ("legs.right=2", Some("nothing")),
        ("plant=a", Some("nothing")),
    ] {
        let plan = CallPlan {
            expect: vec![check.parse().unwrap()],
            ..plan(&[])
        };
        let program = CallProgram::new(&plan, method("Feed")).unwrap();
        match (program.check(&answer), wrong) {
            (Ok(()), None) => {}
            (Err(error), Some(part)) if error.contains(part) => {}
            (result, _) => panic!("{check}: {result:?}"),
        }
    }
    for (check, part) in [
        ("nome=a", "has no field nome; it has name"),
        ("name.x=a", "no field within"),
    ] {
        let plan = CallPlan {
            expect: vec![check.parse().unwrap()],
            ..plan(&[])
        };
        let error = CallProgram::new(&plan, method("Feed")).unwrap_err();
        assert!(error.contains(part), "{error}");
    }
}
