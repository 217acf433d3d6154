//! How often the decoder and the encoders allocate, and how much a hostile peer can make the decoder hold.

mod common;

use allocation_counter::{AllocationInfo, measure};
use bytes::BytesMut;
use resp3_codec::{Decoder, Frame, Limits, cmd, encode_command};

/// Decodes `wire` in reads of `read` bytes and drops each frame; the number of frames.
fn pass(decoder: &mut Decoder, wire: &[u8], read: usize) -> usize {
    let mut frames = 0;
    for read in wire.chunks(read) {
        decoder.buffer().extend_from_slice(read);
        while decoder.poll_frame().expect("valid RESP").is_some() {
            frames += 1;
        }
    }
    frames
}

/// Allocations per pass, in steady state.
fn allocations(wire: &[u8], read: usize) -> u64 {
    let mut decoder = Decoder::new(Limits::default());
    let mut passes = |count: usize| assert!((0..count).all(|_| pass(&mut decoder, wire, read) > 0));
    passes(4);
    measure(|| passes(2)).count_total / 2
}

#[test]
fn scalars_and_strings_are_decoded_without_allocating() {
    let each = "+OK\r\n+PONG\r\n-ERR no\r\n:1\r\n$5\r\nhello\r\n$-1\r\n*-1\r\n_\r\n#t\r\n,1.5\r\n(123\r\n!2\r\nab\r\n=5\r\ntxt:a\r\n*0\r\n";
    let wire = each.repeat(100);
    for read in [100, 1448, 16 << 10, 32 << 10] {
        assert_eq!(allocations(wire.as_bytes(), read), 0, "reads of {read}");
    }
}

#[test]
fn large_strings_are_decoded_without_allocating() {
    for len in [20_000, 32_000, 40_000, 60_000, 100_000, 1 << 20] {
        let wire = format!("${len}\r\n{}\r\n+OK\r\n", "x".repeat(len));
        assert_eq!(allocations(wire.as_bytes(), 16 << 10), 0, "{len} bytes");
    }
}

#[test]
fn memory_for_a_large_string_is_allocated_once_when_its_length_is_known() {
    for len in [100_000, 1 << 20, 2_000_000] {
        let wire = format!("${len}\r\n{}\r\n", "x".repeat(len));
        let mut decoder = Decoder::new(Limits::default());
        decoder.buffer();
        let info = measure(|| assert_eq!(pass(&mut decoder, wire.as_bytes(), 16 << 10), 1));
        // With room for a read behind the string, and a block of 64 KiB for what follows.
        assert!(info.bytes_total < len as u64 + (100 << 10), "{len} bytes: {info:?}");
    }
}

#[test]
fn an_aggregate_is_decoded_with_one_allocation() {
    let aggregates = [
        "*3\r\n:1\r\n$2\r\nab\r\n_\r\n".to_owned(),
        "~2\r\n+a\r\n+b\r\n".to_owned(),
        ">2\r\n+a\r\n+b\r\n".to_owned(),
        "%2\r\n+a\r\n:1\r\n+b\r\n:2\r\n".to_owned(),
        format!("*1000\r\n{}", format!("$64\r\n{}\r\n", "x".repeat(64)).repeat(1000)),
        format!("*10000\r\n{}", ":123456\r\n".repeat(10_000)),
    ];
    for wire in aggregates {
        for read in [100, 1448, 16 << 10] {
            assert_eq!(allocations(wire.as_bytes(), read), 1, "{} bytes in reads of {read}", wire.len());
        }
    }
    // What is reserved for the outer array leaves enough for each of the inner ones.
    let wide = format!("*40000\r\n{}", format!("*10\r\n{}", ":1\r\n".repeat(10)).repeat(40_000));
    assert!(allocations(wide.as_bytes(), 16 << 10) < 40_010);
    assert_eq!(allocations(b"*2\r\n%1\r\n+a\r\n~1\r\n:1\r\n*1\r\n:2\r\n", 16 << 10), 4, "four, nested");
}

/// What decoding `wire`, and holding on to what came of it, takes.
fn peak(wire: &[u8], read: usize, limits: Limits) -> AllocationInfo {
    measure(|| {
        let mut decoder = Decoder::new(limits);
        let mut frames = Vec::new();
        for read in wire.chunks(read) {
            decoder.buffer().extend_from_slice(read);
            loop {
                match decoder.poll_frame() {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => break,
                    Err(_) => return,
                }
            }
        }
    })
}

