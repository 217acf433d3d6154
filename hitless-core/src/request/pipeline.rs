//! Several commands as one unit.

use std::fmt;
use std::num::NonZeroU32;

use bytes::BytesMut;
use resp3_codec::{Command, cmd};

use super::{Class, IN_BATCH, RefusedCommand, Replay, Request, Special, Timeout, Vetting};
use crate::command_table::{self, Blocker, Blocking, OnLease, StateChange};

/// Several commands sent as one unit: wholly on one connection, in order, in one piece.
///
/// ```
/// use hitless_core::cmd;
/// use hitless_core::request::Pipeline;
///
/// let gets: Pipeline = ["a", "b"].map(|key| cmd("GET").arg(key)).into();
/// let mut atomic = Pipeline::atomic().command(cmd("INCR").arg("visits"));
/// atomic.extend((0..3).map(|day| cmd("DEL").arg(("visits", day))));
/// assert_eq!((gets.len(), atomic.len()), (2, 4));
/// ```
///
/// `Debug` shows how many bytes it has and not what they are: the arguments of commands may be secrets.
#[derive(Clone)]
pub struct Pipeline {
    buffer: BytesMut,
    commands: u32,
    atomic: bool,
    read_only: bool,
    has_script: bool,
    refused: Option<RefusedCommand>,
    refused_on_lease: Option<RefusedCommand>,
    /// The first command that would end the transaction that it is in.
    refused_in_batch: Option<RefusedCommand>,
    /// What the commands change on their connection, by their places.
    changes: Vec<(u32, StateChange)>,
    /// The last command waits for replicas.
    waits: Option<&'static str>,
    /// How long the commands may block, all together.
    blocking: Option<Blocking>,
}

impl Pipeline {
    /// An empty pipeline.
    #[must_use]
    pub fn new() -> Self {
        Self {
            buffer: BytesMut::new(),
            commands: 0,
            atomic: false,
            read_only: true,
            has_script: false,
            refused: None,
            refused_on_lease: None,
            refused_in_batch: None,
            changes: Vec::new(),
            waits: None,
            blocking: None,
        }
    }

    /// An empty batch that the server executes as one transaction (MULTI .. EXEC).
    #[must_use]
    pub fn atomic() -> Self {
        let mut pipeline = Self { atomic: true, ..Self::new() };
        cmd("MULTI").encode(&mut pipeline.buffer);
        pipeline
    }

    /// Appends a command. A command that the connection cannot carry, shared or lent, is reported when the pipeline is sent.
    ///
    /// One that blocks, such as BLPOP, may stand in an atomic pipeline only, where it answers at once.
    ///
    /// WAIT and WAITAOF may stand at the end of a pipeline that is not atomic, behind at least one other command: they wait for the
    /// writes before them. They hold up whatever else travels on that connection; on a lease that is nobody.
    #[must_use]
    pub fn command(mut self, command: Command) -> Self {
        self.push(&command);
        self
    }

    fn push(&mut self, command: &Command) {
        self.note_shared(command);
        match command_table::on_lease(command) {
            OnLease::Plain => {}
            OnLease::Changes(change) => self.changes.push((self.commands + u32::from(self.atomic), change)),
            OnLease::Refused { command, instead } => {
                self.refused_on_lease.get_or_insert(RefusedCommand { command, instead });
            }
        }
        if let Some(command) = command_table::ends_batch(command) {
            self.refused_in_batch.get_or_insert(RefusedCommand { command, instead: IN_BATCH });
        }
        self.has_script |= command_table::is_script(command);
        self.blocking =
            self.blocking.into_iter().chain(command_table::blocking(command)).reduce(Blocking::and);
        command.encode(&mut self.buffer);
        self.commands += 1;
    }

    /// Its commands so far, encoded.
    #[cfg(feature = "driver")]
    pub(crate) fn wire(&self) -> &[u8] {
        &self.buffer
    }

