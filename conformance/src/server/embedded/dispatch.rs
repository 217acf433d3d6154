//! From a request to the function that runs it, through the checks in the order of redis.

use std::time::Instant;

use bytes::Bytes;
use resp3_codec::Frame;

use super::super::backend::{Condition, Effect, Effects, Protocol};
use super::super::flow::unknown_command;
use super::super::machine::{CloseHow, ServerConn};
use super::super::request::{Request, decimal};
use super::Dataset;
use super::session::{Session, Transaction};
use super::store::WrongType;
use super::table::{self, Class, Spec};
use super::tracking;

pub(super) const NO_AUTH: &str = "NOAUTH Authentication required.";
pub(super) const NOT_AN_INTEGER: &str = "ERR value is not an integer or out of range";
pub(super) const SYNTAX: &str = "ERR syntax error";

/// What a command answers.
#[derive(Debug)]
pub(super) enum Answer {
    /// One frame.
    Frame(Frame),
    /// Several: the confirmations of a `SUBSCRIBE`.
    Frames(Vec<Frame>),
    /// Nothing yet: the client waits.
    Later,
}

/// Why a command failed, in the words of redis.
#[derive(Debug)]
pub(super) struct Failure(Bytes);

/// The outcome of a command.
pub(super) type Outcome = Result<Answer, Failure>;

impl Failure {
    pub(super) fn frame(self) -> Frame {
        Frame::Error(self.0)
    }
}

impl From<&'static str> for Failure {
    fn from(text: &'static str) -> Self {
        Self(Bytes::from_static(text.as_bytes()))
    }
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self(Bytes::from(text))
    }
}

impl From<WrongType> for Failure {
    fn from(_: WrongType) -> Self {
        "WRONGTYPE Operation against a key holding the wrong kind of value".into()
    }
}

impl From<Frame> for Answer {
    fn from(frame: Frame) -> Self {
        Self::Frame(frame)
    }
}

/// A command being run.
pub(super) struct Call<'a> {
    pub(super) now: Instant,
    pub(super) conn: ServerConn,
    pub(super) request: &'a Request,
    pub(super) data: &'a mut Dataset,
    pub(super) session: &'a mut Session,
    pub(super) effects: &'a mut Effects,
    /// Inside `EXEC` or a script, where nothing blocks.
    pub(super) in_exec: bool,
}

impl Call<'_> {
    /// The argument at `index`; the name is at 0. Arity has been checked.
    pub(super) fn arg(&self, index: usize) -> &Bytes {
        &self.request.words()[index]
    }

    /// The arguments without the name.
    pub(super) fn args(&self) -> &[Bytes] {
        &self.request.words()[1..]
    }

    pub(super) fn integer(&self, index: usize) -> Result<i64, Failure> {
        decimal(self.arg(index)).ok_or_else(|| NOT_AN_INTEGER.into())
    }
}

pub(super) fn ok() -> Outcome {
    Ok(Frame::Simple(Bytes::from_static(b"OK")).into())
}

