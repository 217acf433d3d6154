//! One command that blocks, from its acceptance to its end: where it is, and how it is called back from its server.
//!
//! Its connection alone says what became of it. An element wins over everything that was decided meanwhile; `-UNBLOCKED` and then a PONG say
//! that it has taken none, so that it may be sent again; anything else is `Unknown`. What is asked over the helper's connection only brings the
//! reply about.
//!
//! `-UNBLOCKED` alone is no proof: a server before Redis 7.2 says so of a command that it holds up (CLIENT PAUSE), and runs it when the pause is
//! over. A PING goes to the command's connection together with UNBLOCK. If the command runs again, its second reply comes before the PONG; if it
//! waits again, it is called back again.
//!
//! # State by state
//!
#![doc = include_str!("../../../docs/blocked.md")]

mod decision;
#[cfg(feature = "explore")]
mod fingerprint;
mod stage;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use bytes::Bytes;

pub(in crate::client) use self::decision::Decision;
pub(in crate::client) use self::stage::Place;
use self::stage::{Ends, LONGEST_PAUSE, Next, Reason, Stage, Step, VAIN_QUESTIONS, questions_in};
use super::Answer;
use super::reply::{Said, is_denied, is_pong};
use crate::command_table::{Blocker, Blocking, Takes};
use crate::error::{Delivery, RequestError};
use crate::request::{Outcome, Replies, Timeout, with_word};
use crate::timer::{after, earliest};

/// The pause before the server is asked again; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// How long a server is asked when the time is over.
const LAST_QUESTION: Duration = Duration::from_millis(1);

/// What was sent on the successor while the command still waits on its connection.
#[derive(Clone, Debug, Default)]
struct Joined {
    has_begun: bool,
    replies: Option<Replies>,
}

/// A command, and how far it is.
#[derive(Clone, Debug)]
pub(super) struct Command {
    payload: Bytes,
    blocker: Blocker,
    timeout: Timeout,
    /// A server is to say that there is nothing, be it after its time.
    asks_last: bool,
    accepted_at: Instant,
    /// When it was sent last.
    sent_at: Instant,
    ends: Ends,
    deadline: Option<Instant>,
    reason: Option<Reason>,
    stage: Stage,
    joined: Option<Joined>,
    /// A PING was written behind it, and is not answered.
    awaits_pong: bool,
    /// The server has answered UNBLOCK by 1.
    was_hit: bool,
    /// Its reply was `-UNBLOCKED`; the next reply on its connection shows whether that is the end of it.
    says_unblocked: bool,
    /// Its connection may serve somebody else afterwards.
    may_stay: bool,
    pause: Duration,
    /// How often the server has answered in vain since nobody waits.
    vain: u32,
}

impl Command {
    /// A command that was accepted and waits for a connection.
    pub(super) fn new(
        accepted_at: Instant,
        payload: Bytes,
        blocker: Blocker,
        timeout: Timeout,
        asks_last: bool,
    ) -> Self {
        let deadline = match timeout {
            Timeout::Explicit(timeout) => Some(after(accepted_at, timeout)),
            Timeout::Configured => None,
        };
        Self {
            payload,
            blocker,
            timeout,
            asks_last,
            accepted_at,
            sent_at: accepted_at,
            ends: Ends::Open,
            deadline,
            reason: None,
            stage: Stage::Waiting,
            joined: None,
            awaits_pong: false,
            was_hit: false,
            says_unblocked: false,
            may_stay: true,
            pause: FIRST_PAUSE,
            vain: 0,
        }
    }

