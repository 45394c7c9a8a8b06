//! Links between the shards and the control thread, which runs another runtime.
//!
//! In:   calls of shards for the control thread; commands of the control thread for shards.
//! Out:  their answers.
//! Home: one [`ControlLink`] and one [`Commands`] a shard; [`ControlEnd`] on the control thread.
//!
//! Invariants
//!   B1  Every queue holds at most [`BRIDGE_QUEUE_MAX`] messages; the sender waits beyond.
//!   B2  One task receives from a channel, and no receive stands in a select: a cancelled receive
//!       can swallow a notification.
//!   B3  A wake-up that comes from another thread is late by one nap at most (`timers.rs`, T4).
//!
//! flume is a mutex around a deque, not lock-free: it links shards with threads that are not
//! shards, and nothing else. A shard holds its lock for the time of a push or pop.
//!
//! Not here: links between shards (`mesh.rs`).

use std::rc::Rc;

use flume::{Receiver, Sender};

use super::executor::Links;
use super::sync::Closed;
use super::tasks::{LocalFuture, Queue, spawn, spawn_service, yield_if_needed};
use crate::model::ids::ShardId;

/// Messages that wait in one direction of one link.
pub const BRIDGE_QUEUE_MAX: usize = 1_024;

/// The way to answer one question from another thread.
#[derive(Debug)]
pub struct ReplyTo<T>(Sender<T>);

impl<T> ReplyTo<T> {
    /// Answers; who asked may have gone, then nobody wants it.
    pub fn answer(self, answer: T) {
        let _ = self.0.send(answer); // room for one, and only one is sent: never waits
    }
}

fn reply_pair<T>() -> (ReplyTo<T>, Receiver<T>) {
    let (sender, receiver) = flume::bounded(1);
    (ReplyTo(sender), receiver)
}

/// A question of a shard to the control thread.
#[derive(Debug)]
pub struct ControlCall<C, A> {
    /// Who asks.
    pub from: ShardId,
    /// What.
    pub call: C,
    /// How to answer.
    pub reply: ReplyTo<A>,
}

/// A shard's way to ask the control thread; cheap to clone.
#[derive(Debug)]
pub struct ControlLink<C, A> {
    shard: ShardId,
    sender: Sender<ControlCall<C, A>>,
}

impl<C, A> Clone for ControlLink<C, A> {
    fn clone(&self) -> Self {
        ControlLink { shard: self.shard, sender: self.sender.clone() }
    }
}

impl<C: Send + 'static, A: Send + 'static> ControlLink<C, A> {
    /// Asks and waits for the answer; waits for room first (B1). Never put it into a select.
    ///
    /// Errors: [`Closed`] when the control thread is gone or drops the question.
    pub async fn call(&self, call: C) -> Result<A, Closed> {
        let (reply, answer) = reply_pair();
        let call = ControlCall { from: self.shard, call, reply };
        self.sender.send_async(call).await.map_err(|_| Closed)?;
        answer.recv_async().await.map_err(|_| Closed)
    }
}

struct Command<M, A> {
    message: M,
    reply: ReplyTo<A>,
}

/// What the control thread sends to one shard.
pub struct Commands<M, A>(Receiver<Command<M, A>>);

impl<M, A> std::fmt::Debug for Commands<M, A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Commands")
    }
}

impl<M: Send + 'static, A: Send + 'static> Commands<M, A> {
    /// Answers commands by `handler` until the control thread is gone; takes the link (B2).
    ///
    /// The handler is called in order of arrival; the future it returns runs as its own task.
    pub fn serve(self, handler: impl Fn(M) -> LocalFuture<A> + 'static) {
        spawn_service(Queue::Network, self.run(Rc::new(handler)));
    }

    async fn run(self, handler: Rc<dyn Fn(M) -> LocalFuture<A>>) {
        while let Ok(command) = self.0.recv_async().await {
            let answer = handler(command.message);
            let reply = command.reply;
            spawn(Queue::Network, async move { reply.answer(answer.await) });
            yield_if_needed().await;
        }
    }
}

/// The control thread's ends of all links.
pub struct ControlEnd<L: Links> {
    /// To send commands; may be cloned.
    pub shards: ShardLinks<L::Command, L::CommandAnswer>,
    /// The shards' questions; for one task (B2).
    pub calls: ControlCalls<L::Call, L::CallAnswer>,
}

impl<L: Links> std::fmt::Debug for ControlEnd<L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ControlEnd")
    }
}

/// The shards' questions, in order of arrival.
#[derive(Debug)]
pub struct ControlCalls<C, A>(Receiver<ControlCall<C, A>>);

impl<C, A> ControlCalls<C, A> {
    /// The next question; `None` when all shards are gone. Under any runtime.
    pub async fn next(&self) -> Option<ControlCall<C, A>> {
        self.0.recv_async().await.ok()
    }