/// INV-11, INV-14
#[test]
fn announcements_alone_cost_little() {
    const MIB: u64 = 1 << 20;
    let limits =
        Limits::default().depth(usize::MAX).elements(usize::MAX).bulk_bytes(usize::MAX).frame_bytes(u64::MAX);
    for announcement in ["$", "!", "=", "$?\r\n;"] {
        let info = peak(format!("{announcement}1000000000000\r\nabc").as_bytes(), 1 << 20, limits);
        assert!(info.bytes_max < 2 * MIB + (200 << 10), "{announcement}: {info:?}");
    }
    for announcement in ["*", "%", "~", ">", "|"] {
        // One, and as many as may be nested in each other.
        for nested in [1, Limits::MAX_DEPTH] {
            let wire = format!("{announcement}1000000000\r\n").repeat(nested);
            let info = peak(wire.as_bytes(), 1 << 20, limits);
            assert!(info.bytes_max < MIB + (800 << 10), "{nested} x {announcement}: {info:?}");
        }
    }
}

/// INV-11
#[test]
fn memory_follows_what_arrives() {
    let limits = Limits::default();
    // The most expensive elements per byte on the wire: 40 bytes for three, doubled while a vector grows.
    let nulls = format!("*16000000\r\n{}", "_\r\n".repeat(100_000));
    let streamed = format!("*?\r\n{}", "_\r\n".repeat(100_000));
    let nested = "*1000\r\n".repeat(60) + &"_\r\n".repeat(100_000);
    let empty = format!("*16000000\r\n{}", "*0\r\n".repeat(100_000));
    for wire in [nulls, streamed, nested, empty] {
        for read in [1448, 64 << 10] {
            let info = peak(wire.as_bytes(), read, limits);
            assert!(info.bytes_max < 60 * wire.len() as u64 + (2 << 20), "{}: {info:?}", &wire[..20]);
        }
    }
    // A string that is announced larger than what arrives.
    let string = format!("$500000000\r\n{}", "x".repeat(5_000_000));
    let info = peak(string.as_bytes(), 16 << 10, limits);
    assert!(info.bytes_max < 4 * string.len() as u64, "{info:?}");
}

#[test]
fn a_small_frame_keeps_no_more_than_a_block_alive() {
    let large = format!("${}\r\n{}\r\n", 4 << 20, "x".repeat(4 << 20));
    let mut decoder = Decoder::new(Limits::default());
    let mut kept = Vec::new();
    let info = measure(|| {
        for _ in 0..10 {
            pass(&mut decoder, large.as_bytes(), 16 << 10);
            // A small reply in the same read as the end of a large one.
            let (start, end) = large.as_bytes().split_at(large.len() - 1000);
            pass(&mut decoder, start, 16 << 10);
            decoder.buffer().extend_from_slice(&[end, b"$5\r\nsmall\r\n"].concat());
            assert_eq!(
                decoder.poll_frame().expect("valid").and_then(Frame::into_bytes).map(|text| text.len()),
                Some(4 << 20)
            );
            kept.push(decoder.poll_frame().expect("valid").expect("the small one"));
        }
        decoder.shrink();
    });
    assert!(kept.iter().all(|frame| *frame == Frame::bulk("small")));
    // Ten small frames, each with a block of 64 KiB.
    assert!(info.bytes_current < 10 * (66 << 10), "{info:?}");
}

/// An `OK` is not a slice of the read buffer, so keeping one keeps nothing else alive.
#[test]
fn an_ok_keeps_no_memory_alive() {
    for (wire, kept) in [("+OK\r\n", 0), ("*2\r\n+OK\r\n+OK\r\n", 2 * size_of::<Frame>() as u64)] {
        let mut frame = None;
        let info = measure(|| {
            let mut decoder = Decoder::new(Limits::default());
            decoder.buffer().extend_from_slice(wire.as_bytes());
            frame = decoder.poll_frame().expect("valid");
        });
        assert!(frame.is_some());
        assert_eq!(info.bytes_current, kept as i64, "{wire:?}");
    }
}

