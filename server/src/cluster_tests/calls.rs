//! Calls of the nodes, with the network in between: a node that is stopped is sent to all the same, and answers when it goes on.

use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::sync::oneshot;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, timeout};

use super::world::{Dead, World, draw};
use crate::owner::{CallError, OwnerHandle};

/// How a call ended, as a client sees it.
#[derive(Debug)]
pub(super) enum Answer<T> {
    Done(T),
    Error(CallError),
    /// The node is not the owner.
    NotOwner,
    /// The connection broke, or nobody answered in time.
    Broken,
}

/// Chooses a node: most of the time one that believes to be the owner.
pub(super) fn choose(world: &World, rng: &mut StdRng) -> Option<usize> {
    let owners = world.owners();
    match owners.len() {
        0 => None,
        many => Some(owners[rng.random_range(0..many)]),
    }
}

/// Calls a node, and waits for its answer at most for `patience`. The node is told to answer within that time.
pub(super) async fn call<T, F>(
    world: &Rc<World>,
    rng: &mut StdRng,
    node: usize,
    patience: Duration,
    ask: impl FnOnce(OwnerHandle, Instant) -> F + 'static,
) -> Answer<T>
where
    T: 'static,
    F: Future<Output = Result<T, CallError>> + 'static,
{
    let process = world.process(node);
    let (there, back) = (draw(rng, 0, 3), draw(rng, 0, 3));
    let (sender, receiver) = oneshot::channel();
    let delivery = {
        let world = Rc::clone(world);
        async move {
            sleep(there).await;
            let answer = at_node(&world, node, process, patience, ask).await;
            let answer = match answer {
                Ok(answer) => answer,
                Err(Dead) => Answer::Broken,
            };
            sleep(back).await;
            // A client that has given up does not look.
            let _ = sender.send(answer);
        }
    };
    spawn_local(delivery);
    match timeout(patience + Duration::from_millis(100), receiver).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) | Err(_) => Answer::Broken,
    }
}

async fn at_node<T, F>(
    world: &Rc<World>,
    node: usize,
    process: u64,
    patience: Duration,
    ask: impl FnOnce(OwnerHandle, Instant) -> F,
) -> Result<Answer<T>, Dead>
where
    F: Future<Output = Result<T, CallError>>,
{
    world.until_it_runs(node, process).await?;
    let Some(owner) = world.owner(node, process) else {
        return Ok(Answer::NotOwner);
    };
    let asking = ask(owner, Instant::now() + patience);
    let answer = tokio::select! {
        biased;
        answer = asking => answer,
        // What it has answered with its last breath comes too late.
        () = world.until_it_ends(node, process) => return Err(Dead),
    };
    world.until_it_runs(node, process).await?;
    Ok(match answer {
        Ok(answer) => Answer::Done(answer),
        Err(error) => Answer::Error(error),
    })
}
