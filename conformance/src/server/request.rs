//! Requests as a server reads them: arrays of bulk strings, or inline commands.
//!
//! Written apart from `resp3-codec` on purpose: it is the independent reader of what the codec writes.

use std::fmt;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};

/// Longest header line or inline command (redis: `PROTO_INLINE_MAX_SIZE`).
const MAX_LINE: usize = 64 * 1024;
/// Most arguments of one command (redis 7: `1024 * 1024` until authenticated clients may send more).
const MAX_ARGS: i64 = 1024 * 1024;
/// Longest argument (redis: `proto-max-bulk-len`).
const MAX_BULK: i64 = 512 * 1024 * 1024;

/// One command with its arguments. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Request {
    args: Arc<[Bytes]>,
}

impl Request {
    /// A request of these words.
    ///
    /// # Panics
    /// Never; an empty list is a request without a name, which no server executes.
    pub fn new(words: impl IntoIterator<Item = impl Into<Bytes>>) -> Self {
        Self { args: words.into_iter().map(Into::into).collect() }
    }

    /// The command's name as it was written.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        self.args.first().map_or(&[], |name| name)
    }

    /// The first argument, which is the key of most commands.
    #[must_use]
    pub fn key(&self) -> Option<&Bytes> {
        self.args.get(1)
    }

    /// Name and arguments.
    #[must_use]
    pub fn words(&self) -> &[Bytes] {
        &self.args
    }

    /// Whether the request begins with these words, compared without regard to case:
    /// `is("CLIENT SETNAME")`.
    #[must_use]
    pub fn is(&self, words: &str) -> bool {
        let mut given = self.args.iter();
        words.split(' ').all(|word| given.next().is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes())))
    }

    /// Whether it belongs to setting a connection up, not to what an application asked for.
    #[must_use]
    pub fn is_handshake(&self) -> bool {
        const HANDSHAKE: [&str; 6] =
            ["HELLO", "AUTH", "SELECT", "CLIENT SETNAME", "CLIENT SETINFO", "CLIENT MAINT_NOTIFICATIONS"];
        HANDSHAKE.iter().any(|words| self.is(words))
    }

    /// Appends the request as an array of bulk strings.
    pub fn encode(&self, buf: &mut BytesMut) {
        let words: Vec<&[u8]> = self.args.iter().map(|arg| &arg[..]).collect();
        resp3_codec::encode_command(buf, &words);
    }
}

impl fmt::Debug for Request {
    /// The words themselves, shortened: this is a test server, and its values are test values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, word) in self.args.iter().enumerate() {
            let shown = &word[..word.len().min(40)];
            write!(f, "{}{}", if at == 0 { "" } else { " " }, String::from_utf8_lossy(shown).escape_debug())?;
        }
        Ok(())
    }
}

/// The stream is no sequence of requests; the text is what redis answers before it closes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtocolError(pub(crate) String);

/// Reads requests from a byte stream; never looks at a byte of an argument twice.
#[derive(Debug, Default)]
pub struct RequestParser {
    buffer: BytesMut,
    args: Vec<Bytes>,
    /// Arguments still to come in the present request.
    missing: usize,
    /// Length of the argument whose header has been read.
    bulk: Option<usize>,
}

impl RequestParser {
    /// Appends what arrived.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete request.
    ///
    /// # Errors
    /// The stream is not RESP; nothing after it can be read.
    pub fn poll_request(&mut self) -> Result<Option<Request>, ProtocolError> {
        loop {
            if self.missing == 0 && !self.begin()? {
                return Ok(None);
            }
            while self.missing > 0 {
                let Some(arg) = self.argument()? else { return Ok(None) };
                self.args.push(arg);
                self.missing -= 1;
            }
            if !self.args.is_empty() {
                return Ok(Some(Request { args: self.args.drain(..).collect() }));
            }
        }
    }