    /// It has a connection: its first one, another one, or the one that it was sent on before. `limit` is what the client allows a
    /// command beyond the time at the server.
    pub(super) fn handle_placed(&mut self, now: Instant, limit: Option<Duration>, say: &mut Vec<Decision>) {
        if !matches!(self.stage, Stage::Waiting | Stage::MovingOn) {
            return;
        }
        (self.may_stay, self.awaits_pong, self.was_hit, self.says_unblocked) = (true, false, false, false);
        if self.gives_up(say) {
            return;
        }
        // A pause behind a refusal goes on to grow.
        let is_retry = self.stage == Stage::Waiting && self.ends != Ends::Open;
        if !is_retry {
            self.pause = FIRST_PAUSE;
        }
        (self.reason, self.stage) = (None, Stage::Sent(Step::Nothing));
        if let Some(joined) = self.joined.take() {
            say.push(Decision::TakeOver);
            if let Some(replies) = joined.replies {
                self.handle_outcome(now, Ok(replies), false, say);
            }
            return;
        }
        let is_first = self.ends == Ends::Open;
        if is_first {
            self.ends = match self.blocker.time {
                Some(Blocking::For(time)) => Ends::At(after(now, time)),
                Some(Blocking::ForEver) | None => Ends::Never,
            };
        }
        let mut left = self.left(now);
        if !is_first && left.is_some_and(|left| left.is_zero()) {
            if !self.asks_last {
                return self.end_empty(say);
            }
            left = Some(LAST_QUESTION);
        }
        self.sent_at = now;
        if self.timeout == Timeout::Configured {
            self.deadline = self.deadline_by(limit);
        }
        say.push(Decision::Issue(left.filter(|_| !is_first)));
    }

    /// It did not run, and there is no successor to send it on: it stays where it is, once that is verified.
    pub(super) fn handle_staying(&mut self, now: Instant, say: &mut Vec<Decision>) {
        if self.stage != Stage::MovingOn {
            return;
        }
        match self.joined.take().and_then(|joined| joined.replies) {
            Some(replies) => {
                self.may_stay = false;
                self.end_with(replies, say);
                self.leave(say);
            }
            None => self.verify(now, say),
        }
    }

    /// It did not run, and there is no connection on which it could be sent again.
    pub(super) fn handle_unplaced(&mut self, say: &mut Vec<Decision>) {
        if self.stage == Stage::MovingOn && !self.gives_up(say) {
            (self.stage, self.reason) = (Stage::Waiting, None);
            say.push(Decision::Wait);
        }
    }

    /// There is no connection for it.
    pub(super) fn handle_refused(&mut self, error: RequestError, say: &mut Vec<Decision>) {
        if self.stage == Stage::Waiting {
            self.complete(Err(error), say);
            self.stage = Stage::Over;
        }
    }

    /// How it has ended on its connection. `in_window`: maintenance is under way there.
    pub(super) fn handle_outcome(
        &mut self,
        now: Instant,
        outcome: Outcome,
        in_window: bool,
        say: &mut Vec<Decision>,
    ) {
        let Stage::Sent(step) = self.stage else { return };
        if self.says_unblocked {
            return;
        }
        let is_lost = outcome.is_err();
        let next = match outcome {
            Ok(replies) => self.judge(now, replies, in_window, say),
            Err(error) => {
                self.leave_successor(say);
                match error.delivery() {
                    Delivery::NotSent if !matches!(error, RequestError::ShutDown { .. }) => Next::Again,
                    _ => {
                        self.complete(Err(error), say);
                        Next::Return
                    }
                }
            }
        };
        match next {
            Next::Verify => self.verify(now, say),
            next => self.end_there(now, (step, is_lost), next, say),
        }
    }

    /// The PING behind the command has a reply. A reply that is neither a PONG nor an error is the command's second one: the server had held the
    /// command up, and has run it.
    pub(super) fn handle_probed(&mut self, now: Instant, outcome: Outcome, say: &mut Vec<Decision>) {
        if !std::mem::take(&mut self.awaits_pong) {
            return;
        }
        let is_pong = outcome.as_ref().is_ok_and(|replies| is_pong(replies.first()));
        match self.stage {
            Stage::Sent(step) if self.says_unblocked => {
                self.may_stay &= is_pong;
                let is_lost = outcome.is_err();
                let next = match outcome {
                    Ok(_) if is_pong => Next::MoveOn,
                    Ok(replies) => self.judge_second(replies, say),
                    Err(mut error) => {
                        error.set_unknown();
                        self.complete(Err(error), say);
                        Next::Return
                    }
                };
                match next {
                    Next::Verify => self.verify(now, say),
                    next => self.end_there(now, (step, is_lost), next, say),
                }
            }
            Stage::Answered { next, is_unblocking, .. } => {
                self.may_stay &= is_pong;
                if !is_unblocking {
                    self.perform(next, say);
                }
            }
            _ => {}
        }
    }