/// Whatever has arrived, the buffer has room for a read of 16 KiB without growing.
#[test]
fn the_buffer_has_room_for_a_read_at_any_time() {
    let small = "$5\r\nhello\r\n*2\r\n:1\r\n+PONG\r\n".repeat(4_000);
    let large = format!("${}\r\n{}\r\n", 300_000, "x".repeat(300_000));
    let line = format!("+{}\r\n", "x".repeat(300_000));
    for wire in [small.clone(), large.clone() + &small + &large, line] {
        for read in [100, 1448, 10_000, 16 << 10, 64 << 10] {
            let mut decoder = Decoder::new(Limits::default().line_bytes(usize::MAX));
            for read in wire.as_bytes().chunks(read) {
                let buffer = decoder.buffer();
                assert!(buffer.capacity() - buffer.len() >= 16 << 10, "reads of {}", read.len());
                buffer.extend_from_slice(read);
                while decoder.poll_frame().expect("valid RESP").is_some() {}
            }
        }
    }
}

/// Bytes that a decoder holds after it has decoded each of `wires`, in reads of so many bytes, and dropped the frames.
fn held<'a>(wires: impl IntoIterator<Item = (&'a [u8], usize)>) -> i64 {
    let mut decoder = None;
    let info = measure(|| {
        let decoder = decoder.insert(Decoder::new(Limits::default()));
        for (wire, read) in wires {
            pass(decoder, wire, read);
        }
    });
    info.bytes_current
}

#[test]
fn the_memory_of_a_large_string_or_read_is_kept_for_32_reads() {
    let string = format!("${}\r\n{}\r\n", 1 << 20, "x".repeat(1 << 20));
    let frames = b"+PONG\r\n".repeat(100_000);
    for large in [(string.as_bytes(), 16 << 10), (&frames[..], usize::MAX)] {
        let after = |reads| {
            let small = std::iter::repeat_n((&b"+OK\r\n"[..], 100), reads);
            held([large].into_iter().chain(small))
        };
        assert!(after(32) >= large.0.len() as i64);
        assert!(after(33) < 200 << 10);
    }
}

#[test]
fn the_memory_of_a_string_of_more_than_2_mib_is_not_kept() {
    let after = |len| held([(format!("${len}\r\n{}\r\n", "x".repeat(len)).as_bytes(), 16 << 10)]);
    assert!(after(2 << 20) >= 2 << 20);
    assert!(after(3 << 20) < 200 << 10);
}

/// Besides the block that is read into, a decoder keeps two blocks of 64 KiB that the frames were slices of.
#[test]
fn two_full_blocks_are_kept_for_reuse() {
    let wire = b"+PONG\r\n".repeat(100_000);
    let mut frames = Vec::with_capacity(100_000);
    let mut decoder = Decoder::new(Limits::default());
    let info = measure(|| {
        for read in wire.chunks(16 << 10) {
            decoder.buffer().extend_from_slice(read);
            while let Some(frame) = decoder.poll_frame().expect("valid RESP") {
                frames.push(frame);
            }
        }
        frames.clear();
    });
    let blocks = info.bytes_current / (64 << 10);
    assert_eq!(blocks, 3, "{info:?}");
}

#[test]
fn a_quiet_decoder_that_was_shrunk_holds_no_buffer() {
    let mut decoder = Decoder::new(Limits::default());
    let info = measure(|| {
        let nested = "*1\r\n".repeat(50) + ":1\r\n";
        for wire in [format!("${}\r\n{}\r\n", 200_000, "x".repeat(200_000)), "+PONG\r\n".repeat(1000), nested]
        {
            pass(&mut decoder, wire.as_bytes(), 1448);
        }
        decoder.shrink();
    });
    assert_eq!(info.bytes_current, 0);
    assert_eq!(pass(&mut decoder, b"+OK\r\n", 1448), 1, "and still decodes");
}

/// Decodes `wire` in reads as long as the frugal buffer has room for, but not longer than `read`; the number of frames.
fn frugal_pass(decoder: &mut Decoder, mut wire: &[u8], read: usize) -> usize {
    let mut frames = 0;
    while !wire.is_empty() {
        let buffer = decoder.frugal_buffer();
        let room = buffer.capacity() - buffer.len();
        assert!(room >= 1 << 10, "room for {room} bytes");
        let (now, later) = wire.split_at(wire.len().min(read).min(room));
        buffer.extend_from_slice(now);
        wire = later;
        while decoder.poll_frame().expect("valid RESP").is_some() {
            frames += 1;
        }
    }
    frames
}

