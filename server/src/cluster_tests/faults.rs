//! What happens to the nodes and to etcd, drawn from the seed.

use std::rc::Rc;
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use soloist_etcd::sim::{Faults, Reach};
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, timeout};

use super::world::{NODES, World, draw, pause};
use super::{log, node};

/// How long a read of a node is waited for.
const ANSWERED_WITHIN: Duration = Duration::from_millis(200);

/// Lets things happen for a while.
pub(super) async fn run(world: &Rc<World>, length: Duration) {
    let mut rng = world.rng(1);
    let ends = Instant::now() + length;
    if rng.random_bool(0.5) {
        world.sim.set_faults_of_all(Faults::many());
    }
    while Instant::now() < ends {
        pause(&mut rng, 50, 1_500).await;
        happen(world, &mut rng).await;
        log::look(world);
    }
}

async fn happen(world: &Rc<World>, rng: &mut StdRng) {
    let owners = world.owners();
    // Mostly to an owner, where it hurts.
    let node = match owners.len() {
        many if many > 0 && rng.random_bool(0.7) => owners[rng.random_range(0..many)],
        _ => rng.random_range(0..NODES.len()),
    };
    match rng.random_range(0..14) {
        0..3 => kill(world, rng, node),
        3..5 => stop(world, rng, node).await,
        5 => reach(world, rng, node, Reach::Nothing),
        6 => reach(world, rng, node, Reach::Minority),
        7 => {
            world.sim.set_quorum(false);
            let length = draw(rng, 100, 3_000);
            later(world, length, |world| world.sim.set_quorum(true));
        }
        8 => world.sim.elect(),
        9 => {
            world.sim.fill();
            let length = draw(rng, 100, 2_000);
            later(world, length, |world| {
                world.sim.defragment();
                world.sim.disarm();
            });
        }
        10 => world.sim.break_watches(NODES[node]),
        11 => {
            let faults = match rng.random_range(0..2) {
                0 => Faults::none(),
                _ => Faults::many(),
            };
            world.sim.set_faults(NODES[node], faults);
        }
        _ => hand_off(world, rng, node),
    }
}

fn later(world: &Rc<World>, length: Duration, act: impl FnOnce(&Rc<World>) + 'static) {
    let world = Rc::clone(world);
    spawn_local(async move {
        sleep(length).await;
        act(&world);
    });
}

fn kill(world: &Rc<World>, rng: &mut StdRng, node: usize) {
    if !world.kill(node) {
        return;
    }
    let length = draw(rng, 10, 2_500);
    later(world, length, move |world| {
        if !world.has_process(node) {
            node::start(world, node);
        }
    });
}

/// Stops the process of a node for a while, as if its machine slept: mostly while the answer to a read is under way to it. When it
/// goes on, it finds that answer, which tells what was so before.
async fn stop(world: &Rc<World>, rng: &mut StdRng, node: usize) {
    let process = world.process(node);
    if rng.random_bool(0.8) {
        let answered = until_answered(world, node);
        let _ = timeout(ANSWERED_WITHIN, answered).await;
    }
    if world.process(node) != process {
        return;
    }
    world.stop(node);
    // Every second one is long enough for another node to take over.
    let length = match rng.random_bool(0.5) {
        true => draw(rng, 50, 2_000),
        false => draw(rng, 3_000, 6_000),
    };
    // Two threads go on by turns: one takes what clients have sent meanwhile, the other what etcd has answered.
    let apart = draw(rng, 0, 10);
    let (clients, etcd) = match rng.random_bool(0.7) {
        true => (length, length + apart),
        false => (length + apart, length),
    };
    later(world, clients, move |world| {
        if world.process(node) == process {
            world.go_on(node);
        }
    });
    later(world, etcd, move |world| {
        if world.process(node) == process {
            world.go_on_with_etcd(node);
        }
    });
}

/// Waits until etcd has answered a read of a node, and the answer is under way.
async fn until_answered(world: &Rc<World>, node: usize) {
    let before = world.sim.reads_answered(NODES[node]);
    while world.sim.reads_answered(NODES[node]) == before {
        sleep(Duration::from_micros(100)).await;
    }
}

fn reach(world: &Rc<World>, rng: &mut StdRng, node: usize, reach: Reach) {
    world.sim.set_reach(NODES[node], reach);
    let length = draw(rng, 50, 5_000);
    later(world, length, move |world| {
        world.sim.set_reach(NODES[node], Reach::All);
    });
}

fn hand_off(world: &Rc<World>, rng: &mut StdRng, node: usize) {
    let Some(owner) = world.owner(node, world.process(node)) else {
        return;
    };
    let to = rng
        .random_bool(0.5)
        .then(|| NODES[rng.random_range(0..NODES.len())].to_owned());
    spawn_local(async move {
        // Refused, or done: the node's process sees it.
        let _ = owner.downgrade().hand_off(to).await;
    });
}

/// Ends all processes at once, and starts them again: they have only what is in etcd.
pub(super) fn restart_all(world: &Rc<World>) {
    for node in 0..NODES.len() {
        world.kill(node);
        node::start(world, node);
    }
}

/// Ends all faults.
pub(super) fn heal(world: &Rc<World>) {
    world.sim.set_quorum(true);
    world.sim.defragment();
    world.sim.disarm();
    world.sim.set_faults_of_all(Faults::none());
    for (node, name) in NODES.into_iter().enumerate() {
        world.sim.set_faults(name, Faults::none());
        world.sim.set_reach(name, Reach::All);
        world.go_on(node);
        world.go_on_with_etcd(node);
    }
}
