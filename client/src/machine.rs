//! Machines: protocols that the server enforces for every key under a prefix.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use soloist::v1;

use crate::wire::{duration_from_wire, duration_to_wire, into_wire, non_empty, page_size_to_wire};
use crate::{Condition, Error};

/// A protocol for the keys that begin with a prefix: the states that such a key can be in, and the moves between them.
///
/// A key under a machine is in the initial state when it is created, changes its state only by a
/// [`Transition`](crate::Transition) or by the timeout of a state, and can be deleted only in a final state. The end of
/// its ttl or session deletes it in any state.
///
/// ```
/// use std::time::Duration;
/// use soloist_client::{Client, Machine, State};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// # let server = soloist_server::Server::start(listener, &Default::default())?;
/// # let client = Client::connect(format!("http://{}", server.local_addr())).await?;
/// let half_a_minute = Duration::from_secs(30);
/// let machine = Machine::new("conn")
///     .key_prefix("conn/")
///     .initial("idle")
///     .state("idle", State::new().to("inflight").to("closing"))
///     .state("inflight", State::new().to("idle").timeout(half_a_minute, "closing"))
///     .state("closing", State::new());
/// client.define_machine(machine).await?;
///
/// client.write("conn/7", "10.0.0.1:4711").await?;
/// let moved = client.transition("conn/7", "inflight").await?;
/// assert_eq!(moved.from, "idle");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Machine {
    /// The name: 1 to 128 bytes of UTF-8, without control characters, not beginning with `$`. The names of states have
    /// the same rules.
    pub name: String,
    /// The keys under this machine are those that begin with this prefix. Not empty; no machine's prefix may begin with
    /// that of another.
    pub key_prefix: String,
    /// The state of a new key.
    pub initial: String,
    /// The states by their names: 1 to `Limits.max_states`.
    pub states: BTreeMap<String, State>,
    /// The store revision at which the machine got this definition. Ignored in a definition.
    pub revision: i64,
}

impl Machine {
    /// A machine with this name only. A server refuses it until it has a prefix, an initial state and that state.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    /// Sets the prefix of the keys under this machine.
    #[must_use]
    pub fn key_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.key_prefix = prefix.into();
        self
    }

    /// Sets the state of a new key.
    #[must_use]
    pub fn initial(mut self, state: impl Into<String>) -> Self {
        self.initial = state.into();
        self
    }

    /// Adds a state, or replaces the one of the same name.
    #[must_use]
    pub fn state(mut self, name: impl Into<String>, state: State) -> Self {
        self.states.insert(name.into(), state);
        self
    }
}

/// One state: where a key can move from there, and when the server moves it by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct State {
    /// The states that a transition can move a key to. The state itself is among them only if a key may move to where
    /// it is already.
    pub next: BTreeSet<String>,
    /// When the server moves the key by itself. `None`: never.
    pub timeout: Option<StateTimeout>,
}

impl State {
    /// A state without moves. It is final if it stays so.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a state that a transition can move a key to.
    #[must_use]
    pub fn to(mut self, state: impl Into<String>) -> Self {
        self.next.insert(state.into());
        self
    }

    /// Makes the server move a key to `next` when it has been in this state for `after`, 1 ms to 10 years: at the end
    /// of that time or a moment later, never earlier. No [`Transition`](crate::Transition) to `next` need be allowed.
    #[must_use]
    pub fn timeout(mut self, after: Duration, next: impl Into<String>) -> Self {
        self.timeout = Some(StateTimeout {
            after,
            next: next.into(),
        });
        self
    }

    /// Whether the state is final: it has no moves and no timeout. Only in a final state a key can be deleted.
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.next.is_empty() && self.timeout.is_none()
    }
}

/// When the server moves a key by itself, and where to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StateTimeout {
    /// How long the key may be in the state.
    pub after: Duration,
    /// The state that the server moves the key to.
    pub next: String,
}

impl From<Machine> for v1::Machine {
    fn from(machine: Machine) -> Self {
        let state = |(name, state): (String, State)| {
            let (timeout, timeout_next) = match state.timeout {
                Some(timeout) => (Some(duration_to_wire(timeout.after)), timeout.next),
                None => (None, String::new()),
            };
            let state = v1::machine::State {
                next: state.next.into_iter().collect(),
                timeout,
                timeout_next,
            };
            (name, state)
        };
        Self {
            name: machine.name,
            key_prefix: machine.key_prefix,
            initial: machine.initial,
            states: machine.states.into_iter().map(state).collect(),
            revision: machine.revision,
        }
    }
}

impl TryFrom<v1::Machine> for Machine {
    type Error = Error;

