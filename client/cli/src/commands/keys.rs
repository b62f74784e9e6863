//! `get`, `put`, `add`, `move`, `delete`, `list`.

use std::io::Read as _;
use std::time::SystemTime;

use soloist::v1;
use soloist::v1::condition::Test;
use soloist::v1::value::Kind;
use soloist_client::{Code, Error};

use crate::command_line::connection::Form;
use crate::command_line::keys::{
    AddArgs, ConditionFlags, DeleteArgs, GetArgs, ListArgs, MoveArgs, PutArgs,
};
use crate::connect::Target;
use crate::failure::{Failure, MISSING, REFUSED};
use crate::output::{Out, escape, say, text};
use crate::wire;
use soloist_flags::Style;

pub(super) async fn get(target: &Target, args: &GetArgs, out: &Out) -> Result<i32, Failure> {
    let client = target.connect().await?;
    let request = v1::ReadRequest {
        key: args.key.clone(),
        expect: None,
    };
    let response = client.call(request).await?;
    match (out.form, &response.entry) {
        (Form::Json, _) => out.json("ReadResponse", &response)?,
        (Form::Value, Some(entry)) => out.value(entry.value.as_ref())?,
        (Form::Text, Some(entry)) => {
            let value = text::whole_value(entry.value.as_ref());
            let about = text::about(entry, SystemTime::now());
            out.line(&format!("{value}\n{}", out.style.dim(about)))?;
        }
        (_, None) => say(&format!("there is no key {}", escape::key(&args.key))),
    }
    Ok(match response.entry {
        Some(_) => 0,
        None => MISSING,
    })
}

pub(super) async fn put(target: &Target, args: &PutArgs, out: &Out) -> Result<i32, Failure> {
    use v1::write_request::Lifetime;
    let value = match &args.value {
        Some(text) => Some(wire::value(value(text, args.int, args.bytes)?)),
        None => None,
    };
    let lifetime = match (args.ttl, &args.session) {
        (Some(ttl), _) => Some(Lifetime::Ttl(wire::duration(ttl))),
        (None, Some(id)) => Some(Lifetime::Session(id.clone())),
        (None, None) => args.keep_lifetime.then_some(Lifetime::KeepLifetime(true)),
    };
    let request = v1::WriteRequest {
        key: args.key.clone(),
        value,
        keep_value: args.keep_value,
        lifetime,
        expect: condition(&args.condition),
        return_previous: args.previous,
        ..v1::WriteRequest::default()
    };
    let client = target.connect().await?;
    let response = client.call(request).await?;
    let is_new = response.revision == response.create_revision;
    out.message(
        "WriteResponse",
        &response,
        |style| {
            let revision = response.revision;
            match (&response.previous, is_new) {
                (_, true) => format!("created at revision {revision}"),
                (None, false) => format!("written at revision {revision}"),
                (Some(previous), false) => {
                    format!(
                        "written at revision {revision}\n{}",
                        before(previous, style)
                    )
                }
            }
        },
        || response.revision.to_string(),
    )?;
    Ok(0)
}

/// What there was before a change, on one line.
fn before(previous: &v1::Entry, style: Style) -> String {
    let value = text::value(previous.value.as_ref());
    let about = style.dim(text::about(previous, SystemTime::now()));
    format!("before: {value}  {about}")
}

/// The value that a word stands for.
fn value(word: &str, is_int: bool, is_bytes: bool) -> Result<Kind, Failure> {
    let mut input = Vec::new();
    let bytes = match word {
        "-" => {
            let read = std::io::stdin().lock().read_to_end(&mut input);
            read.map_err(|error| Failure::other(format!("cannot read standard input: {error}")))?;
            input
        }
        word => word.as_bytes().to_vec(),
    };
    if is_bytes {
        return Ok(Kind::Bytes(bytes));
    }
    let kind = wire::text_or_bytes(bytes);
    if !is_int {
        return Ok(kind);
    }
    let Kind::Text(text) = kind else {
        return Err(Failure::Arguments("--int: the value is no text".to_owned()));
    };
    let int = text.trim().parse();
    int.map(Kind::Int).map_err(|_| {
        let text = escape::quoted(text.trim());
        Failure::Arguments(format!("--int: {text} is no whole number of 64 bits"))
    })
}

fn condition(flags: &ConditionFlags) -> Option<v1::Condition> {
    wire::condition(match flags {
        ConditionFlags {
            if_revision: Some(revision),
            ..
        } => Some(Test::Revision(*revision)),
        ConditionFlags {
            if_missing: true, ..
        } => Some(Test::Exists(false)),
        ConditionFlags {
            if_exists: true, ..
        } => Some(Test::Exists(true)),
        _ => None,
    })
}

pub(super) async fn add(target: &Target, args: &AddArgs, out: &Out) -> Result<i32, Failure> {
    use v1::add_request::Lifetime;
    let lifetime = match (args.ttl, &args.session) {
        (Some(ttl), _) => Some(Lifetime::Ttl(wire::duration(ttl))),
        (None, session) => session.clone().map(Lifetime::Session),
    };
    let request = v1::AddRequest {
        key: args.key.clone(),
        delta: args.delta,
        min: args.min,
        max: args.max,
        saturate: args.saturate,
        lifetime,
        expect: condition(&args.condition),
        ..v1::AddRequest::default()
    };
    let client = target.connect().await?;
    let response = client.call(request).await?;
    out.message(
        "AddResponse",
        &response,
        |style| {
            let mut text = response.value.to_string();
            if response.applied != args.delta {
                text += &format!(" (added {})", response.applied);
            }
            format!(
                "{text}\n{}",
                style.dim(format!("revision {}", response.revision))
            )
        },
        || response.value.to_string(),
    )?;
    Ok(0)
}