/// A decoder that has read little holds 4 KiB, also before a read and after it was shrunk; one that goes on to read has blocks as any
/// other, and keeps nothing of the first one. RULE-435
#[test]
fn a_frugal_buffer_is_small_until_it_was_used_up() {
    let (some, many) = (b"+PONG\r\n".repeat(400), b"+PONG\r\n".repeat(100_000));
    let mut decoder = Decoder::new(Limits::default());
    // A block has a few bytes beside it, which count those who have slices of it.
    let is = |held: i64, size: i64| (size..size + 64).contains(&held);
    for _ in 0..2 {
        let little = measure(|| {
            assert_eq!(frugal_pass(&mut decoder, &some, 100), 400);
            decoder.frugal_buffer();
        });
        assert!(is(little.bytes_current, 4 << 10), "{little:?}");
        let more = measure(|| assert_eq!(frugal_pass(&mut decoder, &many, 100), 100_000));
        assert!(is(little.bytes_current + more.bytes_current, 64 << 10), "a block in its place: {more:?}");
        let shrunk = measure(|| decoder.shrink());
        assert_eq!(little.bytes_current + more.bytes_current + shrunk.bytes_current, 0);
    }
}

/// Whatever comes first, the frames are those that any other buffer leads to, and a long string is moved once.
#[test]
fn a_frugal_buffer_takes_whatever_comes() {
    for len in [1, 1_000, 3_000, 4_000, 5_000, 20_000, 40_000, 200_000, 3 << 20] {
        let wire = format!("+OK\r\n${len}\r\n{}\r\n", "x".repeat(len)).repeat(3);
        for read in [100, 1448, usize::MAX] {
            let mut decoder = Decoder::new(Limits::default());
            assert_eq!(frugal_pass(&mut decoder, wire.as_bytes(), read), 6, "{len} bytes in reads of {read}");
            let info = measure(|| assert_eq!(frugal_pass(&mut decoder, wire.as_bytes(), read), 6));
            assert!(info.bytes_total < 10 * len as u64 + (200 << 10), "{len} bytes: {info:?}");
            decoder.shrink();
            assert_eq!(frugal_pass(&mut decoder, wire.as_bytes(), read), 6);
        }
    }
}

#[test]
fn a_compact_frame_lets_go_of_the_read_buffer() {
    let frames = [
        "*2\r\n$5\r\nhello\r\n+x\r\n",
        "%1\r\n+key\r\n:1\r\n",
        "%1\r\n:1\r\n$5\r\nvalue\r\n",
        "|1\r\n+key\r\n:1\r\n:2\r\n",
        "|1\r\n:1\r\n:2\r\n+x\r\n",
    ];
    for wire in frames {
        let mut decoder = Decoder::new(Limits::default());
        let mut kept = None;
        let info = measure(|| {
            decoder.buffer().extend_from_slice(wire.as_bytes());
            kept = decoder.poll_frame().expect("valid").map(Frame::compact);
            decoder.shrink();
        });
        assert!(kept.is_some());
        assert!(info.bytes_current < 200, "{wire:?}: {info:?}");
    }
}

#[test]
fn a_string_is_encoded_with_one_allocation_of_little_more_than_its_size() {
    for len in [10, 1000, 100_000] {
        let text = "x".repeat(len);
        for frame in [Frame::bulk(text.clone()), Frame::error(text.clone()), Frame::BlobError(text.into())] {
            let info = measure(|| frame.encode(&mut BytesMut::new()));
            assert_eq!(info.count_total, 1, "{len} bytes");
            assert!(info.bytes_total <= len as u64 + 32, "{info:?}");
        }
    }
}

#[test]
fn commands_are_encoded_without_allocating_and_built_with_one_allocation() {
    let (key, value) = ([b'k'; 16], [b'v'; 64]);
    let mut buf = BytesMut::with_capacity(1024);
    let borrowed = measure(|| encode_command(&mut buf, &[b"SET", &key, &value]));
    assert_eq!(borrowed.count_total, 0);
    let built = measure(|| drop(cmd("SET").arg(key).arg(value).into_bytes()));
    assert_eq!(built.count_total, 1);
    let large = vec![b'v'; 1 << 20];
    let built = measure(|| drop(cmd("SET").arg(key).arg(&large).into_bytes()));
    assert!(built.count_total <= 3 && built.bytes_max < (1 << 20) + 1024, "{built:?}");
}
