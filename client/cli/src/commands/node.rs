//! `node`.

use soloist::v1;
use soloist::v1::node::Role;
use soloist_client::{Error, Outcome};

use crate::command_line::connection::Form;
use crate::connect::Target;
use crate::failure::{Failure, UNAVAILABLE};
use crate::output::{Out, escape, say, text};

pub(super) async fn node(target: &Target, out: &Out) -> Result<i32, Failure> {
    let mut rows = Vec::new();
    let (mut is_missing, mut has_owner) = (false, false);
    for address in target.server.split(',') {
        let one = Target {
            server: address.to_owned(),
            ..target.clone()
        };
        let node = match ask(&one).await {
            Ok(node) => node,
            // The others are worth to be known.
            Err(failure) if failure.exit_code() == UNAVAILABLE => {
                is_missing = true;
                rows.push(vec![address.to_owned(), "unreachable".to_owned()]);
                say(&failure.to_string());
                continue;
            }
            Err(failure) => return Err(failure),
        };
        has_owner |= node.role() == Role::Owner;
        match out.form {
            Form::Json => out.json("Node", &node)?,
            Form::Value => out.line(role(&node))?,
            Form::Text => rows.push(row(address, &node)),
        }
    }
    if out.form == Form::Text {
        out.line(&text::table(&rows, |column, cell| match (column, cell) {
            (0, _) => out.style.name(cell),
            (1, "owner") => out.style.good(cell),
            (1, "unreachable") => out.style.bad(cell),
            _ => cell.to_owned(),
        }))?;
    }
    Ok(match has_owner && !is_missing {
        true => 0,
        false => UNAVAILABLE,
    })
}

async fn ask(target: &Target) -> Result<v1::Node, Failure> {
    let client = target.connect().await?;
    let mut admin = client.admin_client();
    let asking = admin.get_node(v1::GetNodeRequest {});
    let answered = tokio::time::timeout(target.timeout, asking).await;
    let answered = answered.map_err(|_| {
        let timeout = humantime::format_duration(target.timeout);
        let why = format!(
            "{} did not answer within {timeout}, as --timeout says",
            target.server
        );
        Failure::Other(why, UNAVAILABLE)
    })?;
    let node = answered.map_err(|status| Error::from_status(&status, Outcome::NotApplied))?;
    Ok(node.into_inner())
}

fn role(node: &v1::Node) -> &'static str {
    match node.role() {
        Role::Owner => "owner",
        Role::Standby => "standby",
        Role::Unspecified => "unknown",
    }
}

/// A node on one line.
fn row(address: &str, node: &v1::Node) -> Vec<String> {
    let mut row = vec![address.to_owned(), role(node).to_owned()];
    if node.node.is_empty() {
        row.push("no node of a cluster".to_owned());
        return row;
    }
    row.push(format!("node {}", escape::key(&node.node)));
    row.push(format!("epoch {}", node.epoch));
    row.push(format!("seq {}", node.seq));
    row.push(match (&node.lag, node.role(), node.owner.as_str()) {
        (_, Role::Owner, _) => String::new(),
        (_, _, "") => "nobody owns the store".to_owned(),
        (Some(lag), _, _) => format!("{} behind", text::wire_duration(Some(&in_millis(*lag)))),
        (None, _, owner) => format!("follows {}", escape::key(owner)),
    });
    row
}

/// More would say less.
fn in_millis(lag: prost_types::Duration) -> prost_types::Duration {
    prost_types::Duration {
        nanos: lag.nanos / 1_000_000 * 1_000_000,
        ..lag
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standby_says_how_far_it_is() {
        let node = v1::Node {
            node: "b".into(),
            owner: "a".into(),
            role: Role::Standby as i32,
            epoch: 3,
            seq: 70,
            lag: Some(prost_types::Duration {
                seconds: 0,
                nanos: 2_202_962,
            }),
            ..v1::Node::default()
        };
        let shown = row("b:1", &node).join(" ");
        assert_eq!(shown, "b:1 standby node b epoch 3 seq 70 2ms behind");
        let alone = v1::Node {
            owner: String::new(),
            ..node
        };
        assert!(
            row("b:1", &alone)
                .join(" ")
                .ends_with("nobody owns the store")
        );
    }
}
