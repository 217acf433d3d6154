//! What callers ask for: requests, their classes, and what may be done with them when something breaks.

mod packed;
mod pipeline;

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use resp3_codec::{Command, Frame, cmd};
use smallvec::SmallVec;
use thiserror::Error;

#[cfg(feature = "driver")]
pub(crate) use self::packed::Packed;
pub use self::packed::PackedError;
pub(crate) use self::packed::{Commands, with_word};
pub use self::pipeline::Pipeline;
use crate::command_table::{self, Blocker, Blocking, OnLease, StateChange, Verdict, Words};
use crate::endpoint::Endpoint;
use crate::error::{CloseCause, ConnectError, RequestError, RouteError, to_server};
use crate::slots::key_slot;

/// The replies of one request, in order; inline for the usual one.
///
/// `Debug` shows the values of all of them, each cut as [`Frame`] says.
pub type Replies = SmallVec<[Frame; 1]>;

/// How a request ended. Error replies of the server are replies, not errors.
pub type Outcome = Result<Replies, RequestError>;

/// How a request travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Class {
    /// One or more independent commands on a shared, pipelined connection.
    Shared,
    /// MULTI .. EXEC as one batch of n + 2 replies: wholly on one connection, never repeated in part.
    Atomic,
    /// On the connection of a lease and on no other one; never sent again, whatever was refused or lost.
    Leased,
    /// One command that waits at its server (BLPOP and its kin), on a connection that it has for itself while it waits. A move takes
    /// it along, and it is sent again only where the server has proved that it did not run.
    Blocking,
}

/// May a request be written a second time when its connection is lost before the reply?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Replay {
    /// Not even from the queue: if its connection is lost, it fails.
    Never,
    /// Only if no byte of it was handed out. The default for writes.
    IfUnsent,
    /// Twice at most, and alone on its connection: the caller, or the command table, says that running it again does no
    /// harm. Not when its own reply could not be read, because the next link would bring the same one.
    Idempotent,
}

impl Replay {
    /// What the table of commands says of this one: by name and arguments, because some reads write if they are told to
    /// (SORT .. STORE, GETEX).
    ///
    /// ```
    /// use hitless_core::cmd;
    /// use hitless_core::request::Replay;
    ///
    /// assert_eq!(Replay::of(&cmd("GET").arg("k")), Ok(Replay::Idempotent));
    /// assert_eq!(Replay::of(&cmd("GETDEL").arg("k")), Ok(Replay::IfUnsent));
    /// assert!(Replay::of(&cmd("SELECT").arg(1)).is_err());
    /// ```
    ///
    /// # Errors
    /// [`RefusedCommand`] for a command that a shared connection cannot carry; it says what to use instead.
    pub fn of(command: &Command) -> Result<Self, RefusedCommand> {
        Self::of_words(command)
    }

    fn of_words(command: &impl Words) -> Result<Self, RefusedCommand> {
        match command_table::verdict(command) {
            Verdict::ReadOnly => Ok(Self::Idempotent),
            Verdict::MayWrite => Ok(Self::IfUnsent),
            Verdict::Refused { command, instead } => Err(RefusedCommand { command, instead }),
        }
    }
}

/// The timeout of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Timeout {
    /// The client's command timeout, relaxed during maintenance. The time that a command asks its server to block is added to
    /// it: `BLPOP q 0` has no timeout.
    #[default]
    Configured,
    /// The caller's own, from acceptance, or from the call if it waits for room; never relaxed, because the caller chose it.
    Explicit(Duration),
}

/// What few requests have, and keep behind one pointer, because all of them are moved about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Special {
    /// What the commands change on their connection, each with the place of its reply.
    pub(crate) changes: Vec<(u32, StateChange)>,
    /// How long the commands may block, all together; nothing on a shared connection. A byte may not come for that long.
    pub(crate) blocking: Option<Blocking>,
    /// It is a PING behind a command that the server may answer a second time: see [`Request::probe`].
    pub(crate) is_probe: bool,
    /// Whoever has sent it finds out whether `-UNBLOCKED` is the end of it.
    pub(crate) is_proved: bool,
    /// Where it goes in a cluster, if the caller has said so.
    slot: Option<u16>,
}