pub(super) async fn move_key(target: &Target, args: &MoveArgs, out: &Out) -> Result<i32, Failure> {
    let value = match &args.value {
        Some(text) => Some(wire::value(value(text, args.int, false)?)),
        None => None,
    };
    let request = v1::TransitionRequest {
        key: args.key.clone(),
        to: args.state.clone(),
        expect: wire::condition(args.from.clone().map(Test::State)),
        value,
        ..v1::TransitionRequest::default()
    };
    let client = target.connect().await?;
    let response = client.call(request).await?;
    out.message(
        "TransitionResponse",
        &response,
        |style| {
            let (from, to) = (escape::key(&response.from), escape::key(&args.state));
            let revision = style.dim(format!("revision {}", response.revision));
            format!("{from} -> {to}\n{revision}")
        },
        || out.name(&response.from),
    )?;
    Ok(0)
}

pub(super) async fn delete(target: &Target, args: &DeleteArgs, out: &Out) -> Result<i32, Failure> {
    let Some(key) = &args.key else {
        return delete_prefix(target, args, out).await;
    };
    let test = match args.if_revision {
        Some(revision) => Some(Test::Revision(revision)),
        None => args.if_exists.then_some(Test::Exists(true)),
    };
    let request = v1::DeleteRequest {
        key: key.clone(),
        expect: wire::condition(test),
        ..v1::DeleteRequest::default()
    };
    let client = target.connect().await?;
    let response = client.call(request).await?;
    out.message(
        "DeleteResponse",
        &response,
        |style| match &response.previous {
            Some(previous) => {
                let revision = style.dim(format!("revision {}", response.revision));
                let mut text = format!("deleted\n{revision}");
                if args.previous {
                    text = format!("{text}\n{}", before(previous, style));
                }
                text
            }
            None => "there was no such key".to_owned(),
        },
        || i32::from(response.previous.is_some()).to_string(),
    )?;
    Ok(0)
}

async fn delete_prefix(target: &Target, args: &DeleteArgs, out: &Out) -> Result<i32, Failure> {
    let client = target.connect().await?;
    let mut request = v1::DeletePrefixRequest {
        prefix: args.prefix.clone().unwrap_or_default(),
        every_key: args.every_key,
        ..v1::DeletePrefixRequest::default()
    };
    let (mut deleted, mut kept) = (0, 0);
    loop {
        let answered = client.call(request.clone()).await;
        let response = answered.map_err(|error| partly_deleted(error, deleted))?;
        if out.form == Form::Json {
            out.json("DeletePrefixResponse", &response)?;
        }
        deleted += response.deleted_count;
        kept += response.kept_count;
        if response.next_page_token.is_empty() {
            break;
        }
        request.page_token = response.next_page_token;
    }
    match out.form {
        Form::Json => {}
        Form::Value => out.line(&deleted.to_string())?,
        Form::Text => {
            let keys = if deleted == 1 { "key" } else { "keys" };
            out.line(&format!("deleted {deleted} {keys}"))?;
        }
    }
    if kept > 0 {
        let them = if kept == 1 {
            "1 key is"
        } else {
            &format!("{kept} keys are")
        };
        say(&format!(
            "{them} kept: in a state of its machine that is not final"
        ));
        return Ok(REFUSED);
    }
    Ok(0)
}

/// Keys are deleted slice by slice.
fn partly_deleted(error: Error, deleted: i64) -> Failure {
    if deleted > 0 {
        say(&format!("{deleted} keys were deleted before the error"));
    } else if error.code() == Code::InvalidArgument {
        return Failure::Arguments(format!("{}; --every-key deletes all", error.message()));
    }
    error.into()
}

pub(super) async fn list(target: &Target, args: &ListArgs, out: &Out) -> Result<i32, Failure> {
    let client = target.connect().await?;
    let mut request = v1::ListRequest {
        prefix: args.prefix.clone(),
        keys_only: args.keys,
        ..v1::ListRequest::default()
    };
    let mut left = args.limit.unwrap_or(u64::MAX);
    loop {
        // A page has as many as the server permits, or as are wanted.
        request.page_size = i32::try_from(left).unwrap_or_default();
        let response = client.call(request.clone()).await?;
        left = left.saturating_sub(response.entries.len() as u64);
        match out.form {
            Form::Json => out.json("ListResponse", &response)?,
            Form::Text => out.line(&text::entries(&response.entries, args.keys, out.style))?,
            Form::Value => out.line(&lines(&response.entries, args.keys, out))?,
        }
        if response.next_page_token.is_empty() || left == 0 {
            return Ok(0);
        }
        request.page_token = response.next_page_token;
    }
}

/// A line for each key, or for each value.
fn lines(entries: &[v1::Entry], keys_only: bool, out: &Out) -> String {
    let lines = entries.iter().map(|entry| match keys_only {
        true => out.name(&entry.key),
        false => format!(
            "{}\t{}",
            out.name(&entry.key),
            text::value(entry.value.as_ref())
        ),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What happened to a key, on one line.
pub(super) fn event(event: &v1::Event, style: Style) -> String {
    let entry = event.entry.clone().unwrap_or_default();
    let cause = text::cause(event.cause());
    let key = style.name(escape::key(&entry.key));
    let line = match &entry.value {
        Some(value) => {
            let value = text::value(Some(value));
            let about = style.dim(text::about(&entry, SystemTime::now()));
            format!("{cause:9}  {key}  {value}  {about}")
        }
        None => {
            let about = style.dim(format!("revision {}", entry.revision));
            format!("{cause:9}  {key}  {about}")
        }
    };
    match &event.previous {
        Some(previous) => format!("{line}  {}", before(previous, style)),
        None if event.previous_left_out => format!("{line}  {}", style.dim("before: not kept")),
        None => line,
    }
}
