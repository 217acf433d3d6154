//! Commands that somebody else has encoded.

use std::num::NonZeroU32;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use resp3_codec::encode_command;
use smallvec::SmallVec;
use thiserror::Error;

use super::{Class, IN_BATCH, RefusedCommand, Replay, Request, Special, Timeout, Vetting};
use crate::command_table::{self, Blocker, Blocking, OnLease, Words};

impl Request {
    /// Commands that were encoded elsewhere, such as by another library: one, or several as one unit. They are not encoded anew,
    /// and treated as commands of [`cmd`](crate::cmd) are. If the first is MULTI and the last EXEC, it is an atomic batch.
    ///
    /// ```
    /// use hitless_core::request::{Class, Request};
    /// use hitless_core::Bytes;
    ///
    /// let get = Request::packed(Bytes::from_static(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"))?;
    /// assert_eq!((get.replies().get(), get.class()), (1, Class::Shared));
    /// let select = Request::packed(Bytes::from_static(b"*2\r\n$6\r\nSELECT\r\n$1\r\n1\r\n"));
    /// assert!(select.is_err(), "it would change the database of everybody else");
    /// # Ok::<(), hitless_core::request::PackedError>(())
    /// ```
    ///
    /// # Errors
    /// [`PackedError::Refused`] for a command that a shared connection cannot carry, [`PackedError::Malformed`] if the bytes are
    /// not commands: their replies could not be told from those of others.
    pub fn packed(payload: Bytes) -> Result<Self, PackedError> {
        let Parts { replies, class, replay, has_script, blocking } = Parts::of(&payload)?;
        let (timeout, special) = (Timeout::Configured, Special::new(Vec::new(), blocking));
        let vetting = Vetting::Checked;
        Ok(Self { payload, replies, class, replay, timeout, has_script, vetting, special })
    }

    /// The same for a [lease](crate::client::Client::lease), treated as commands of [`leased`](Self::leased) are.
    ///
    /// # Errors
    /// [`PackedError::Refused`] for a command whose replies could not be told from others, [`PackedError::Malformed`] if the bytes
    /// are not commands.
    pub fn packed_for_lease(payload: Bytes) -> Result<Self, PackedError> {
        let commands = split(&payload).ok_or(PackedError::Malformed)?;
        let replies = u32::try_from(commands.len()).ok().and_then(NonZeroU32::new);
        if let [multi, inner @ .., exec] = &commands[..]
            && multi.is_named(b"MULTI")
            && exec.is_named(b"EXEC")
            && let Some(command) = inner.iter().find_map(command_table::ends_batch)
        {
            return Err(RefusedCommand { command, instead: IN_BATCH }.into());
        }
        let mut changes = Vec::new();
        for (place, command) in (0..).zip(&commands) {
            match command_table::on_lease(command) {
                OnLease::Plain => {}
                OnLease::Changes(change) => changes.push((place, change)),
                OnLease::Refused { command, instead } => {
                    return Err(RefusedCommand { command, instead }.into());
                }
            }
        }
        // Inside a transaction nothing blocks.
        let is_atomic = commands.first().is_some_and(|command| command.is_named(b"MULTI"));
        let blocking = commands.iter().filter(|_| !is_atomic).filter_map(command_table::blocking);
        let blocking = blocking.reduce(Blocking::and);
        drop(commands);
        let request = Self::raw(payload, replies.ok_or(PackedError::Malformed)?).for_lease();
        Ok(Self { vetting: Vetting::Checked, special: Special::new(changes, blocking), ..request })
    }
}

impl Request {
    /// What it is, if it is one command that waits for elements.
    pub(crate) fn blocker(&self) -> Option<Blocker> {
        Blocker::of(&Packed(words(&self.payload)?))
    }

    /// The same command, which waits for `left` at its server. `None` if it waits for no time.
    #[cfg(feature = "driver")]
    pub(crate) fn waiting_for(&self, left: std::time::Duration) -> Option<Self> {
        let (place, word) = self.blocker()?.word_for(left)?;
        let payload = with_word(&self.payload, place, &word)?;
        let special = self.special.as_deref().cloned().unwrap_or_default();
        let special = Some(std::sync::Arc::new(Special { blocking: Some(Blocking::For(left)), ..special }));
        Some(Self { payload, special, ..self.clone() })
    }

    /// The name of the command, if it blocks and removes elements from their keys.
    #[cfg(feature = "driver")]
    pub(crate) fn takes(&self) -> Option<&'static str> {
        if self.class != Class::Blocking {
            return None;
        }
        let blocker = self.blocker()?;
        (blocker.takes == command_table::Takes::Elements).then_some(blocker.name)
    }
}

