//! Decoding and encoding.

use std::hint::black_box;

use hitless_core::Request;
use resp3_codec::{Decoder, Limits, cmd};

use crate::figures::Work;
use crate::replies::Stream;

/// Commands in a pass.
pub const COMMANDS: usize = 1000;

const KEY: &[u8] = b"user:00000000042";
const VALUE: &[u8] = &[b'v'; 64];

/// Decodes `stream`.
///
/// # Panics
///
/// When not all of its replies are decoded.
pub fn decode(stream: Stream) -> Work {
    let mut decoder = Decoder::new(Limits::default());
    Box::new(move |meter| {
        let replies = meter.part(|| {
            let mut replies = 0;
            for read in stream.wire.chunks(stream.read) {
                decoder.buffer().extend_from_slice(read);
                while let Ok(Some(_)) = black_box(&decoder.poll_frame()) {
                    replies += 1;
                }
            }
            replies
        });
        assert_eq!(replies, stream.replies);
    })
}

/// Encodes GET.
pub fn encode_get() -> Work {
    encode(|| Request::command(cmd("GET").arg(black_box(KEY))).is_ok())
}

/// Encodes SET.
pub fn encode_set() -> Work {
    encode(|| Request::command(cmd("SET").arg(black_box(KEY)).arg(black_box(VALUE))).is_ok())
}

fn encode(command: fn() -> bool) -> Work {
    Box::new(move |meter| assert!(meter.part(|| (0..COMMANDS).all(|_| command()))))
}