impl Special {
    /// `None` if there is nothing special.
    pub(crate) fn new(changes: Vec<(u32, StateChange)>, blocking: Option<Blocking>) -> Option<Arc<Self>> {
        let is_special = !changes.is_empty() || blocking.is_some();
        is_special.then(|| Arc::new(Self { changes, blocking, ..Self::default() }))
    }
}

/// One unit of work: bytes that are written together to one connection, and the number of replies they call for.
///
/// `Debug` shows how many bytes it has and not what they are: the arguments of commands may be secrets.
#[derive(Clone)]
pub struct Request {
    pub(crate) payload: Bytes,
    pub(crate) replies: NonZeroU32,
    pub(crate) class: Class,
    pub(crate) replay: Replay,
    pub(crate) timeout: Timeout,
    /// A script is among its commands: it may answer anything after it has written.
    pub(crate) has_script: bool,
    pub(crate) vetting: Vetting,
    pub(crate) special: Option<Arc<Special>>,
}

/// What is known of the commands of a request. (One byte more, and a request would not fit where it does.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Vetting {
    /// Somebody has looked at them.
    Checked,
    /// Nobody has.
    Unchecked,
    /// They only read, and are sent to a replica. Their primary can run them as well, so they come back at once where they would have to wait.
    #[allow(dead_code, reason = "the driver alone has clients of clusters")]
    AtReplica,
}

/// How much a request has to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// One write carries it, and others with it.
    Small,
    /// One write does not carry it: it has more than [`LARGE`] bytes.
    Large,
}

/// What to do with a command that would end the transaction that it is in.
const IN_BATCH: &str =
    "an atomic pipeline begins and ends its transaction by itself: send it before or behind";

/// As many bytes as one write takes.
pub(crate) const LARGE: usize = 64 * 1024;

impl Request {
    /// One command.
    ///
    /// # Errors
    /// [`RefusedCommand`] for commands that would break a shared connection for everybody else (SELECT, MULTI,
    /// SUBSCRIBE, ...): it says what to use instead. Those that block have a connection of their own ([`Class::Blocking`]).
    pub fn command(command: Command) -> Result<Self, RefusedCommand> {
        let replay = match Replay::of(&command) {
            Ok(replay) => replay,
            Err(refused) => {
                let blocker = Blocker::of(&command).ok_or(refused)?;
                return Ok(Self::waiting(command.into_bytes(), blocker));
            }
        };
        // No script is a read: this spares reads a look at the name.
        let has_script = replay != Replay::Idempotent && command_table::is_script(&command);
        Ok(Self {
            payload: command.into_bytes(),
            replies: NonZeroU32::MIN,
            class: Class::Shared,
            replay,
            timeout: Timeout::Configured,
            has_script,
            vetting: Vetting::Checked,
            special: None,
        })
    }

    /// One command for a [lease](crate::client::Client::lease), where what changes the state of the connection is allowed:
    /// WATCH, MULTI, SELECT and others. It cannot be sent on shared connections, and is never sent again.
    ///
    /// # Errors
    /// [`RefusedCommand`] for commands whose replies could not be told from others (SUBSCRIBE, MONITOR, CLIENT REPLY, ...).
    pub fn leased(command: Command) -> Result<Self, RefusedCommand> {
        let changes = match command_table::on_lease(&command) {
            OnLease::Plain => Vec::new(),
            OnLease::Changes(change) => vec![(0, change)],
            OnLease::Refused { command, instead } => return Err(RefusedCommand { command, instead }),
        };
        let special = Special::new(changes, command_table::blocking(&command));
        let request = Self::raw(command.into_bytes(), NonZeroU32::MIN).for_lease();
        Ok(Self { vetting: Vetting::Checked, special, ..request })
    }

    /// A command that waits at its server, encoded.
    fn waiting(payload: Bytes, blocker: Blocker) -> Self {
        let request = Self::raw(payload, NonZeroU32::MIN);
        let special = Special::new(Vec::new(), blocker.time);
        Self { class: Class::Blocking, vetting: Vetting::Checked, special, ..request }
    }

