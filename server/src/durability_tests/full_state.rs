//! The part of the state that must survive a restart.

use std::collections::BTreeMap;

use crate::machine::{
    AppliedRequest, CopyHead, CopySlice, Entry, Key, Machine, OpenedSession, StateMachine,
};

/// Everything that must survive a restart.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct FullState {
    pub(super) machines: Vec<Machine>,
    pub(super) sessions: Vec<OpenedSession>,
    pub(super) entries: BTreeMap<Key, Entry>,
    pub(super) applied_requests: Vec<AppliedRequest>,
}

impl FullState {
    /// Copies the full state of `machine`.
    pub(super) fn of(machine: &mut StateMachine) -> Self {
        let (id, head) = machine.begin_copy(0);
        let CopyHead {
            machines, sessions, ..
        } = head;
        let mut state = Self {
            machines,
            sessions,
            entries: BTreeMap::new(),
            applied_requests: Vec::new(),
        };
        loop {
            match machine.next_copy_slice(id, usize::MAX, usize::MAX).unwrap() {
                CopySlice::Entries(entries) => state.entries.extend(entries),
                CopySlice::Requests(requests) => state.applied_requests.extend(requests),
                CopySlice::End => return state,
            }
        }
    }
}