/// The same command with another word in one place.
pub(crate) fn with_word(payload: &[u8], place: usize, word: &str) -> Option<Bytes> {
    let command = Packed(words(payload)?);
    let words = command.words().enumerate().map(|(at, it)| if at == place { word.as_bytes() } else { it });
    let words: SmallVec<[&[u8]; 8]> = words.collect();
    let mut changed = BytesMut::with_capacity(payload.len() + word.len());
    encode_command(&mut changed, &words);
    Some(changed.freeze())
}

/// The words of one command.
fn words(mut payload: &[u8]) -> Option<&[u8]> {
    length(&mut payload, b'*')?;
    Some(payload)
}

/// What decides how commands are treated.
struct Parts {
    replies: NonZeroU32,
    class: Class,
    replay: Replay,
    has_script: bool,
    blocking: Option<Blocking>,
}

impl Parts {
    fn of(payload: &[u8]) -> Result<Self, PackedError> {
        let commands = split(payload).ok_or(PackedError::Malformed)?;
        let replies = u32::try_from(commands.len()).ok().and_then(NonZeroU32::new);
        let replies = replies.ok_or(PackedError::Malformed)?;
        let (class, inner) = match &commands[..] {
            [multi, inner @ .., exec] if multi.is_named(b"MULTI") && exec.is_named(b"EXEC") => {
                (Class::Atomic, inner)
            }
            all => (Class::Shared, all),
        };
        let mut replay = if class == Class::Atomic { Replay::IfUnsent } else { Replay::Idempotent };
        let mut has_script = false;
        for command in inner {
            match Replay::of_words(command).map_err(|refused| (refused, Blocker::of(command))) {
                Ok(Replay::Idempotent) => {}
                Ok(Replay::IfUnsent | Replay::Never) => {
                    // No script is a read.
                    replay = Replay::IfUnsent;
                    has_script |= command_table::is_script(command);
                }
                // Inside a transaction nothing blocks.
                Err((_, Some(_))) if class == Class::Atomic => {}
                Err((_, Some(blocker))) if inner.len() == 1 => return Ok(Self::blocking(blocker)),
                Err((refused, _)) => return Err(refused.into()),
            }
        }
        Ok(Self { replies, class, replay, has_script, blocking: None })
    }

    /// Those of a command that waits at its server, sent alone.
    fn blocking(blocker: Blocker) -> Self {
        let (class, replay) = (Class::Blocking, Replay::IfUnsent);
        Self { replies: NonZeroU32::MIN, class, replay, has_script: false, blocking: blocker.time }
    }
}

/// Bytes cannot be sent as commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PackedError {
    /// A command would break the shared connection for the other callers.
    #[error(transparent)]
    Refused(#[from] RefusedCommand),
    /// The bytes are not one or more arrays of bulk strings, each with the name of a command at least.
    #[error("the bytes are not commands: each is an array of bulk strings, of which the first is its name")]
    Malformed,
}

/// One command: its name and its arguments, each as a bulk string.
pub(crate) struct Packed<'a>(&'a [u8]);

impl Packed<'_> {
    fn is_named(&self, name: &[u8]) -> bool {
        self.name().eq_ignore_ascii_case(name)
    }
}

impl Words for Packed<'_> {
    fn name(&self) -> &[u8] {
        self.words().next().unwrap_or_default()
    }

    fn words(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.0;
        std::iter::from_fn(move || bulk(&mut rest))
    }
}

/// The commands in some bytes, each with where it is. It ends in front of bytes that are no whole command.
pub(crate) struct Commands<'a> {
    bytes: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Commands<'a> {
    pub(crate) fn of(bytes: &'a [u8]) -> Self {
        Self { bytes, rest: bytes }
    }
}

impl<'a> Iterator for Commands<'a> {
    type Item = (Range<usize>, Packed<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let mut rest = self.rest;
        let count = length(&mut rest, b'*').filter(|count| *count > 0)?;
        let words = rest;
        for _ in 0..count {
            bulk(&mut rest)?;
        }
        let [start, end] = [self.rest, rest].map(|rest| self.bytes.len() - rest.len());
        self.rest = rest;
        Some((start..end, Packed(&words[..words.len() - rest.len()])))
    }
}

/// The commands in `bytes`; `None` if they are anything else.
fn split(bytes: &[u8]) -> Option<SmallVec<[Packed<'_>; 1]>> {
    let mut commands = Commands::of(bytes);
    let split = commands.by_ref().map(|(_, command)| command).collect();
    commands.rest.is_empty().then_some(split)
}

/// Takes a bulk string off the front.
fn bulk<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = length(rest, b'$')?;
    let (text, after) = rest.split_at_checked(length)?;
    *rest = after.strip_prefix(b"\r\n")?;
    Some(text)
}