    /// Reads a header or a whole inline command; `false` when the line is not complete.
    fn begin(&mut self) -> Result<bool, ProtocolError> {
        let Some(line) = self.line("too big mbulk count string")? else { return Ok(false) };
        if line.first() != Some(&b'*') {
            self.args.extend(
                line.split(u8::is_ascii_whitespace)
                    .filter(|word| !word.is_empty())
                    .map(|word| line.slice_ref(word)),
            );
            return Ok(true);
        }
        let count = decimal(&line[1..])
            .filter(|count| *count <= MAX_ARGS)
            .ok_or_else(|| protocol("invalid multibulk length"))?;
        self.missing = usize::try_from(count).unwrap_or(0);
        Ok(true)
    }

    fn argument(&mut self) -> Result<Option<Bytes>, ProtocolError> {
        let length = match self.bulk {
            Some(length) => length,
            None => {
                let Some(line) = self.line("too big bulk count string")? else { return Ok(None) };
                if line.first() != Some(&b'$') {
                    let got = line.first().map_or(' ', |byte| char::from(*byte));
                    return Err(protocol(&format!("expected '$', got '{got}'")));
                }
                let length = decimal(&line[1..])
                    .filter(|length| (0..=MAX_BULK).contains(length))
                    .and_then(|length| usize::try_from(length).ok())
                    .ok_or_else(|| protocol("invalid bulk length"))?;
                self.bulk = Some(length);
                length
            }
        };
        if self.buffer.len() < length + 2 {
            return Ok(None);
        }
        let arg = self.buffer.split_to(length).freeze();
        self.buffer.advance(2);
        self.bulk = None;
        Ok(Some(arg))
    }

    fn line(&mut self, too_long: &str) -> Result<Option<Bytes>, ProtocolError> {
        let window = &self.buffer[..self.buffer.len().min(MAX_LINE)];
        let Some(end) = window.iter().position(|byte| *byte == b'\n') else {
            return if window.len() == MAX_LINE { Err(protocol(too_long)) } else { Ok(None) };
        };
        let mut line = self.buffer.split_to(end).freeze();
        self.buffer.advance(1);
        if line.last() == Some(&b'\r') {
            line.truncate(line.len() - 1);
        }
        Ok(Some(line))
    }
}

fn protocol(text: &str) -> ProtocolError {
    ProtocolError(format!("ERR Protocol error: {text}"))
}

pub(super) fn decimal(digits: &[u8]) -> Option<i64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(request: &Request) -> Vec<&[u8]> {
        request.words().iter().map(|word| &word[..]).collect()
    }

    #[test]
    fn every_split_of_a_stream_gives_the_same_requests() {
        let stream = b"*2\r\n$3\r\nGET\r\n$3\r\na\r\n\r\n*0\r\nPING  x\r\n*1\r\n$0\r\n\r\n";
        for split in 0..=stream.len() {
            let mut parser = RequestParser::default();
            let mut requests = Vec::new();
            for part in [&stream[..split], &stream[split..]] {
                parser.extend(part);
                while let Some(request) = parser.poll_request().unwrap() {
                    requests.push(request);
                }
            }
            assert_eq!(requests.len(), 3, "split at {split}");
            assert_eq!(words(&requests[0]), [&b"GET"[..], b"a\r\n"]);
            assert_eq!(words(&requests[1]), [&b"PING"[..], b"x"]);
            assert_eq!(words(&requests[2]), [&b""[..]]);
        }
    }

    #[test]
    fn a_broken_stream_is_refused_in_the_words_of_redis() {
        for (bytes, text) in [
            (&b"*x\r\n"[..], "ERR Protocol error: invalid multibulk length"),
            (b"*1\r\nx\r\n", "ERR Protocol error: expected '$', got 'x'"),
            (b"*1\r\n$x\r\n", "ERR Protocol error: invalid bulk length"),
            (b"*1\r\n$-1\r\n", "ERR Protocol error: invalid bulk length"),
        ] {
            let mut parser = RequestParser::default();
            parser.extend(bytes);
            assert_eq!(parser.poll_request().unwrap_err().0, text);
        }
        let mut parser = RequestParser::default();
        parser.extend(&vec![b'x'; MAX_LINE]);
        assert!(parser.poll_request().is_err());
    }

    #[test]
    fn words_are_compared_without_case() {
        let request = Request::new(["client", "SetName", "x"]);
        assert!(request.is("CLIENT SETNAME") && request.is_handshake());
        assert!(!request.is("CLIENT SETNAME Y"));
    }
}