pub(super) fn integer(number: usize) -> Frame {
    Frame::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

pub(super) fn bulk(text: impl Into<Bytes>) -> Frame {
    Frame::Bulk(text.into())
}

impl Dataset {
    /// Runs a request of a connection that is not blocked.
    pub(super) fn execute(
        &mut self,
        now: Instant,
        conn: ServerConn,
        request: &Request,
        effects: &mut Effects,
    ) {
        // Taken out for the time of the call: commands change the session and the data set at once.
        let Some(mut session) = self.sessions.remove(&conn) else { return };
        let outcome = match self.admit(now, &session, request) {
            Ok(spec) => {
                session.last_command = Some(request.clone());
                match queue_in(session.transaction.as_mut(), spec, request) {
                    Some(queued) => Ok(queued),
                    None => self.run(now, conn, &mut session, spec, request, effects, false),
                }
            }
            Err(failure) => {
                if let Some(transaction) = &mut session.transaction {
                    transaction.aborted = true;
                }
                Err(failure)
            }
        };
        let mut reply = |frame| {
            effects.push_back(Effect::Reply { conn, request: request.clone(), frame: session.fit(frame) });
        };
        match outcome {
            Ok(Answer::Frame(frame)) => reply(frame),
            Ok(Answer::Frames(frames)) => frames.into_iter().for_each(reply),
            Ok(Answer::Later) => {}
            Err(failure) => reply(failure.frame()),
        }
        if session.transaction.is_none() && !request.is("ASKING") {
            session.asking = false;
        }
        self.sessions.insert(conn, session);
        if request.is("QUIT") {
            effects.push_back(Effect::Close { conn, how: CloseHow::Fin });
        }
    }

    /// Runs a command and enters it in the ledger.
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of a call, taken apart because EXEC runs several"
    )]
    pub(super) fn run(
        &mut self,
        now: Instant,
        conn: ServerConn,
        session: &mut Session,
        spec: &Spec,
        request: &Request,
        effects: &mut Effects,
        in_exec: bool,
    ) -> Outcome {
        self.note_arrivals(session, spec, request);
        let outcome = (spec.run)(&mut Call { now, conn, request, data: self, session, effects, in_exec });
        if outcome.is_ok() {
            tracking::note(session, spec, request);
        }
        if !matches!(outcome, Ok(Answer::Later)) {
            effects.push_back(Effect::Executed { conn, request: request.clone(), ok: outcome.is_ok() });
        }
        outcome
    }

    /// Everything that may refuse a command before it runs.
    pub(super) fn admit(
        &self,
        now: Instant,
        session: &Session,
        request: &Request,
    ) -> Result<&'static Spec, Failure> {
        let spec = table::find(request.name()).ok_or_else(|| unknown_command(request))?;
        let words = i16::try_from(request.words().len()).unwrap_or(i16::MAX);
        if (spec.arity > 0 && words != spec.arity) || words < spec.arity.abs() {
            return Err(wrong_number(spec.name));
        }
        let Some(user) = &session.user else {
            return if spec.class.before_authentication() { Ok(spec) } else { Err(NO_AUTH.into()) };
        };
        let denied =
            self.users.get(user).is_some_and(|user| user.denied.iter().any(|words| request.is(words)));
        if denied {
            let command = full_name(request);
            return Err(
                format!("NOPERM User {user} has no permissions to run the '{command}' command").into()
            );
        }
        if let Some(elsewhere) = self.redirection(now, session, spec, request) {
            return Err(elsewhere.into());
        }
        if session.protocol == Protocol::Resp2
            && session.subscriptions() > 0
            && !spec.class.while_subscribed()
        {
            return Err(format!(
                "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in \
                 this context",
                spec.name
            )
            .into());
        }
        self.refusal(session, spec).map_or(Ok(spec), |refusal| Err(refusal.into()))
    }

    /// What the node says to a command that it is in no state to run.
    pub(super) fn refusal(&self, session: &Session, spec: &Spec) -> Option<&'static str> {
        match self.condition(session.endpoint) {
            Condition::Loading if spec.class.touches_data() => {
                Some("LOADING Redis is loading the dataset in memory")
            }
            Condition::MasterDown if spec.class.touches_data() => {
                Some("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.")
            }
            Condition::ReadOnly if spec.class == Class::Write => {
                Some("READONLY You can't write against a read only replica.")
            }
            _ => None,
        }
    }
}

/// `get`, `client|id`: how ACL and `CLIENT LIST` name a command.
pub(super) fn full_name(request: &Request) -> String {
    let lower = |word: &[u8]| String::from_utf8_lossy(word).to_ascii_lowercase();
    let name = lower(request.name());
    match request.key().filter(|_| matches!(&name[..], "client" | "config")) {
        Some(sub) => format!("{name}|{}", lower(sub)),
        None => name,
    }
}

pub(super) fn wrong_number(name: &str) -> Failure {
    format!("ERR wrong number of arguments for '{name}' command").into()
}

/// Inside a transaction all but a few commands wait for `EXEC`.
fn queue_in(transaction: Option<&mut Transaction>, spec: &Spec, request: &Request) -> Option<Answer> {
    let transaction = transaction?;
    if matches!(spec.name, "exec" | "discard" | "multi" | "watch" | "quit" | "reset") {
        return None;
    }
    transaction.queue.push(request.clone());
    Some(Frame::Simple(Bytes::from_static(b"QUEUED")).into())
}