/// Takes the head of a string or an array off the front: a sign, digits and a line end.
fn length(rest: &mut &[u8], sign: u8) -> Option<usize> {
    let line = rest.strip_prefix(&[sign])?;
    let digits = line.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, after) = line.split_at(digits);
    *rest = after.strip_prefix(b"\r\n")?;
    str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use resp3_codec::{Command, cmd};

    use super::*;
    use crate::request::Pipeline;

    fn packed(commands: &[Command]) -> Result<Request, PackedError> {
        let bytes: Vec<u8> =
            commands.iter().flat_map(|command| command.clone().into_bytes().to_vec()).collect();
        Request::packed(bytes.into())
    }

    /// The parts of a request that decide how it is treated.
    fn parts(request: &Request) -> (Bytes, NonZeroU32, Class, Replay, bool, Option<Blocking>) {
        let Request { payload, replies, class, replay, has_script, .. } = request;
        (payload.clone(), *replies, *class, *replay, *has_script, request.blocking())
    }

    /// XREAD leaves its entries where they are, and LPOP does not block. RULE-252
    #[cfg(feature = "driver")]
    #[test]
    fn commands_that_block_and_remove_elements() {
        for (command, takes) in [
            (cmd("blpop").arg("q").arg(0), Some("BLPOP")),
            (cmd("BZMPOP").args(["0", "1", "z", "MIN"]), Some("BZMPOP")),
            (cmd("XREAD").args(["BLOCK", "0", "STREAMS", "s", "$"]), None),
            (cmd("LPOP").arg("q"), None),
        ] {
            assert_eq!(Request::command(command.clone()).unwrap().takes(), takes, "{command:?}");
        }
    }

    /// What somebody else has encoded is the same request as our own. RULE-192
    #[test]
    fn packed_commands_are_treated_as_our_own() {
        for command in [
            cmd("GET").arg("k"),
            cmd("get").arg("a key\r\n$with line ends"),
            cmd("SET").arg("k").arg([b'x'; 3000]),
            cmd("XREAD").arg("STREAMS").arg("block").arg(0),
            cmd("EVAL").arg("return 1").arg(0),
            cmd("SORT").arg("k").arg("STORE").arg("d"),
            cmd("PING"),
            cmd("SET").arg("").arg(""),
            cmd("blpop").arg("q").arg(7),
            cmd("XREADGROUP").args(["GROUP", "g", "c", "BLOCK", "0", "STREAMS", "s", ">"]),
            cmd("BLPOP").arg("q").arg("no number"),
        ] {
            let ours = Request::command(command.clone()).unwrap();
            assert_eq!(parts(&packed(std::slice::from_ref(&command)).unwrap()), parts(&ours), "{command:?}");
        }
        let reads = [cmd("GET").arg("k"), cmd("TTL").arg("k")];
        let mixed = [cmd("GET").arg("k"), cmd("EVALSHA").arg("x").arg(0)];
        let blocks = [cmd("GET").arg("k"), cmd("BLPOP").arg("q").arg(0)];
        for commands in [reads, mixed, blocks] {
            match Pipeline::from(commands.clone()).into_request() {
                Ok(ours) => assert_eq!(parts(&packed(&commands).unwrap()), parts(&ours.unwrap())),
                Err(refused) => assert_eq!(packed(&commands).unwrap_err(), PackedError::Refused(refused)),
            }
            let ours = commands.iter().cloned().fold(Pipeline::atomic(), Pipeline::command);
            let ours = ours.into_request().unwrap().unwrap();
            let batch: Vec<Command> =
                [cmd("MULTI")].into_iter().chain(commands).chain([cmd("EXEC")]).collect();
            assert_eq!(parts(&packed(&batch).unwrap()), parts(&ours));
        }
        assert_eq!(packed(&[cmd("multi"), cmd("exec")]).unwrap().class(), Class::Atomic);
    }

    /// On a lease what somebody else has encoded changes the connection as our own commands do, and is refused as they are. RULE-203,
    /// RULE-192
    #[test]
    fn packed_commands_for_a_lease_are_treated_as_our_own() {
        let commands = [
            cmd("WATCH").arg("k"),
            cmd("GET").arg("k"),
            cmd("MULTI"),
            cmd("select").arg(1),
            cmd("BLPOP").arg("k").arg(0),
            cmd("EXEC"),
        ];
        let of = |request: &Request| (parts(request), request.vetting, request.special.clone());
        let ours = Pipeline::from(commands.clone()).into_leased_request().unwrap().unwrap();
        let bytes: Vec<u8> =
            commands.iter().flat_map(|command| command.clone().into_bytes().to_vec()).collect();
        assert_eq!(of(&Request::packed_for_lease(bytes.into()).unwrap()), of(&ours));
        for command in commands {
            let packed = Request::packed_for_lease(command.clone().into_bytes()).unwrap();
            assert_eq!(of(&packed), of(&Request::leased(command).unwrap()));
        }
        for inner in [cmd("DISCARD"), cmd("exec"), cmd("RESET"), cmd("WATCH").arg("k"), cmd("MULTI")] {
            let batch = [cmd("INCR").arg("n"), inner];
            let ours = batch.iter().cloned().fold(Pipeline::atomic(), Pipeline::command);
            let refused = ours.into_leased_request().unwrap_err();
            assert_eq!(refused.instead, IN_BATCH);
            let [incr, inner] = batch;
            let words = [cmd("MULTI"), incr, inner, cmd("EXEC")];
            let bytes: Vec<u8> =
                words.iter().flat_map(|command| command.clone().into_bytes().to_vec()).collect();
            assert_eq!(Request::packed_for_lease(bytes.into()).unwrap_err(), PackedError::Refused(refused));
        }
        let refused = Request::packed_for_lease(cmd("SUBSCRIBE").arg("c").into_bytes());
        assert!(matches!(refused, Err(PackedError::Refused(RefusedCommand { command: "SUBSCRIBE", .. }))));
        assert_eq!(Request::packed_for_lease(Bytes::new()).err(), Some(PackedError::Malformed));
    }

    /// What holds up a shared connection is refused beside other commands, and nowhere else. RULE-93, RULE-192, RULE-246
    #[test]
    fn packed_commands_that_block_are_refused_beside_others() {
        for command in
            [cmd("blpop").arg("k").arg(0), cmd("XREAD").arg("BLOCK").arg(0).arg("STREAMS").arg("s").arg("$")]
        {
            let get = cmd("GET").arg("k");
            let ours = Pipeline::from([get.clone(), command.clone()]).into_request().unwrap_err();
            assert_eq!(packed(&[get, command.clone()]).unwrap_err(), PackedError::Refused(ours));
            assert!(ours.instead.contains("send it alone"), "{ours}");
            assert_eq!(packed(std::slice::from_ref(&command)).unwrap().class, Class::Blocking);
            let batch = packed(&[cmd("MULTI"), command.clone(), cmd("EXEC")]).unwrap();
            assert_eq!((batch.class, batch.blocking()), (Class::Atomic, None));
            let ours = Pipeline::atomic().command(command).into_request().unwrap().unwrap();
            assert_eq!((ours.payload(), ours.class, ours.blocking()), (batch.payload(), Class::Atomic, None));
        }
    }

    /// What breaks the shared connection is refused in every place. RULE-93, RULE-192
    #[test]
    fn packed_commands_are_refused_as_our_own() {
        for command in [
            cmd("SELECT").arg(1),
            cmd("SUBSCRIBE").arg("c"),
            cmd("WATCH").arg("k"),
            cmd("EXEC"),
            cmd("MULTI"),
        ] {
            let refused = PackedError::Refused(Request::command(command.clone()).unwrap_err());
            let (get, multi, exec) = (cmd("GET").arg("k"), cmd("MULTI"), cmd("EXEC"));
            assert_eq!(packed(std::slice::from_ref(&command)).unwrap_err(), refused);
            assert_eq!(packed(&[get.clone(), command.clone(), get]).unwrap_err(), refused);
            assert_eq!(packed(&[multi, command, exec]).unwrap_err(), refused);
        }
    }

    /// A command that is sent again with less time is the same but for that word. RULE-248
    #[test]
    fn one_word_of_a_command_is_replaced() {
        let of = |time: &str| cmd("XREAD").args(["BLOCK", time, "STREAMS", "s\r\n", ""]).into_bytes();
        assert_eq!(with_word(&of("20000"), 2, "7"), Some(of("7")));
        assert_eq!(with_word(b"GET k", 1, "x"), None);
    }

    /// Bytes that are not whole commands would take the replies of others. INV-02, RULE-192
    #[test]
    fn what_is_no_command_is_not_sent() {
        for bytes in [
            "",
            "*0\r\n",
            "*1\r\n",
            "*1\r\n$4\r\nPING",
            "*1\r\n$4\r\nPING\r\n*",
            "PING\r\n",
            "*-1\r\n",
            "*1\r\n$-1\r\n",
            "*1\r\n:1\r\n",
            "*1\r\n$5\r\nPING\r\n",
            "*1\r\n$3\r\nPING\r\n",
            "*+1\r\n$4\r\nPING\r\n",
            "*\r\n$4\r\nPING\r\n",
            "*1\n$4\nPING\n",
            "*2\r\n$4\r\nPING\r\n",
            "*1\r\n$4\r\nPING\r\n$1\r\nx\r\n",
            "*99999999999999999999\r\n",
            "*1\r\n$18446744073709551615\r\nPING\r\n",
            "*1\r\n$4\r\nPING\r\n*0\r\n",
        ] {
            let result = Request::packed(Bytes::from_static(bytes.as_bytes()));
            assert_eq!(result.err(), Some(PackedError::Malformed), "{bytes:?}");
        }
    }
}
