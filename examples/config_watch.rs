//! A copy of the configuration that is always up to date: all entries first, then every change, even across a break.
//!
//! A watch with `initial` first sends every entry as of one revision, then every new change. After a break the copy
//! resumes after the last revision that it received. If the changes since then are no longer kept, or if the store is
//! another one, it starts again from the beginning. (After a lost connection, `resume` reopens the watch by itself.)
//!
//! ```console
//! $ cargo run --example config_watch [URL]
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod support;

use std::collections::BTreeMap;

use soloist_client::{Client, Code, Retry, Value, Watch};
use support::Result;

/// A copy of all keys under a prefix.
struct Config {
    prefix: String,
    values: BTreeMap<String, Value>,
    /// The store_id and the revision that the copy has reached. `None` for a new copy.
    position: Option<(String, i64)>,
}

impl Config {
    fn new(prefix: String) -> Self {
        Self {
            prefix,
            values: BTreeMap::new(),
            position: None,
        }
    }

    /// Opens a watch that resumes where this copy stands, or starts from the beginning if the copy is new or too old.
    async fn watch(&mut self, client: &Client) -> Result<Watch> {
        let watch = || client.watch_prefix(&self.prefix).resume(Retry::default());
        if let Some((store_id, revision)) = &self.position {
            match watch().store_id(store_id).after_revision(*revision).await {
                Err(error) if error.code() == Code::OutOfRange => {}
                watch => return Ok(watch?),
            }
        }
        let store_id = client.info().await?.store_id;
        let watch = watch().store_id(&store_id).initial().await?;
        self.values.clear();
        self.position = Some((store_id, 0));
        Ok(watch)
    }

    /// Applies changes to the copy until it has reached the revision `target`.
    async fn catch_up(&mut self, watch: &mut Watch, target: i64) -> Result {
        while self
            .position
            .as_ref()
            .is_none_or(|(_, revision)| *revision < target)
        {
            let message = watch.next().await?.expect("an error ends a watch");
            for event in message.events {
                let name = event.key.trim_start_matches(&self.prefix).to_owned();
                match event.entry {
                    Some(entry) => self.values.insert(name, entry.value),
                    None => self.values.remove(&name),
                };
            }
            if let (Some((_, at)), Some(revision)) = (&mut self.position, message.revision) {
                *at = revision;
            }
        }
        Ok(())
    }

    fn show(&self, when: &str) {
        for (name, value) in &self.values {
            match value {
                Value::Text(text) => println!("{when}: {name} = {text}"),
                other => println!("{when}: {name} = {other:?}"),
            }
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result {
    let (client, _server) = support::connect().await?;
    let prefix = format!("config/{}/", std::process::id());
    let key = |name: &str| format!("{prefix}{name}");
    client.write(key("color"), "blue").await?;
    let written = client.write(key("size"), "small").await?;

    let mut config = Config::new(prefix.clone());
    let mut watch = config.watch(&client).await?;
    config.catch_up(&mut watch, written.revision).await?;
    config.show("at first");
    assert_eq!(config.values.len(), 2);

    let written = client.write(key("size"), "large").await?;
    config.catch_up(&mut watch, written.revision).await?;
    config.show("live");
    assert_eq!(config.values["size"], "large".into());

    // The copy misses these changes, because nothing watches now.
    drop(watch);
    client.write(key("color"), "green").await?;
    let deleted = client.delete(key("size")).await?;

    let mut watch = config.watch(&client).await?;
    config.catch_up(&mut watch, deleted.revision).await?;
    config.show("after the break");
    let expected = BTreeMap::from([("color".to_owned(), Value::from("green"))]);
    assert_eq!(config.values, expected);
    Ok(())
}
