//! Tasks on their way to workers, and results on the way back.

use hatchery_process::{ResultKind, TaskResult, TaskSendError};

use super::{Items, State};
use crate::pool::error::TaskError;
use crate::pool::payload::{ARGUMENTS, Content, RESULT, codec};
use crate::pool::schedule::{Sending, Stop, WorkerId};
use crate::process::PanicNote;

/// The most results that are taken from one worker at once: others have some, too.
const TAKEN_AT_ONCE: usize = 512;

impl State {
    /// Takes what workers have put, and sends them what there is for them; returns how much it was.
    pub(in crate::pool) fn drain(&mut self) -> usize {
        let taken = (0..self.hands.len())
            .map(|index| self.drain_some(index, TAKEN_AT_ONCE))
            .sum();
        self.fill();
        taken
    }

    /// Takes all that a worker has put.
    pub(super) fn drain_all(&mut self, worker: WorkerId) {
        while self.drain_some(worker.index(), TAKEN_AT_ONCE) == TAKEN_AT_ONCE {}
    }

    /// Takes at most so many results of a worker; returns how many there were.
    fn drain_some(&mut self, index: usize, max: usize) -> usize {
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut taken = 0;
        while taken < max {
            let Some(hand) = self.hands.get_mut(index).and_then(Option::as_mut) else {
                break;
            };
            match hand.sender.result(&mut buffer) {
                Ok(Some(result)) => {
                    taken += 1;
                    if !self.take(WorkerId::of(index), result, &mut buffer) {
                        self.replace_scribbler(index);
                        break;
                    }
                }
                Ok(None) => break,
                Err(_) => {
                    self.replace_scribbler(index);
                    break;
                }
            }
        }
        self.buffer = buffer;
        if taken > 0
            && let Some(hand) = self.hands.get_mut(index).and_then(Option::as_mut)
        {
            // It may wait for room.
            hand.is_owed_wake = true;
        }
        taken
    }

    /// Takes in what a worker has put; false if no worker of this program puts that.
    fn take(&mut self, worker: WorkerId, result: TaskResult, buffer: &mut Vec<u8>) -> bool {
        let content = match result.kind {
            ResultKind::Ready => {
                self.worker_ready(worker);
                return true;
            }
            ResultKind::Failed => {
                let reason = String::from_utf8_lossy(buffer).into_owned();
                if let Some(hand) = self.hand(worker) {
                    hand.failure = Some(reason);
                }
                return true;
            }
            ResultKind::Item => {
                let content = Content::received(buffer, result.descriptors);
                return self.take_item(worker, result.seq, content);
            }
            ResultKind::Returned => Content::received(buffer, result.descriptors),
            ResultKind::Panicked => {
                let Ok(note) = postcard::from_bytes::<PanicNote>(buffer) else {
                    return false;
                };
                Content::failed(TaskError::TaskPanicked {
                    message: note.message,
                    location: note.location,
                })
            }
            ResultKind::ArgumentsLost => lost(ARGUMENTS, buffer),
            ResultKind::ResultLost => lost(RESULT, buffer),
            _ => return false,
        };
        match self.schedule.returned(worker, result.seq, result.run_time) {
            Ok((task, None)) => self.resolve(task, content),
            Ok((task, Some(why))) => self.resolve(task, stopped(why)),
            Err(_) => return false,
        }
        true
    }

    fn take_item(&mut self, worker: WorkerId, seq: u64, content: Content) -> bool {
        let Some(task) = self.schedule.running(worker, seq) else {
            return false;
        };
        // Who no longer wants them has dropped the stream.
        if let Some(items) = self.streams.get_mut(&task) {
            items.waiting.push_back(content);
            self.woken.extend(items.waker.take());
        }
        true
    }

    /// Kills a worker that has written what none writes; another takes its place.
    fn replace_scribbler(&mut self, index: usize) {
        self.schedule.condemn(WorkerId::of(index));
        if let Some(hand) = self.hands.get_mut(index).and_then(Option::as_mut) {
            tracing::warn!(pid = hand.pid(), "a pool's worker misreports and is killed");
            hand.kill();
        }
    }

    /// Sends what can be sent, and does what else follows from what has happened.
    pub(in crate::pool) fn fill(&mut self) {
        self.send_all();
        if let Some(stealable) = self.schedule.stealable() {
            self.steal(stealable);
        }
        for hand in self.hands.iter_mut().flatten() {
            if std::mem::take(&mut hand.is_owed_wake) {
                hand.sender.wake();
            }
        }
        self.wake_for_room();
        self.needs_keeper |= self.schedule.wants_start()
            || self.schedule.has_leaving()
            || (self.schedule.is_any_timed() && !self.keeper_has_timer);
    }

    fn send_all(&mut self) {
        while let Some(sending) = self.schedule.next() {
            self.send(sending);
        }
    }

    /// Gives an idle worker what waits behind a busy one.
    fn steal(&mut self, first: Sending) {
        let mut next = Some(first);
        while let Some(sending) = next.take() {
            let Some(hand) = self.hand(sending.worker) else {
                return;
            };
            if !hand.sender.revoke(sending.seq) {
                return;
            }
            self.schedule.revoked(sending);
            self.send_all();
            next = self.schedule.stealable();
        }
    }

    fn send(&mut self, sending: Sending) {
        let hand = self.hands.get_mut(sending.worker.index());
        let task = self.schedule.task(sending.task);
        let (Some(hand), Some(task)) = (hand.and_then(Option::as_mut), task) else {
            self.schedule.unsent(sending);
            return;
        };
        let payload = &task.payload;
        let function = self.functions.get(payload.function);
        let function = function.expect("a task's function was added before it");
        let sent = hand.sender.send(function, payload.content.as_task());
        match sent {
            Ok(seq) => {
                assert_eq!(seq, sending.seq, "both sides count alike");
                hand.is_owed_wake = true;
                if let Some(items) = self.streams.get_mut(&sending.task) {
                    items.granted = Items::GRANTED_AT_ONCE;
                    hand.sender.grant(seq, items.granted);
                }
            }
            Err(TaskSendError::Full) => self.schedule.unsent(sending),
            // The keeper is about to see it.
            Err(TaskSendError::Gone) => self.schedule.unsent(sending),
            Err(TaskSendError::Scribbled(_)) => {
                self.schedule.unsent(sending);
                self.replace_scribbler(sending.worker.index());
            }
            Err(error) => {
                self.schedule.unsendable(sending);
                let reason = crate::error::with_causes(&error);
                self.resolve(sending.task, Content::failed(codec(ARGUMENTS, reason)));
            }
        }
    }
}

/// What a task that was stopped is answered.
pub(super) fn stopped(why: Stop) -> Content {
    Content::failed(match why {
        Stop::Cancelled => TaskError::Cancelled,
        Stop::TimedOut => TaskError::TimedOut,
    })
}

fn lost(what: &'static str, reason: &[u8]) -> Content {
    let reason = String::from_utf8_lossy(reason).into_owned();
    Content::failed(codec(what, reason))
}