    /// What was sent on the successor has ended there.
    pub(super) fn handle_joined(&mut self, outcome: Outcome, say: &mut Vec<Decision>) {
        let Some(joined) = &mut self.joined else { return };
        match outcome {
            Ok(replies) => {
                (joined.has_begun, joined.replies) = (true, Some(replies));
                if self.stage == Stage::Sent(Step::Joining) {
                    self.ask(say);
                }
            }
            Err(_) => {
                self.joined = None;
                if let Stage::Sent(Step::Joining | Step::Resting { .. }) = self.stage
                    && !(self.was_hit || self.says_unblocked)
                {
                    // The next successor begins anew.
                    (self.stage, self.reason) = (Stage::Sent(Step::Nothing), None);
                }
            }
        }
    }

    /// What the server has answered over the helper's connection.
    pub(super) fn handle_answer(&mut self, now: Instant, answer: Answer, say: &mut Vec<Decision>) {
        match (&self.stage, answer) {
            (Stage::Sent(Step::Joining), Answer::Waits) => {
                self.joined.iter_mut().for_each(|joined| joined.has_begun = true);
                self.ask(say);
            }
            (Stage::Sent(Step::Asking), Answer::Waits) => {
                self.stage = Stage::Sent(Step::Unblocking);
                if self.blocker.takes == Takes::Elements {
                    self.probe(say);
                }
                say.push(Decision::Unblock);
            }
            (Stage::Sent(Step::Joining | Step::Asking), Answer::NotYet)
            | (Stage::Sent(Step::Unblocking), Answer::Unblocked(false)) => self.ask_again(now, 1, say),
            // A server that is silent may have the command waiting, and so it is asked as long as one that answers in vain.
            (Stage::Sent(step @ (Step::Joining | Step::Asking | Step::Unblocking)), Answer::Late(after)) => {
                // An UNBLOCK that may still be carried out must find nothing else there.
                self.may_stay &= *step != Step::Unblocking;
                self.ask_again(now, questions_in(after), say);
            }
            // A server that could not be asked has said nothing.
            (Stage::Sent(Step::Joining | Step::Asking | Step::Unblocking), Answer::NotSent) => self.rest(now),
            // What it says to that is on its way.
            (Stage::Sent(Step::Unblocking), Answer::Unblocked(true)) => {
                self.was_hit = true;
                self.pause = LONGEST_PAUSE;
                self.ask_again(now, 1, say);
            }
            (Stage::Sent(Step::Unblocking), Answer::Impossible | Answer::Waits | Answer::NotYet) => {
                // Whether it is still to be carried out is not known.
                self.may_stay = false;
                self.stick(say);
            }
            (Stage::Sent(Step::Joining | Step::Asking), Answer::Impossible | Answer::Unblocked(_)) => {
                self.stick(say);
            }
            (Stage::Answered { next, is_unblocking: true, until }, answer) => {
                let (next, until) = (*next, *until);
                self.may_stay &= matches!(answer, Answer::Unblocked(_) | Answer::NotSent);
                match self.is_pong_needed() {
                    true => self.stage = Stage::Answered { next, is_unblocking: false, until },
                    false => self.perform(next, say),
                }
            }
            (
                Stage::Waiting
                | Stage::Paused { .. }
                | Stage::Sent(Step::Nothing | Step::Resting { .. } | Step::Stuck)
                | Stage::Answered { is_unblocking: false, .. }
                | Stage::MovingOn
                | Stage::Over,
                _,
            ) => {}
        }
    }

    /// A successor of its connection is ready.
    pub(super) fn handle_successor(&mut self, now: Instant, say: &mut Vec<Decision>) {
        if self.stage != Stage::Sent(Step::Nothing) {
            return;
        }
        self.reason = Some(Reason::Move);
        match self.blocker.takes {
            Takes::Elements => self.ask(say),
            Takes::Nothing => {
                self.joined = Some(Joined::default());
                say.push(Decision::Join(self.left(now)));
                self.ask(say);
            }
        }
    }

    /// Its connection is given up, and what was written there is still awaited.
    pub(super) fn handle_lost(&mut self, say: &mut Vec<Decision>) {
        self.may_stay = false;
        self.leave_successor(say);
    }

