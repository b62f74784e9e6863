//! The flags of commands about keys.

use std::time::Duration;

use crate::command_line::parse::time;

/// What to read.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct GetArgs {
    /// The key.
    pub(crate) key: String,
}

/// What to write.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct PutArgs {
    /// The key.
    pub(crate) key: String,
    /// The value; - for what standard input has. Text, or bytes if it is no text.
    #[arg(
        value_name = "VALUE|-",
        required_unless_present = "keep_value",
        allow_negative_numbers = true
    )]
    pub(crate) value: Option<String>,
    /// The value is a whole number.
    #[arg(long, conflicts_with = "bytes")]
    pub(crate) int: bool,
    /// The value is bytes, also if it is text.
    #[arg(long)]
    pub(crate) bytes: bool,
    /// The key ends after this time.
    #[arg(long, value_name = "TIME", value_parser = time, group = "lifetime")]
    pub(crate) ttl: Option<Duration>,
    /// The key ends with this session.
    #[arg(long, value_name = "ID", group = "lifetime")]
    pub(crate) session: Option<String>,
    /// The key keeps the lifetime that it has. Without a flag for its lifetime, it lives until it is deleted.
    #[arg(long, group = "lifetime")]
    pub(crate) keep_lifetime: bool,
    /// Leave the value as it is, and set the lifetime alone.
    #[arg(long, conflicts_with_all = ["value", "int", "bytes", "keep_lifetime"])]
    pub(crate) keep_value: bool,
    /// Show what the key had before, too.
    #[arg(long)]
    pub(crate) previous: bool,
    #[command(flatten)]
    pub(crate) condition: ConditionFlags,
}

/// What must hold, or the change is refused.
#[derive(Clone, Debug, clap::Args)]
#[group(multiple = false)]
pub(crate) struct ConditionFlags {
    /// Only if there is no such key.
    #[arg(long)]
    pub(crate) if_missing: bool,
    /// Only if there is such a key.
    #[arg(long)]
    pub(crate) if_exists: bool,
    /// Only if the key has not changed since this revision. 0: there is no such key.
    #[arg(long, value_name = "REVISION")]
    pub(crate) if_revision: Option<i64>,
}

/// What to add.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct AddArgs {
    /// The key.
    pub(crate) key: String,
    /// How much.
    #[arg(
        value_name = "NUMBER",
        default_value = "1",
        allow_negative_numbers = true
    )]
    pub(crate) delta: i64,
    /// Refuse a sum below this.
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub(crate) min: Option<i64>,
    /// Refuse a sum above this.
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub(crate) max: Option<i64>,
    /// Take the bound instead of refusing the sum.
    #[arg(long)]
    pub(crate) saturate: bool,
    /// If this creates the key, it ends after this time.
    #[arg(long, value_name = "TIME", value_parser = time, group = "lifetime")]
    pub(crate) ttl: Option<Duration>,
    /// If this creates the key, it ends with this session.
    #[arg(long, value_name = "ID", group = "lifetime")]
    pub(crate) session: Option<String>,
    #[command(flatten)]
    pub(crate) condition: ConditionFlags,
}

/// Where to move a key.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct MoveArgs {
    /// The key.
    pub(crate) key: String,
    /// The state.
    pub(crate) state: String,
    /// Only if the key is in this state.
    #[arg(long, value_name = "STATE")]
    pub(crate) from: Option<String>,
    /// Replace the value in the same step.
    #[arg(long, allow_negative_numbers = true)]
    pub(crate) value: Option<String>,
    /// The value is a whole number.
    #[arg(long, requires = "value")]
    pub(crate) int: bool,
}

/// What to delete.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct DeleteArgs {
    /// The key.
    #[arg(required_unless_present_any = ["prefix", "every_key"])]
    pub(crate) key: Option<String>,
    /// Delete all keys that begin with this. Those in a state of their machine that is not final stay, and the exit code is 3.
    #[arg(long, conflicts_with_all = ["key", "if_exists", "if_revision"])]
    pub(crate) prefix: Option<String>,
    /// Show what was deleted.
    #[arg(long, conflicts_with_all = ["prefix", "every_key"])]
    pub(crate) previous: bool,
    /// Delete all keys of the store.
    #[arg(long, conflicts_with_all = ["key", "prefix", "if_exists", "if_revision"])]
    pub(crate) every_key: bool,
    /// Only if there is such a key. Exit code 1: there is none.
    #[arg(long, conflicts_with = "if_revision")]
    pub(crate) if_exists: bool,
    /// Only if the key has not changed since this revision.
    #[arg(long, value_name = "REVISION")]
    pub(crate) if_revision: Option<i64>,
}

/// What to list.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// What the keys begin with.
    #[arg(default_value = "", hide_default_value = true)]
    pub(crate) prefix: String,
    /// Leave the values out.
    #[arg(long)]
    pub(crate) keys: bool,
    /// End after this many keys.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
}