    /// The number of commands, MULTI and EXEC not counted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.commands as usize
    }

    /// True if no command was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.commands == 0
    }

    /// True for a MULTI .. EXEC batch.
    #[must_use]
    pub fn is_atomic(&self) -> bool {
        self.atomic
    }

    /// Turns it into one request; `None` if it is empty, because then there is nothing to send.
    ///
    /// # Errors
    /// [`RefusedCommand`] for the first command that a shared connection cannot carry.
    pub fn into_request(mut self) -> Result<Option<Request>, RefusedCommand> {
        if let Some(refused) = self.refused {
            return Err(refused);
        }
        let Some(mut replies) = NonZeroU32::new(self.commands) else { return Ok(None) };
        if self.atomic {
            cmd("EXEC").encode(&mut self.buffer);
            replies = replies.saturating_add(2);
        }
        let class = if self.atomic { Class::Atomic } else { Class::Shared };
        let replay = if self.read_only && !self.atomic { Replay::Idempotent } else { Replay::IfUnsent };
        let (payload, has_script) = (self.buffer.freeze(), self.has_script);
        Ok(Some(Request {
            payload,
            replies,
            class,
            replay,
            timeout: Timeout::Configured,
            has_script,
            vetting: Vetting::Checked,
            special: None,
        }))
    }

    /// Turns it into one request for a [lease](crate::client::Client::lease); `None` if it is empty.
    ///
    /// # Errors
    /// [`RefusedCommand`] for the first command whose replies could not be told from others, or that would end the transaction.
    pub fn into_leased_request(mut self) -> Result<Option<Request>, RefusedCommand> {
        if let Some(refused) = self.refused_on_lease.or_else(|| self.refused_in_batch.filter(|_| self.atomic))
        {
            return Err(refused);
        }
        let mut changes = std::mem::take(&mut self.changes);
        if self.atomic {
            changes.insert(0, (0, StateChange::Multi));
            changes.push((self.commands + 1, StateChange::Exec));
        }
        self.refused = None;
        // Inside a transaction nothing blocks.
        let blocking = self.blocking.filter(|_| !self.atomic);
        let Some(request) = self.into_request()? else { return Ok(None) };
        Ok(Some(Request { special: Special::new(changes, blocking), ..request.for_lease() }))
    }

    /// The same commands as one transaction.
    #[cfg(feature = "driver")]
    pub(crate) fn into_atomic(self) -> Self {
        if self.atomic {
            return self;
        }
        let mut atomic = Self { buffer: BytesMut::new(), atomic: true, ..self };
        cmd("MULTI").encode(&mut atomic.buffer);
        atomic.buffer.extend_from_slice(&self.buffer);
        atomic.changes.iter_mut().for_each(|(place, _)| *place += 1);
        atomic
    }

    /// What `command` means for a shared connection.
    fn note_shared(&mut self, command: &Command) {
        let behind = self.waits.take();
        match Replay::of(command) {
            Ok(replay) => self.read_only &= replay == Replay::Idempotent,
            // Inside a transaction nothing blocks.
            Err(_) if self.atomic && Blocker::of(command).is_some() => self.read_only = false,
            Err(refused) => {
                let waits = matches!(refused.command, "WAIT" | "WAITAOF");
                self.read_only = false;
                if waits && !self.atomic && self.commands > 0 {
                    self.waits = Some(refused.command);
                    return;
                }
                self.refused.get_or_insert(refused);
            }
        }
        if let Some(command) = behind {
            let instead = "nothing but another one may follow it in a pipeline, or `client.lease()` lends a connection of its own";
            self.refused.get_or_insert(RefusedCommand { command, instead });
        }
    }
}

impl FromIterator<Command> for Pipeline {
    /// A pipeline, not atomic, of these commands.
    fn from_iter<I: IntoIterator<Item = Command>>(commands: I) -> Self {
        commands.into_iter().fold(Self::new(), Self::command)
    }
}

impl Extend<Command> for Pipeline {
    /// Appends these commands; the pipeline stays atomic if it is.
    fn extend<I: IntoIterator<Item = Command>>(&mut self, commands: I) {
        commands.into_iter().for_each(|command| self.push(&command));
    }
}

impl From<Vec<Command>> for Pipeline {
    /// A pipeline, not atomic, of these commands.
    fn from(commands: Vec<Command>) -> Self {
        commands.into_iter().collect()
    }
}

impl<const N: usize> From<[Command; N]> for Pipeline {
    /// A pipeline, not atomic, of these commands.
    fn from(commands: [Command; N]) -> Self {
        commands.into_iter().collect()
    }
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline")
            .field("bytes", &self.buffer.len())
            .field("commands", &self.commands)
            .field("atomic", &self.atomic)
            .field("read_only", &self.read_only)
            .field("refused", &self.refused)
            .finish()
    }
}

impl Default for Pipeline {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However a pipeline comes by its commands, it is the same: what is read alone may run twice, what is refused is refused.
    #[test]
    fn a_pipeline_is_made_of_whatever_holds_commands() {
        let gets = || vec![cmd("GET").arg("a"), cmd("GET").arg("b")];
        let one_by_one = gets().into_iter().fold(Pipeline::new(), Pipeline::command);
        let expected = one_by_one.into_request().unwrap().unwrap();
        let mut extended = Pipeline::new();
        extended.extend(gets());
        let [first, second] = <[Command; 2]>::try_from(gets()).unwrap();
        for pipeline in [extended, Pipeline::from(gets()), Pipeline::from([first, second])] {
            let request = pipeline.into_request().unwrap().unwrap();
            assert_eq!(request.payload(), expected.payload());
            assert_eq!((request.replies, request.replay), (expected.replies, Replay::Idempotent));
        }
        let mut atomic = Pipeline::atomic();
        atomic.extend(gets());
        assert!(atomic.is_atomic());
        assert_eq!(atomic.into_request().unwrap().unwrap().replies().get(), 4);
        let mut refused = Pipeline::new();
        refused.extend([cmd("SELECT").arg(1)]);
        assert!(refused.into_request().is_err());
    }
}