    /// Nobody waits for it any more.
    pub(super) fn handle_dropped(&mut self, say: &mut Vec<Decision>) {
        self.reason = Some(Reason::Dropped);
        self.leave_successor(say);
        match self.stage {
            Stage::Waiting | Stage::Paused { .. } => self.leave(say),
            Stage::Sent(Step::Nothing | Step::Joining) => self.ask(say),
            Stage::Sent(Step::Stuck) => self.cut_off(say),
            Stage::Sent(Step::Asking | Step::Unblocking | Step::Resting { .. })
            | Stage::Answered { .. }
            | Stage::MovingOn
            | Stage::Over => {}
        }
    }

    /// The client shuts down.
    pub(super) fn handle_shutdown(&mut self, say: &mut Vec<Decision>) {
        if self.reason >= Some(Reason::ShutDown) {
            return;
        }
        self.reason = Some(Reason::ShutDown);
        self.leave_successor(say);
        match self.stage {
            Stage::Waiting | Stage::Paused { .. } => {
                self.gives_up(say);
            }
            Stage::Sent(Step::Nothing | Step::Joining) => self.ask(say),
            Stage::Sent(_) | Stage::Answered { .. } | Stage::MovingOn | Stage::Over => {}
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, say: &mut Vec<Decision>) {
        let is_due = |at: Instant| at <= now;
        if self.is_wanted()
            && let Some(deadline) = self.deadline.filter(|at| is_due(*at))
        {
            let delivery = match self.stage {
                Stage::Sent(_) | Stage::Over => Delivery::Unknown,
                // Where it has ended and somebody waits, it did not run.
                Stage::Waiting | Stage::Paused { .. } | Stage::MovingOn | Stage::Answered { .. } => {
                    Delivery::NotSent
                }
            };
            let after = deadline.saturating_duration_since(self.accepted_at);
            self.complete(Err(RequestError::TimedOut { after, delivery }), say);
            return self.handle_dropped(say);
        }
        match self.stage {
            Stage::Waiting | Stage::Paused { .. } if self.ends_unasked().is_some_and(is_due) => {
                self.end_empty(say);
            }
            Stage::Paused { until } if is_due(until) => {
                self.stage = Stage::Waiting;
                say.push(Decision::Wait);
            }
            Stage::Sent(Step::Resting { until }) if is_due(until) => self.ask(say),
            Stage::Answered { next, until, .. } if is_due(until) => {
                self.may_stay = false;
                self.perform(next, say);
            }
            _ => {}
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let own = match self.stage {
            Stage::Waiting => self.ends_unasked(),
            Stage::Paused { until } => earliest([Some(until), self.ends_unasked()]),
            Stage::Sent(Step::Resting { until }) | Stage::Answered { until, .. } => Some(until),
            Stage::Sent(_) | Stage::MovingOn | Stage::Over => None,
        };
        earliest([own, self.deadline.filter(|_| self.is_wanted())])
    }

    /// A window is open: extends its time, unless the caller has chosen that.
    pub(super) fn relax(&mut self, relaxed: Duration) {
        if self.timeout == Timeout::Configured && self.deadline.is_some() {
            self.deadline = self.deadline.max(self.deadline_by(Some(relaxed)));
        }
    }

    pub(super) fn blocker(&self) -> &Blocker {
        &self.blocker
    }

    /// What is sent so that the server waits for `left`, or for as long as the caller has asked for, and how long that is.
    pub(super) fn payload(&self, left: Option<Duration>) -> Option<(Bytes, Option<Blocking>)> {
        let Some(left) = left else { return Some((self.payload.clone(), self.blocker.time)) };
        let (place, word) = self.blocker.word_for(left)?;
        Some((with_word(&self.payload, place, &word)?, Some(Blocking::For(left))))
    }

    /// Whether somebody waits for it.
    pub(super) fn is_wanted(&self) -> bool {
        self.reason != Some(Reason::Dropped) && self.stage != Stage::Over
    }

    /// Whether its reply is awaited on a connection.
    pub(super) fn is_sent(&self) -> bool {
        matches!(self.stage, Stage::Sent(_))
    }

    pub(super) fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// Whether it may still have to be called back.
    pub(super) fn may_need_helper(&self) -> bool {
        !matches!(self.stage, Stage::Sent(Step::Stuck) | Stage::Over)
    }

    /// What a reply calls for. A command that has ended says so.
    fn judge(&mut self, now: Instant, replies: Replies, in_window: bool, say: &mut Vec<Decision>) -> Next {
        let reply = Said::of(replies.first());
        let is_ours = self.reason.is_some() || reply == Said::SentAway;
        if matches!(reply, Said::Unblocked | Said::SentAway) && is_ours {
            let has_begun = self.joined.as_ref().is_some_and(|joined| joined.has_begun);
            let misses = self.blocker.is_from_now && !has_begun;
            let takes_nothing = self.blocker.takes == Takes::Nothing;
            if reply == Said::SentAway {
                self.may_stay = false;
            } else if !takes_nothing || self.reason > Some(Reason::Move) {
                return Next::Verify;
            }
            if !misses || self.reason > Some(Reason::Move) {
                return Next::MoveOn;
            }
        }
        self.leave_successor(say);
        if reply == Said::Refused && in_window && self.reason <= Some(Reason::Move) {
            let until = after(now, self.next_pause());
            return Next::Rest { until };
        }
        self.end_with(replies, say);
        // Somebody else has sent it away: its caller is told, and the server may run it nevertheless.
        if reply == Said::Unblocked { Next::Verify } else { Next::Return }
    }

    /// What a reply behind `-UNBLOCKED` calls for, which is no PONG.
    fn judge_second(&mut self, replies: Replies, say: &mut Vec<Decision>) -> Next {
        match Said::of(replies.first()) {
            Said::Unblocked => Next::Verify,
            Said::SentAway | Said::Refused => Next::MoveOn,
            // The user has no right to PING: what stands before it is over.
            _ if is_denied(replies.first()) => Next::MoveOn,
            _ => {
                self.end_with(replies, say);
                Next::Return
            }
        }
    }

    /// The command has ended on its connection. `is_lost`: so has the connection.
    fn end_there(
        &mut self,
        now: Instant,
        (step, is_lost): (Step, bool),
        next: Next,
        say: &mut Vec<Decision>,
    ) {
        let is_unblocking = step == Step::Unblocking;
        // Where its connection is lost nothing follows there that UNBLOCK could hit.
        self.may_stay &= !is_lost;
        if is_lost || !(is_unblocking || self.is_pong_needed()) {
            self.perform(next, say);
        } else {
            self.stage =
                Stage::Answered { next, is_unblocking, until: after(now, VAIN_QUESTIONS * LONGEST_PAUSE) };
        }
    }

    /// Whether its connection is to be used again, and has a PING to answer before.
    fn is_pong_needed(&self) -> bool {
        self.awaits_pong && self.may_stay
    }

    /// It has ended with these replies, which are its caller's, or an orphan.
    fn end_with(&mut self, replies: Replies, say: &mut Vec<Decision>) {
        let has_taken = Said::of(replies.first()) == Said::Something && self.blocker.takes == Takes::Elements;
        if self.is_wanted() {
            self.complete(Ok(replies), say);
        } else if has_taken {
            say.push(Decision::Orphan(replies));
        }
    }

    fn perform(&mut self, next: Next, say: &mut Vec<Decision>) {
        if next == Next::Return {
            return self.leave(say);
        }
        if self.gives_up(say) {
            return;
        }
        match next {
            Next::MoveOn => {
                self.stage = Stage::MovingOn;
                say.push(Decision::MoveOn { may_stay: self.may_stay, is_verified: self.says_unblocked });
            }
            Next::Rest { until } => {
                say.push(Decision::Return { may_stay: self.may_stay });
                (self.stage, self.reason) = (Stage::Paused { until }, None);
            }
            Next::Again => {
                say.extend([Decision::Return { may_stay: self.may_stay }, Decision::Wait]);
                (self.stage, self.reason) = (Stage::Waiting, None);
            }
            Next::Return | Next::Verify => {}
        }
    }

    /// The server says that it has sent the command away. The next reply there is the proof, or the command's second reply. If none comes, the
    /// command may wait there again, so the server is asked.
    fn verify(&mut self, now: Instant, say: &mut Vec<Decision>) {
        self.says_unblocked = true;
        self.probe(say);
        if self.stage != Stage::Sent(Step::Unblocking) {
            self.pause = LONGEST_PAUSE;
            self.rest(now);
        }
    }

    /// Has its connection answer a PING behind it.
    fn probe(&mut self, say: &mut Vec<Decision>) {
        if !std::mem::replace(&mut self.awaits_pong, true) {
            say.push(Decision::Probe);
        }
    }

    /// It has not run and is not to be sent again, because nobody waits for it or the client shuts down.
    fn gives_up(&mut self, say: &mut Vec<Decision>) -> bool {
        match self.reason {
            None | Some(Reason::Move) => return false,
            Some(Reason::ShutDown) => {
                self.complete(Err(RequestError::ShutDown { delivery: Delivery::NotSent }), say);
            }
            Some(Reason::Dropped) => {}
        }
        self.leave(say);
        true
    }

    /// Asks first whether it has begun where it was sent as well, and then whether it waits where it was.
    fn ask(&mut self, say: &mut Vec<Decision>) {
        let joins = self.joined.as_ref().is_some_and(|joined| !joined.has_begun);
        let (step, place) = if joins { (Step::Joining, Place::There) } else { (Step::Asking, Place::Here) };
        self.stage = Stage::Sent(step);
        say.push(Decision::Ask(place));
    }

    /// Asks the server again after a pause: it does not show the command waiting, has not ended what it was told to send away, or is silent. The
    /// connection is closed after so many vain questions if nobody waits for the command; this one counts as `questions`.
    fn ask_again(&mut self, now: Instant, questions: u32, say: &mut Vec<Decision>) {
        self.vain = self.vain.saturating_add(questions * u32::from(!self.is_wanted()));
        if self.vain >= VAIN_QUESTIONS {
            return self.cut_off(say);
        }
        self.rest(now);
    }

    /// To close its connection is what is left.
    fn cut_off(&mut self, say: &mut Vec<Decision>) {
        self.may_stay = false;
        self.leave(say);
    }

    fn rest(&mut self, now: Instant) {
        let until = after(now, self.next_pause());
        self.stage = Stage::Sent(Step::Resting { until });
    }

    fn next_pause(&mut self) -> Duration {
        let next = self.pause.saturating_mul(2).min(LONGEST_PAUSE);
        std::mem::replace(&mut self.pause, next)
    }

    /// It cannot be called back.
    fn stick(&mut self, say: &mut Vec<Decision>) {
        self.stage = Stage::Sent(Step::Stuck);
        if !self.is_wanted() {
            self.handle_dropped(say);
        }
    }

    fn leave_successor(&mut self, say: &mut Vec<Decision>) {
        if self.joined.take().is_some_and(|joined| joined.replies.is_none()) {
            // Nobody moves from its connection any more.
            self.may_stay = false;
            say.push(Decision::Leave);
        }
    }

    fn leave(&mut self, say: &mut Vec<Decision>) {
        self.leave_successor(say);
        self.stage = Stage::Over;
        say.push(Decision::Return { may_stay: self.may_stay });
    }

    fn end_empty(&mut self, say: &mut Vec<Decision>) {
        say.push(Decision::CompleteEmpty);
        self.reason = Some(Reason::Dropped);
        self.leave(say);
    }

    /// Tells the caller, if there is one, who waits no more.
    fn complete(&mut self, outcome: Outcome, say: &mut Vec<Decision>) {
        if self.is_wanted() {
            say.push(Decision::Complete(outcome));
            self.reason = Some(Reason::Dropped);
        }
    }

    /// When its time is over where no server has it, if that is its end.
    fn ends_unasked(&self) -> Option<Instant> {
        self.ends.at().filter(|_| !self.asks_last)
    }

    /// How long its server is still to wait; `None` is for ever.
    fn left(&self, now: Instant) -> Option<Duration> {
        self.ends.at().map(|at| at.saturating_duration_since(now))
    }

    /// When it is due, if the client allows a command so long beyond its time at the server.
    fn deadline_by(&self, limit: Option<Duration>) -> Option<Instant> {
        let from = match self.blocker.time {
            None => self.sent_at,
            Some(Blocking::For(_)) => self.ends.at()?,
            Some(Blocking::ForEver) => return None,
        };
        limit.map(|limit| after(from, limit))
    }
}
