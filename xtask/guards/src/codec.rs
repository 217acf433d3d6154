//! Decoding and encoding.

use std::hint::black_box;

use hitless_core::Request;
use resp3_codec::{Decoder, Limits, cmd};

use crate::figures::Work;
use crate::replies;

/// Commands in a pass.
pub const COMMANDS: usize = 1000;

const KEY: &[u8] = b"user:00000000042";
const VALUE: &[u8] = &[b'v'; 64];

/// Decodes the replies of the benchmark's case `name`.
///
/// # Panics
///
/// When there is no such case.
pub fn decode(name: &str) -> Work {
    let case = replies::all().into_iter().find(|case| case.name == name).expect("a case of the list");
    let mut decoder = Decoder::new(Limits::default());
    Box::new(move |meter| {
        let replies = meter.part(|| {
            let mut replies = 0;
            for read in case.wire.chunks(case.read) {
                decoder.buffer().extend_from_slice(read);
                while let Ok(Some(_)) = black_box(&decoder.poll_frame()) {
                    replies += 1;
                }
            }
            replies
        });
        assert_eq!(replies, case.replies);
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
