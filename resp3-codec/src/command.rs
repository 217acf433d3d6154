use std::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::arg::{ToArg, ToArgs};
use crate::encode::{MAX_HEAD, decimal, decimal_digits, head};

/// Room in front of the arguments for `*N` and a line end, N having up to 13 digits.
const ROOM: usize = 16;
/// What a command is allocated with: enough for most, and for `SET` of a small value.
const CAPACITY: usize = 128;
/// Up to here, moving a command's bytes costs less than allocating.
const CHEAP_TO_MOVE: usize = 1024;

/// Starts a command: its name, to which arguments are added.
///
/// ```
/// use resp3_codec::cmd;
///
/// let set = cmd("SET").arg("counter").arg(17).args(["EX", "60"]);
/// assert_eq!(set.len(), 5);
/// assert_eq!(set.name(), b"SET");
/// ```
pub fn cmd(name: impl ToArg) -> Command {
    let mut wire = Vec::with_capacity(CAPACITY);
    wire.extend_from_slice(&[0; ROOM]);
    Command { wire, len: 0 }.arg(name)
}

/// A command, held as the bytes that go over the wire.
///
/// `Debug` shows its name and how many arguments it has, not the arguments.
#[derive(Clone)]
pub struct Command {
    /// `ROOM` bytes for the header, then the name and the arguments, each as a bulk string.
    wire: Vec<u8>,
    len: usize,
}

impl Command {
    /// Adds an argument, or as many as there are in an `Option` or a tuple. A list is for [`args`](Self::args); a list of bytes is one
    /// argument.
    pub fn arg(mut self, arg: impl ToArgs) -> Self {
        arg.for_each(&mut |bytes| self.push(bytes));
        self
    }

    /// Adds the argument or the arguments of each item: of a slice, a `Vec`, a map, or whatever else is iterated over.
    pub fn args<A: ToArgs>(self, args: impl IntoIterator<Item = A>) -> Self {
        args.into_iter().fold(self, Self::arg)
    }

    /// The bytes that go over the wire.
    pub fn into_bytes(mut self) -> Bytes {
        let mut start = self.write_header();
        let (len, capacity) = (self.wire.len(), self.wire.capacity());
        if len < capacity && len <= CHEAP_TO_MOVE {
            // A vector without spare room at its end becomes `Bytes` without another allocation.
            self.wire.resize(capacity, 0);
            self.wire.copy_within(start..len, start + capacity - len);
            start += capacity - len;
        }
        let mut wire = Bytes::from(self.wire);
        wire.advance(start);
        wire
    }

    /// Appends the bytes that go over the wire.
    pub fn encode(&self, buf: &mut BytesMut) {
        buf.reserve(MAX_HEAD + self.wire.len() - ROOM);
        head(buf, b'*', self.len);
        buf.put_slice(&self.wire[ROOM..]);
    }

    /// The number of strings that the command consists of: its name and its arguments.
    #[expect(clippy::len_without_is_empty, reason = "a command has a name")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The name, as it was given to [`cmd`].
    pub fn name(&self) -> &[u8] {
        match &self.wire[ROOM..] {
            // Nearly all have fewer than ten bytes.
            [b'$', digit, b'\r', b'\n', rest @ ..] => &rest[..usize::from(digit - b'0')],
            _ => self.iter().next().unwrap_or_default(),
        }
    }

    /// The name and the arguments.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.wire[ROOM..];
        std::iter::from_fn(move || {
            let digit = |byte: &u8| usize::from(byte - b'0');
            let (len, behind) = match rest {
                // Nearly all have fewer than a hundred bytes.
                [b'$', one, b'\r', b'\n', behind @ ..] => (digit(one), behind),
                [b'$', ten, one, b'\r', b'\n', behind @ ..] => (digit(ten) * 10 + digit(one), behind),
                _ => {
                    let line = rest.iter().position(|byte| *byte == b'\r')?;
                    (rest[1..line].iter().fold(0, |len, byte| len * 10 + digit(byte)), &rest[line + 2..])
                }
            };
            let (arg, after) = behind.split_at(len);
            rest = &after[2..];
            Some(arg)
        })
    }

    #[inline]
    fn push(&mut self, arg: &[u8]) {
        self.len += 1;
        let more = if arg.len() < 100 { 5 } else { MAX_HEAD } + arg.len() + 2;
        if arg.len() > CHEAP_TO_MOVE.max(self.wire.len()) {
            // What dwarfs all before it tends to be the last: hardly any room beyond it is needed.
            self.wire.reserve_exact(more);
        } else {
            self.wire.reserve(more);
        }
        head(&mut self.wire, b'$', arg.len());
        self.wire.extend_from_slice(arg);
        self.wire.extend_from_slice(b"\r\n");
    }

    /// Writes the header up against the arguments; where it starts.
    fn write_header(&mut self) -> usize {
        let mut digits = [0; 20];
        let digits = decimal_digits(&mut digits, self.len as u64);
        let start = ROOM - digits.len() - 3;
        self.wire[start] = b'*';
        self.wire[start + 1..ROOM - 2].copy_from_slice(digits);
        self.wire[ROOM - 2..ROOM].copy_from_slice(b"\r\n");
        start
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Command({} with {} arguments)", self.name().escape_ascii(), self.len - 1)
    }
}

/// Appends a command to `buf`; for callers that have the arguments at hand. Allocates nothing but room in `buf`.
pub fn encode_command(buf: &mut BytesMut, args: &[&[u8]]) {
    buf.reserve(args.iter().fold(MAX_HEAD, |sum, arg| sum + arg.len() + MAX_HEAD + 2));
    match args.len() {
        count @ 0..10 => buf.put_slice(&[b'*', b'0' + count as u8]),
        count => {
            buf.put_u8(b'*');
            decimal(buf, count as u64);
        }
    }
    for arg in args {
        // The end of the line or string before, and the head of this one, in one piece: half as many stores.
        match arg.len() {
            len @ 0..10 => buf.put_slice(&[b'\r', b'\n', b'$', b'0' + len as u8, b'\r', b'\n']),
            len @ 10..100 => {
                let (tens, ones) = (b'0' + len as u8 / 10, b'0' + len as u8 % 10);
                buf.put_slice(&[b'\r', b'\n', b'$', tens, ones, b'\r', b'\n']);
            }
            len => {
                buf.put_slice(b"\r\n");
                head(buf, b'$', len);
            }
        }
        buf.put_slice(arg);
    }
    buf.put_slice(b"\r\n");
}
