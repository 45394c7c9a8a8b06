//! One client connection: a task that reads and admits, a task that writes, a task a reply.
//!
//! In:   an accepted socket, the shard's service and byte budget.
//! Out:  admitted requests, answers in order, the reason of the end.
//! Home: the shard that accepted it.
//!
//! Invariants
//!   O1  At most `in_flight_max` requests of a connection wait for their answer, and no request
//!       is read while `response_bytes_max` bytes of answers wait for the client.
//!   O2  A request's bytes stay reserved until its reply is ready.
//!   O3  Whatever ends the reading side, what was admitted before is answered first.
//!
//! Not here: which connections there are (`listener.rs`).

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use super::listener::NetSettings;
use super::reader::{Activity, FrameReader, Phase};
use super::request_budget::RequestBudget;
use super::service::{Admitted, CloseReason, LocalFuture, Reply, Service};
use super::socket::Socket;
use super::writer::{self, Outbox};
use crate::model::time::Micros;
use crate::shard::sync::Permit;
use crate::shard::tasks::{spawn_here, yield_if_needed};

/// What others on the shard see of a connection.
pub(super) struct Live {
    socket: Rc<Socket>,
    outbox: Rc<Outbox>,
    activity: Rc<Activity>,
    /// Set by who closes it from outside.
    closing: Cell<Option<CloseReason>>,
    pub(super) requests: Cell<u64>,
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl Live {
    pub(super) fn new(socket: Socket) -> Live {
        Live {
            socket: Rc::new(socket),
            outbox: Rc::new(Outbox::new()),
            activity: Rc::new(Activity::new()),
            closing: Cell::new(None),
            requests: Cell::new(0),
        }
    }

    pub(super) fn bytes_in(&self) -> u64 {
        self.activity.bytes_in.get()
    }

    pub(super) fn bytes_out(&self) -> u64 {
        self.outbox.bytes_out.get()
    }

    /// Closes now; nothing more is sent.
    pub(super) fn close(&self, reason: CloseReason) {
        if self.closing.get().is_none() {
            self.closing.set(Some(reason));
        }
        self.socket.shut_down();
    }

    /// Reads no further request; closes when what was admitted is answered.
    pub(super) fn drain(&self) {
        if self.closing.get().is_none() {
            self.closing.set(Some(CloseReason::Stopping));
        }
        self.socket.shut_down_receiving();
    }

    /// Closes it if the client has been silent, half way, or deaf for too long; half way in a
    /// large frame sooner where others wait for the memory that it holds (`contended`).
    pub(super) fn sweep(&self, now: Micros, settings: &NetSettings, contended: bool) {
        let silent_us = now.since(self.activity.last.get());
        let stall_max = match contended && self.activity.large.get() {
            true => settings.stall_max.min(settings.stall_contended_max),
            false => settings.stall_max,
        };
        let answers = self.outbox.in_flight() > 0 || self.outbox.unsent_bytes() > 0;
        match self.activity.phase.get() {
            Phase::InFrame if silent_us > micros(stall_max) => {
                return self.close(CloseReason::Stalled);
            }
            Phase::BetweenFrames if !answers && silent_us > micros(settings.idle_max) => {
                // Idle counts from the last request or the last answer, whichever was later.
                if now.since(self.outbox.last_sent.get()) > micros(settings.idle_max) {
                    return self.close(CloseReason::Idle);
                }
            }
            Phase::InFrame | Phase::BetweenFrames | Phase::Ours => {}
        }
        let deaf_us = now.since(self.outbox.last_sent.get());
        if self.outbox.unsent_bytes() > 0 && deaf_us > micros(settings.idle_max) {
            self.close(CloseReason::Stalled);
        }
    }
}

/// Serves one connection until it ends; returns why it did.
pub(super) async fn run<S: Service>(
    service: Rc<S>,
    live: Rc<Live>,
    settings: Rc<NetSettings>,
    budget: RequestBudget,
) -> CloseReason {
    let Ok(peer) = live.socket.peer() else { return CloseReason::PeerGone };
    let connection = service.connected(peer);
    let writing = spawn_here(writer::run(Rc::clone(&live.socket), Rc::clone(&live.outbox)));
    let read = read(&*service, &connection, &live, &settings, &budget).await;
    live.outbox.end();
    let wrote = writing.await;
    // The most telling of three: who closed it from outside, what was read, what was written.
    match (live.closing.get(), read) {
        (Some(reason), _) => reason,
        (None, CloseReason::PeerGone) => wrote,
        (None, reason) => reason,
    }
}

async fn read<S: Service>(
    service: &S,
    connection: &S::Connection,
    live: &Rc<Live>,
    settings: &NetSettings,
    budget: &RequestBudget,
) -> CloseReason {
    let outbox = &live.outbox;
    let mut reader = FrameReader::new(Rc::clone(&live.socket), Rc::clone(&live.activity));
    loop {
        outbox.room(settings.in_flight_max, settings.response_bytes_max).await;
        if outbox.is_broken() || live.closing.get().is_some() {
            return CloseReason::PeerGone;
        }
        let (frame, permit) = match reader.next(settings.request_bytes_max, budget).await {
            Ok(next) => next,
            Err(reason) => return reason,
        };
        live.requests.set(live.requests.get() + 1);
        match service.admit(connection, frame).await {
            Admitted::Reply(reply) => answer(outbox, reply, permit),
            Admitted::ReplyAlone(reply) => {
                answer(outbox, reply, permit);
                outbox.room(1, 1).await;
            }
            Admitted::Close(reason) => return reason,
        }
        yield_if_needed().await;
    }
}

/// Runs the reply beside the others and puts its answer into its place (O2).
fn answer(outbox: &Rc<Outbox>, reply: LocalFuture<Reply>, permit: Permit) {
    let number = outbox.open();
    let outbox = Rc::clone(outbox);
    spawn_here(async move {
        let reply = reply.await;
        drop(permit);
        outbox.complete(number, reply);
    });
}