    /// Bytes that the caller encoded, calling for `replies` replies. Nothing is checked; replayed only if unsent. A lease that
    /// carries it is closed when it is returned, since nobody knows what it has changed.
    #[must_use]
    pub fn raw(payload: Bytes, replies: NonZeroU32) -> Self {
        Self {
            payload,
            replies,
            class: Class::Shared,
            replay: Replay::IfUnsent,
            timeout: Timeout::Configured,
            has_script: false,
            vetting: Vetting::Unchecked,
            special: None,
        }
    }

    /// Gives this request a timeout of its own, which no maintenance window relaxes.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Timeout::Explicit(timeout);
        self
    }

    /// Says what may be done when its connection is lost. A request of class [`Class::Atomic`] is never replayed once
    /// it is written, nor is one of class [`Class::Blocking`], and one of class [`Class::Leased`] never, whatever is said here.
    #[must_use]
    pub fn replay(mut self, replay: Replay) -> Self {
        self.replay = match (self.class, replay) {
            (Class::Leased, _) => Replay::Never,
            (Class::Atomic | Class::Blocking, Replay::Idempotent) => Replay::IfUnsent,
            (Class::Atomic | Class::Blocking | Class::Shared, replay) => replay,
        };
        self
    }

    /// Says by which key a cluster finds the node for all of its commands, whatever their own keys are: for a command of a module whose
    /// first argument is not its key, for commands in other forms than those of [`cmd`], and for one without a key that is to run on a
    /// certain shard. A client of one server does not look at it.
    ///
    /// ```
    /// use hitless_core::cluster::{Route, key_slot, route_request};
    /// use hitless_core::{Request, cmd};
    ///
    /// let index = Request::command(cmd("FT.SEARCH").arg("index").arg("{user:7}"))?.key("user:7");
    /// assert_eq!(route_request(&index), Route::Slot(key_slot(b"user:7")));
    /// # Ok::<(), hitless_core::request::RefusedCommand>(())
    /// ```
    #[must_use]
    pub fn key(mut self, key: impl AsRef<[u8]>) -> Self {
        let special = self.special.take().map_or_else(Special::default, Arc::unwrap_or_clone);
        let slot = Some(key_slot(key.as_ref()));
        Self { special: Some(Arc::new(Special { slot, ..special })), ..self }
    }

    /// The slot of the key that the caller has named.
    pub(crate) fn named_slot(&self) -> Option<u16> {
        self.special.as_ref()?.slot
    }

    /// A command of the client itself.
    pub(crate) fn own(payload: Bytes) -> Self {
        Self { vetting: Vetting::Checked, ..Self::raw(payload, NonZeroU32::MIN).for_lease() }
    }

    /// A command that was read before, on a connection that it has for itself: it has no time of its own, and `blocking` is what it
    /// asks of the server. Whoever sends it finds out whether `-UNBLOCKED` is the end of it.
    pub(crate) fn apart(payload: Bytes, blocking: Option<Blocking>) -> Self {
        let special = Special { blocking, is_proved: true, ..Special::default() };
        Self { special: Some(Arc::new(special)), ..Self::own(payload) }
    }

    /// A PING behind a command that its server may run a second time: the second reply of the command completes the PING as well. `blocking`: how long
    /// the command may block before the server answers.
    pub(crate) fn probe(blocking: Option<Blocking>) -> Self {
        let special = Special { blocking, is_probe: true, is_proved: true, ..Special::default() };
        Self { special: Some(Arc::new(special)), ..Self::own(cmd("PING").into_bytes()) }
    }

    /// The same request, for a lease.
    pub(crate) fn for_lease(self) -> Self {
        Self { class: Class::Leased, replay: Replay::Never, ..self }
    }

    /// The longest that it may take, if `configured` is what the client allows; `None` is for ever. No command is cut shorter
    /// than what it asked of its server, unless the caller has said so.
    #[inline]
    pub(crate) fn time_limit(&self, configured: Option<Duration>) -> Option<Duration> {
        match self.timeout {
            Timeout::Configured => command_table::beyond(self.blocking(), configured),
            Timeout::Explicit(timeout) => Some(timeout),
        }
    }

    /// What is written for it: its commands, encoded.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// How long its commands may block, all together.
    pub(crate) fn blocking(&self) -> Option<Blocking> {
        self.special.as_ref()?.blocking
    }

    pub(crate) fn size(&self) -> Size {
        if self.payload.len() > LARGE { Size::Large } else { Size::Small }
    }

    /// The number of replies it calls for.
    #[must_use]
    pub fn replies(&self) -> NonZeroU32 {
        self.replies
    }

    /// How it travels.
    #[must_use]
    pub fn class(&self) -> Class {
        self.class
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("bytes", &self.payload.len())
            .field("replies", &self.replies)
            .field("class", &self.class)
            .field("replay", &self.replay)
            .field("timeout", &self.timeout)
            .finish()
    }
}