    /// Like [`ControlCalls::next`], for a thread without a runtime.
    pub fn next_blocking(&self) -> Option<ControlCall<C, A>> {
        self.0.recv().ok()
    }
}

/// The control thread's ways to the shards; `Send`, cheap to clone, under any runtime.
pub struct ShardLinks<M, A>(Vec<Sender<Command<M, A>>>);

impl<M, A> Clone for ShardLinks<M, A> {
    fn clone(&self) -> Self {
        ShardLinks(self.0.clone())
    }
}

impl<M, A> std::fmt::Debug for ShardLinks<M, A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ShardLinks({})", self.0.len())
    }
}

impl<M: Send + 'static, A: Send + 'static> ShardLinks<M, A> {
    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.0.len()
    }

    /// Sends one command and waits for its answer; waits for room first (B1).
    ///
    /// Errors: [`Closed`] when the shard has ended. Panics: no such shard.
    pub async fn send(&self, to: ShardId, message: M) -> Result<A, Closed> {
        let (reply, answer) = reply_pair();
        self.0[to.index()].send_async(Command { message, reply }).await.map_err(|_| Closed)?;
        answer.recv_async().await.map_err(|_| Closed)
    }

    /// Sends the command to every shard, then waits for all answers, in the order of shards.
    ///
    /// Errors: [`Closed`] when a shard has ended; the others were told all the same.
    pub async fn broadcast(&self, message: M) -> Result<Vec<A>, Closed>
    where
        M: Clone,
    {
        let mut answers = Vec::with_capacity(self.0.len());
        for sender in &self.0 {
            let (reply, answer) = reply_pair();
            let sent = sender.send_async(Command { message: message.clone(), reply }).await;
            answers.push(sent.is_ok().then_some(answer));
        }
        let mut all = Vec::with_capacity(answers.len());
        for answer in answers {
            all.push(answer.ok_or(Closed)?.recv_async().await.map_err(|_| Closed)?);
        }
        Ok(all)
    }

    /// Like [`ShardLinks::send`], for a thread without a runtime.
    ///
    /// Errors: [`Closed`]. Panics: no such shard.
    pub fn send_blocking(&self, to: ShardId, message: M) -> Result<A, Closed> {
        let (reply, answer) = reply_pair();
        self.0[to.index()].send(Command { message, reply }).map_err(|_| Closed)?;
        answer.recv().map_err(|_| Closed)
    }
}

type ShardEnds<L> = (
    ControlLink<<L as Links>::Call, <L as Links>::CallAnswer>,
    Commands<<L as Links>::Command, <L as Links>::CommandAnswer>,
);

/// All links of a process with `shards` shards.
pub(super) fn links<L: Links>(shards: usize) -> (ControlEnd<L>, Vec<ShardEnds<L>>) {
    let (call_sender, calls) = flume::bounded(BRIDGE_QUEUE_MAX);
    let mut ends = Vec::with_capacity(shards);
    let mut senders = Vec::with_capacity(shards);
    for shard in 0..shards {
        let shard = ShardId(u16::try_from(shard).expect("at most SHARDS_MAX"));
        let (sender, commands) = flume::bounded(BRIDGE_QUEUE_MAX);
        senders.push(sender);
        ends.push((ControlLink { shard, sender: call_sender.clone() }, Commands(commands)));
    }
    (ControlEnd { shards: ShardLinks(senders), calls: ControlCalls(calls) }, ends)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::executor::{ShardContext, ShardSettings, start};

    struct Words;

    impl Links for Words {
        type Request = ();
        type Answer = ();
        type Call = u32;
        type CallAnswer = u32;
        type Command = u32;
        type CommandAnswer = (u16, u32);
    }

    #[test]
    fn commands_reach_every_shard_and_calls_come_back() {
        for shards in [1, 2, 4] {
            let settings = ShardSettings { shards: Some(shards), ..ShardSettings::default() };
            let (running, control) = start(&settings, |context: ShardContext<Words>| async move {
                let shard = context.shard.0;
                let link = context.control.clone();
                context.commands.serve(move |n| {
                    let link = link.clone();
                    Box::pin(async move {
                        let doubled = link.call(n).await.expect("the control thread answers");
                        (shard, doubled)
                    })
                });
                context.stop.wait().await;
            })
            .expect("the shards start");
            let calls = control.calls;
            let answering = std::thread::spawn(move || {
                while let Some(call) = calls.next_blocking() {
                    let n = call.call;
                    call.reply.answer(n * 2);
                }
            });
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("tokio");
            for n in 0..200 {
                let answers = runtime.block_on(control.shards.broadcast(n)).expect("all answer");
                let expected: Vec<_> =
                    (0..u16::try_from(shards).expect("few")).map(|shard| (shard, n * 2)).collect();
                assert_eq!(answers, expected);
            }
            running.stop();
            running.wait().expect("no shard panicked");
            assert_eq!(control.shards.send_blocking(ShardId(0), 1), Err(Closed));
            answering.join().expect("it ends when the shards are gone");
        }
    }
}
