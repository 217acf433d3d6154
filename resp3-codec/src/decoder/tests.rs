//! That the work grows with the bytes, however they are cut: counted, not timed.

use super::*;
use crate::work::spent;

/// Bytes looked at or moved while decoding `wire` in reads of `read` bytes.
fn work(wire: &[u8], read: usize) -> usize {
    let before = spent();
    let mut decoder = Decoder::new(Limits::default().line_bytes(usize::MAX));
    for read in wire.chunks(read) {
        decoder.buffer().extend_from_slice(read);
        while decoder.poll_frame().expect("valid RESP").is_some() {}
    }
    assert_eq!(decoder.buffer.unread(), b"");
    spent() - before
}

fn array_of(len: usize, element: &str) -> Vec<u8> {
    format!("*{len}\r\n{}", element.repeat(len)).into_bytes()
}

fn bulk(len: usize) -> Vec<u8> {
    format!("${len}\r\n{}\r\n", "x".repeat(len)).into_bytes()
}

/// Streams of about the same number of bytes per unit of size.
fn streams(size: usize) -> Vec<(&'static str, Vec<u8>)> {
    let nested = "*1\r\n".repeat(8) + ":1\r\n";
    vec![
        ("integers", array_of(size, ":1234567\r\n")),
        ("strings", array_of(size, "$8\r\nabcdefgh\r\n")),
        ("lines", array_of(size, "+some simple string of middling length\r\n")),
        ("nested", array_of(size / 8, &nested)),
        ("maps", array_of(size / 4, "%2\r\n+a\r\n:1\r\n+b\r\n,1.5\r\n")),
        ("replies", "$5\r\nhello\r\n".repeat(size).into_bytes()),
        ("one string", bulk(size * 10)),
        ("one line", format!("+{}\r\n", "x".repeat(size * 10)).into_bytes()),
        ("streamed", format!("$?\r\n{};0\r\n", ";4\r\nabcd\r\n".repeat(size)).into_bytes()),
    ]
}

#[test]
fn the_work_grows_no_faster_than_the_input_in_any_chunking() {
    for read in [1, 7, 100, 1448, 16 << 10, usize::MAX] {
        for ((name, small), (_, large)) in streams(4_000).iter().zip(&streams(32_000)) {
            let (small, large) = (work(small, read), work(large, read));
            // Eight times as much, but for what moving a line to larger and larger blocks adds.
            assert!(large <= 10 * small, "{name} in reads of {read}: {small}, then {large}");
        }
    }
}

#[test]
fn no_byte_is_looked_at_or_moved_more_than_a_few_times() {
    for (name, wire) in streams(10_000) {
        assert!(work(&wire, usize::MAX) <= wire.len(), "{name} in one read");
        // The longest line: searched as it arrives, moved when a block is full, and parsed in the end.
        assert!(work(&wire, 1448) <= wire.len() * 4, "{name} in packets");
        // Byte by byte, a length of n digits is read n times: bounded, since numbers are.
        assert!(work(&wire, 1) <= wire.len() * 12, "{name} byte by byte");
    }
}

#[test]
fn a_read_inside_a_known_string_costs_nothing() {
    let wire = bulk(1 << 20);
    let (header, rest) = wire.split_at(100);
    let mut decoder = Decoder::new(Limits::default());
    decoder.buffer().extend_from_slice(header);
    assert_eq!(decoder.poll_frame(), Ok(None));
    let before = spent();
    for byte in &rest[..rest.len() - 1] {
        decoder.buffer().extend_from_slice(&[*byte]);
        assert_eq!(decoder.poll_frame(), Ok(None));
    }
    assert_eq!(spent(), before);
}
