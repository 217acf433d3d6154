//! What the integration tests share.
#![allow(dead_code, reason = "each test binary uses a part")]

use bytes::BytesMut;
use resp3_codec::{DecodeError, Decoder, Frame, Limits};

/// Every type of RESP2 and RESP3, the streamed forms, nesting, attributes in all places, and long lines.
pub(crate) const ALL_TYPES: &[u8] = b"\
    +OK\r\n+\r\n+PONG from afar, a line that is longer than a few words\r\n-ERR no\r\n-\r\n\
    :0\r\n:-1\r\n:+7\r\n:9223372036854775807\r\n:-9223372036854775808\r\n\
    $0\r\n\r\n$5\r\na\r\nbc\r\n$-1\r\n*-1\r\n_\r\n#t\r\n#f\r\n\
    ,3.25\r\n,-0\r\n,1e300\r\n,inf\r\n,-inf\r\n,nan\r\n,10\r\n\
    (3492890328409238509324850943850943825024385\r\n(-1\r\n\
    !21\r\nSYNTAX invalid syntax\r\n=15\r\ntxt:Some string\r\n=4\r\nmkd:\r\n\
    *0\r\n~0\r\n%0\r\n>0\r\n*3\r\n:1\r\n*2\r\n+a\r\n$1\r\nb\r\n_\r\n\
    ~2\r\n,1.5\r\n#t\r\n%2\r\n+k\r\n:1\r\n*1\r\n:2\r\n%1\r\n_\r\n_\r\n\
    >3\r\n$7\r\nmessage\r\n+ch\r\n$2\r\nhi\r\n\
    |1\r\n+ttl\r\n:3600\r\n*2\r\n|1\r\n+a\r\n#f\r\n:5\r\n|0\r\n|1\r\n+b\r\n+c\r\n$1\r\nx\r\n\
    $?\r\n;4\r\nHell\r\n;5\r\no wor\r\n;1\r\nd\r\n;0\r\n$?\r\n;0\r\n\
    *?\r\n:1\r\n~?\r\n:2\r\n.\r\n%?\r\n+k\r\n$?\r\n;1\r\nv\r\n;0\r\n.\r\n.\r\n*?\r\n.\r\n+end\r\n";

/// Feeds `wire` in the pieces that end at `cuts`, in order.
pub(crate) fn try_decode_cut(
    wire: &[u8],
    cuts: &[usize],
    limits: Limits,
) -> (Vec<Frame>, Option<DecodeError>) {
    let mut decoder = Decoder::new(limits);
    let mut frames = Vec::new();
    let mut from = 0;
    for &to in cuts.iter().chain([&wire.len()]) {
        decoder.buffer().extend_from_slice(&wire[from..to]);
        from = to;
        loop {
            match decoder.poll_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}

pub(crate) fn decode_cut(wire: &[u8], cuts: &[usize], limits: Limits) -> Vec<Frame> {
    let (frames, error) = try_decode_cut(wire, cuts, limits);
    assert_eq!(error, None);
    frames
}

pub(crate) fn decode_whole(wire: &[u8]) -> Vec<Frame> {
    decode_cut(wire, &[], Limits::default())
}

/// The frames as bytes: unlike the frames, equal where they hold a NaN, and shown in full when they differ.
pub(crate) fn encoded(frames: &[Frame]) -> String {
    let mut buf = BytesMut::new();
    for frame in frames {
        frame.encode(&mut buf);
        buf.extend_from_slice(b" | ");
    }
    buf.escape_ascii().to_string()
}
