//! Tables of calls with their answers, and random programs against a model.

mod answers;
mod calls;
mod conditions;
mod edges;
mod generate;
mod harness;
mod lifetimes;
mod machines;
mod model;
mod operations;
mod plain_frames;
mod programs;
mod replica;
mod request_ids;
mod restore;
mod sessions;
mod time;
mod transitions;
mod values;
mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::index::Index;
use super::*;

use answers::*;
use calls::*;
use harness::*;
use values::*;
