//! `SET` of a 16 B key to a 64 B value, from the arguments to the 107 bytes that go out.

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use resp3_codec::{cmd, encode_command};

/// The length of the encoded command.
pub const WIRE_BYTES: usize = 107;

const KEY: &[u8] = b"user:00000000042";
const VALUE: &[u8] = &[b'v'; 64];

/// An encoder's name, and what encodes one command by it.
pub struct Contender {
    /// The row of the table.
    pub name: &'static str,
    /// Prepares passes of one command each; each gives the bytes encoded.
    pub prepare: fn() -> Box<dyn FnMut() -> usize>,
}

/// This workspace's encoders, then those of its peers.
pub const CONTENDERS: [Contender; 7] = [
    Contender { name: "resp3-codec, encode_command", prepare: borrowed },
    Contender { name: "resp3-codec, cmd() encoded into a buffer", prepare: builder },
    Contender { name: "resp3-codec, cmd() into bytes of its own", prepare: owned },
    Contender { name: "redis 1, cmd() packed", prepare: redis },
    Contender { name: "redis-protocol 6, borrowed frame", prepare: redis_protocol_borrowed },
    Contender { name: "redis-protocol 6, BytesFrame", prepare: redis_protocol },
    Contender { name: "resp-rs 0.3, frame_to_bytes", prepare: resp_rs },
];

/// A buffer that is emptied between commands, as after a write.
fn into_buffer(encode: impl Fn(&mut BytesMut) + 'static) -> Box<dyn FnMut() -> usize> {
    let mut buf = BytesMut::with_capacity(4096);
    Box::new(move || {
        buf.clear();
        encode(&mut buf);
        black_box(&buf).len()
    })
}

fn borrowed() -> Box<dyn FnMut() -> usize> {
    into_buffer(|buf| encode_command(buf, &[b"SET", black_box(KEY), black_box(VALUE)]))
}

fn builder() -> Box<dyn FnMut() -> usize> {
    into_buffer(|buf| cmd("SET").arg(black_box(KEY)).arg(black_box(VALUE)).encode(buf))
}

fn owned() -> Box<dyn FnMut() -> usize> {
    Box::new(|| black_box(cmd("SET").arg(black_box(KEY)).arg(black_box(VALUE)).into_bytes()).len())
}

fn redis() -> Box<dyn FnMut() -> usize> {
    Box::new(|| {
        let packed = redis::cmd("SET").arg(black_box(KEY)).arg(black_box(VALUE)).get_packed_command();
        black_box(packed).len()
    })
}

fn redis_protocol_borrowed() -> Box<dyn FnMut() -> usize> {
    use redis_protocol::resp3::encode::complete::extend_encode_borrowed;
    use redis_protocol::resp3::types::BorrowedFrame;
    let blob = |data| BorrowedFrame::BlobString { data, attributes: None };
    into_buffer(move |buf| {
        let data = [blob(b"SET"), blob(black_box(KEY)), blob(black_box(VALUE))];
        let frame = BorrowedFrame::Array { data: &data, attributes: None };
        extend_encode_borrowed(buf, &frame, false).expect("the command can be encoded");
    })
}

fn redis_protocol() -> Box<dyn FnMut() -> usize> {
    use redis_protocol::resp3::encode::complete::extend_encode;
    use redis_protocol::resp3::types::BytesFrame;
    let blob = |data| BytesFrame::BlobString { data: Bytes::copy_from_slice(data), attributes: None };
    into_buffer(move |buf| {
        let data = vec![blob(b"SET"), blob(black_box(KEY)), blob(black_box(VALUE))];
        let frame = BytesFrame::Array { data, attributes: None };
        extend_encode(buf, &frame, false).expect("the command can be encoded");
    })
}

fn resp_rs() -> Box<dyn FnMut() -> usize> {
    use resp_rs::resp3::{Frame, frame_to_bytes};
    let blob = |data| Frame::BulkString(Some(Bytes::copy_from_slice(data)));
    Box::new(move || {
        let frame = Frame::Array(Some(vec![blob(b"SET"), blob(black_box(KEY)), blob(black_box(VALUE))]));
        black_box(frame_to_bytes(&frame)).len()
    })
}