/// What a command that blocks has taken after its caller had given it up: it was on its way when the future was dropped.
///
/// `Debug` shows the reply, cut as [`Frame`] says.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Orphan {
    /// The name of the command, in upper case.
    pub command: &'static str,
    /// The reply that nobody has got, such as the key and the element of BLPOP.
    pub reply: Frame,
}

/// The machine did not accept a request. The request comes back, nothing is lost.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SendError {
    /// As many requests as configured are under way or parked.
    #[error(
        "too many requests are under way or wait for a connection: send fewer at a time, let callers wait (`when_full`), \
         or raise `requests_in_flight` or `parked_requests`"
    )]
    Full(Request),
    /// There is no connection, and as many requests as configured wait for one.
    #[error(
        "no connection{}, and as many requests wait for one as `parked_requests` allows: {cause}",
        to_server(.endpoint, .cause)
    )]
    NoConnection {
        /// The configured server.
        endpoint: Endpoint,
        /// The request.
        request: Request,
        /// Why the last attempt to connect has failed.
        cause: Arc<ConnectError>,
    },
    /// The connection of the lease is gone, and with it what was watched or set there. A transaction whose EXEC was not sent has not
    /// run.
    #[error("the connection of the lease is gone, so nothing was executed: {cause}")]
    LeaseLost {
        /// The request.
        request: Request,
        /// Why the connection ended.
        cause: CloseCause,
    },
    /// The request was made for a lease, and this is the shared client.
    #[error("the request was made for a lease: send it on one (`client.lease()`)")]
    NeedsLease(Request),
    /// It is not clear which node of the cluster it is for.
    #[error("{reason}")]
    NoRoute {
        /// The request.
        request: Request,
        /// Why.
        reason: RouteError,
    },
    /// The client shuts down, or has done so, because somebody asked for it or because the runtime on which it was opened has been
    /// dropped. It accepts nothing more.
    #[error(
        "the client is shut down: `shutdown` was called, or the runtime that it was opened on was dropped; open another one"
    )]
    ShuttingDown(Request),
}

impl SendError {
    /// The request that was not accepted.
    #[must_use]
    pub fn into_request(self) -> Request {
        match self {
            Self::Full(request)
            | Self::NoConnection { request, .. }
            | Self::LeaseLost { request, .. }
            | Self::NoRoute { request, .. }
            | Self::NeedsLease(request)
            | Self::ShuttingDown(request) => request,
        }
    }
}

/// A command that its connection cannot carry: a shared one without breaking it for everybody else, one that is lent without losing the
/// order of its replies, and a transaction without ending it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the client refuses {command}: {instead}")]
pub struct RefusedCommand {
    /// The command's name.
    pub command: &'static str,
    /// What to use instead.
    pub instead: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_of_commands_shows_no_argument() {
        let command = || cmd("SET").arg("token").arg("hunter2");
        let pipeline = Pipeline::new().command(command());
        let request = Request::command(command()).unwrap();
        let shown =
            format!("{:?} {pipeline:?} {request:?} {:?}", command(), SendError::Full(request.clone()));
        assert!(shown.contains("SET") && shown.contains("commands: 1"), "{shown}");
        assert!(!shown.contains("token") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn debug_output_of_replies_shows_their_values() {
        let replies = Replies::from_iter([Frame::simple("OK"), Frame::Integer(2)]);
        assert_eq!(format!("{replies:?}"), r#"[Simple("OK"), Integer(2)]"#);
    }
}
