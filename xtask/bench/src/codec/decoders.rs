//! The contenders. Each pass appends a stream's reads to a buffer, decodes until nothing more comes, and drops each
//! frame.

use std::hint::black_box;
use std::io::{self, Read};

use bytes::{Bytes, BytesMut};
use resp3_codec::{Decoder, Limits};

use hitless_guards::replies::Stream;

/// A decoder's name, and what makes a pass over a stream out of it.
pub struct Contender {
    /// The row of the table.
    pub name: &'static str,
    /// Whether it is one of the crates that ours is compared with.
    pub is_peer: bool,
    /// Prepares passes; each gives the number of replies decoded.
    pub prepare: fn(&Stream) -> Box<dyn FnMut() -> usize + '_>,
}

/// This workspace's decoder, its peers, and what no decoder can beat.
pub const CONTENDERS: [Contender; 5] = [
    Contender { name: "resp3-codec", is_peer: false, prepare: resp3_codec },
    Contender { name: "resp-rs 0.3, RESP3", is_peer: true, prepare: resp_rs },
    Contender { name: "redis 1, Parser", is_peer: true, prepare: redis },
    Contender { name: "redis-protocol 6, RESP3", is_peer: true, prepare: redis_protocol },
    Contender { name: "append only, nothing decoded", is_peer: false, prepare: append_only },
];

fn reads(stream: &Stream) -> impl Iterator<Item = &[u8]> {
    stream.wire.chunks(stream.read)
}

fn resp3_codec(stream: &Stream) -> Box<dyn FnMut() -> usize + '_> {
    let mut decoder = Decoder::new(Limits::default());
    Box::new(move || {
        let mut replies = 0;
        for read in reads(stream) {
            decoder.buffer().extend_from_slice(read);
            while let Ok(Some(_)) = black_box(&decoder.poll_frame()) {
                replies += 1;
            }
        }
        replies
    })
}

fn resp_rs(stream: &Stream) -> Box<dyn FnMut() -> usize + '_> {
    let mut parser = resp_rs::resp3::Parser::new();
    // `feed` copies out of a `Bytes`: made beforehand, so that there is one copy as with the others.
    let reads = reads(stream).map(Bytes::copy_from_slice).collect::<Vec<_>>();
    Box::new(move || {
        let mut replies = 0;
        for read in &reads {
            parser.feed(read.clone());
            while let Ok(Some(_)) = black_box(&parser.next_frame()) {
                replies += 1;
            }
        }
        replies
    })
}

fn redis_protocol(stream: &Stream) -> Box<dyn FnMut() -> usize + '_> {
    use redis_protocol::resp3::decode::complete::decode_bytes_mut;
    let mut buffer = BytesMut::new();
    Box::new(move || {
        let mut replies = 0;
        for read in reads(stream) {
            buffer.extend_from_slice(read);
            while !buffer.is_empty()
                && let Ok(Some(_)) = black_box(&decode_bytes_mut(&mut buffer))
            {
                replies += 1;
            }
        }
        replies
    })
}

fn redis(stream: &Stream) -> Box<dyn FnMut() -> usize + '_> {
    let mut parser = redis::Parser::new();
    Box::new(move || {
        let mut replies = 0;
        let mut link = Link { left: &stream.wire, read: stream.read };
        for _ in 0..stream.replies {
            replies += usize::from(black_box(&parser.parse_value(&mut link)).is_ok());
        }
        replies
    })
}

fn append_only(stream: &Stream) -> Box<dyn FnMut() -> usize + '_> {
    let mut buffer = BytesMut::with_capacity(stream.wire.len());
    Box::new(move || {
        buffer.clear();
        for read in reads(stream) {
            buffer.extend_from_slice(read);
            black_box(&buffer);
        }
        stream.replies
    })
}

/// The reads, from where a socket would be: this peer does its own reading.
struct Link<'a> {
    left: &'a [u8],
    read: usize,
}

impl Read for Link<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = buf.len().min(self.read).min(self.left.len());
        let (now, later) = self.left.split_at(len);
        buf[..len].copy_from_slice(now);
        self.left = later;
        Ok(len)
    }
}
