//! Handshakes take turns: each costs a good part of a millisecond, and the owner of the state shares its thread with them.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;
use tokio::sync::Semaphore;
use tokio::task::yield_now;

use crate::config::HANDSHAKE_STEPS_AT_ONCE;

/// The handshakes of a thread. Only so many of them take a step before all other tasks of the thread have had their turn.
/// One that waits for its client takes no turn, so stalled clients hold up nobody.
#[derive(Debug)]
pub(super) struct Handshakes(Semaphore);

impl Default for Handshakes {
    fn default() -> Self {
        Self(Semaphore::new(HANDSHAKE_STEPS_AT_ONCE))
    }
}

impl Handshakes {
    /// Runs a handshake to its end, a step at a time. A step is what can be done with the bytes that have arrived.
    ///
    /// Cancelling it ends the handshake.
    pub(super) async fn run<F: Future>(&self, handshake: F) -> F::Output {
        let mut handshake = pin!(handshake);
        let wakeup = Arc::new(Wakeup::default());
        let waker = Waker::from(Arc::clone(&wakeup));
        loop {
            let turn = self.0.acquire().await;
            let step = handshake.as_mut().poll(&mut Context::from_waker(&waker));
            // The turn ends when the other tasks have had theirs.
            yield_now().await;
            drop(turn);
            if let Poll::Ready(output) = step {
                return output;
            }
            wakeup.came().await;
        }
    }
}

/// Remembers that the handshake can go on. The handshake may say so while its task yields, and would not be heard there.
#[derive(Default)]
struct Wakeup {
    came: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Wakeup {
    fn wake(self: Arc<Self>) {
        self.came.store(true, Ordering::Release);
        self.task.wake();
    }
}

impl Wakeup {
    /// Waits until the handshake can go on.
    async fn came(&self) {
        poll_fn(|cx| {
            self.task.register(cx.waker());
            match self.came.swap(false, Ordering::Acquire) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use futures_util::FutureExt as _;
    use tokio::sync::oneshot;
    use tokio::task::LocalSet;

    use super::*;

    #[tokio::test]
    async fn a_handshake_that_waits_for_its_client_takes_no_turn() {
        let handshakes = Handshakes::default();
        let (stalled, waits): (Vec<_>, Vec<_>) = (0..HANDSHAKE_STEPS_AT_ONCE * 3)
            .map(|_| oneshot::channel::<()>())
            .unzip();
        let mut stalls: Vec<_> = waits
            .into_iter()
            .map(|wait| Box::pin(handshakes.run(wait)))
            .collect();
        for _ in 0..100 {
            for stall in &mut stalls {
                assert!(stall.as_mut().now_or_never().is_none());
            }
            yield_now().await;
        }
        assert_eq!(handshakes.run(async { 7 }).await, 7);
        for (client, stall) in stalled.into_iter().zip(stalls) {
            client.send(()).unwrap();
            stall.await.unwrap();
        }
    }

    #[tokio::test]
    async fn other_tasks_have_their_turn_between_the_steps_of_many_handshakes() {
        let steps = Rc::new(Cell::new(0));
        let handshakes = Rc::new(Handshakes::default());
        let local = LocalSet::new();
        for _ in 0..100 {
            let (steps, handshakes) = (Rc::clone(&steps), Rc::clone(&handshakes));
            local.spawn_local(async move {
                let step = async { steps.set(steps.get() + 1) };
                handshakes.run(step).await;
            });
        }
        let most = local
            .run_until(async {
                let mut most = 0;
                while steps.get() < 100 {
                    let before = steps.get();
                    yield_now().await;
                    most = most.max(steps.get() - before);
                }
                most
            })
            .await;
        assert!(most <= 2 * HANDSHAKE_STEPS_AT_ONCE, "{most} steps at once");
    }

    #[tokio::test]
    async fn a_step_that_is_due_while_the_task_yields_is_not_missed() {
        let handshakes = Handshakes::default();
        let mut polls = 0;
        let handshake = poll_fn(|cx| {
            polls += 1;
            // Ready to go on at once, as when bytes arrive during a step.
            cx.waker().wake_by_ref();
            match polls {
                5 => Poll::Ready(()),
                _ => Poll::Pending,
            }
        });
        handshakes.run(handshake).await;
        assert_eq!(polls, 5);
    }
}