    /// Fails with INTERNAL for an invalid timeout, which no Soloist server sends.
    fn try_from(machine: v1::Machine) -> Result<Self, Error> {
        let state = |(name, state): (String, v1::machine::State)| {
            let timeout = state.timeout.map(|after| {
                Ok::<_, Error>(StateTimeout {
                    after: duration_from_wire(after)?,
                    next: state.timeout_next,
                })
            });
            let state = State {
                next: state.next.into_iter().collect(),
                timeout: timeout.transpose()?,
            };
            Ok((name, state))
        };
        Ok(Self {
            name: machine.name,
            key_prefix: machine.key_prefix,
            initial: machine.initial,
            states: machine
                .states
                .into_iter()
                .map(state)
                .collect::<Result<_, Error>>()?,
            revision: machine.revision,
        })
    }
}

/// Creates or replaces a machine. A definition that is equal to the present one changes nothing, so a deployment may
/// define its machines each time.
#[derive(Clone, Debug, PartialEq)]
pub struct DefineMachine(v1::DefineMachineRequest);

impl DefineMachine {
    pub(crate) fn new(machine: Machine) -> Self {
        Self(v1::DefineMachineRequest {
            machine: Some(machine.into()),
            ..v1::DefineMachineRequest::default()
        })
    }

    pub(crate) fn expect(mut self, condition: Condition) -> Self {
        self.0.expect = Some(condition.into());
        self
    }

    pub(crate) fn validate_only(mut self) -> Self {
        self.0.validate_only = true;
        self
    }
}

/// Returns one machine.
#[derive(Clone, Debug, PartialEq)]
pub struct GetMachine(v1::GetMachineRequest);

impl GetMachine {
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self(v1::GetMachineRequest { name: name.into() })
    }
}

/// Lists machines in the order of the bytes of their names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListMachines(v1::ListMachinesRequest);

impl ListMachines {
    pub(crate) fn page_size(mut self, page_size: u32) -> Self {
        self.0.page_size = page_size_to_wire(page_size);
        self
    }

    pub(crate) fn page_token(mut self, page_token: impl Into<String>) -> Self {
        self.0.page_token = page_token.into();
        self
    }
}

/// Deletes a machine. The keys under it stay and have no state from then on.
#[derive(Clone, Debug, PartialEq)]
pub struct DeleteMachine(v1::DeleteMachineRequest);

impl DeleteMachine {
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self(v1::DeleteMachineRequest {
            name: name.into(),
            force: false,
        })
    }

    pub(crate) fn force(mut self) -> Self {
        self.0.force = true;
        self
    }
}

into_wire! {
    DefineMachine: DefineMachineRequest;
    GetMachine: GetMachineRequest;
    ListMachines: ListMachinesRequest;
    DeleteMachine: DeleteMachineRequest;
}

/// One page of machines.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListMachinesReply {
    /// The machines, in the order of the bytes of their names.
    pub machines: Vec<Machine>,
    /// The `page_token` for the next page. `None` if this is the last page.
    pub next_page_token: Option<String>,
}

impl TryFrom<v1::ListMachinesResponse> for ListMachinesReply {
    type Error = Error;

    fn try_from(response: v1::ListMachinesResponse) -> Result<Self, Error> {
        Ok(Self {
            machines: response
                .machines
                .into_iter()
                .map(Machine::try_from)
                .collect::<Result<_, _>>()?,
            next_page_token: non_empty(response.next_page_token),
        })
    }
}

/// The machine is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeleteMachineReply {}

impl TryFrom<v1::DeleteMachineResponse> for DeleteMachineReply {
    type Error = Error;

    fn try_from(_: v1::DeleteMachineResponse) -> Result<Self, Error> {
        Ok(Self {})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_survive_the_wire() {
        let machine = Machine::new("conn")
            .key_prefix("conn/")
            .initial("idle")
            .state("idle", State::new().to("inflight").to("idle"))
            .state(
                "inflight",
                State::new().timeout(Duration::from_millis(1_500), "closing"),
            )
            .state("closing", State::new());
        let wire = v1::Machine::from(machine.clone());
        assert_eq!(wire.states["inflight"].timeout_next, "closing");
        assert_eq!(wire.states["idle"].next, ["idle", "inflight"]);
        assert_eq!(Machine::try_from(wire).unwrap(), machine);

        let finals = machine.states.iter().filter(|(_, state)| state.is_final());
        assert!(finals.map(|(name, _)| name).eq(["closing"]));
    }

    #[test]
    fn a_state_set_twice_is_replaced() {
        let machine = Machine::new("m")
            .state("a", State::new().to("b"))
            .state("a", State::new());
        assert_eq!(machine.states["a"], State::new());
    }
}
