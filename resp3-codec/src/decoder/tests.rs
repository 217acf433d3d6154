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
fn the_work_is_a_few_steps_a_byte_however_much_comes_and_however_it_is_cut() {
    for size in [1_000, 4_000, 20_000] {
        for (name, wire) in streams(size) {
            for (read, steps) in [
                (usize::MAX, 1),
                // The longest line: searched as it arrives, moved when a block is full, and parsed in the end.
                (16 << 10, 4),
                (1448, 4),
                (100, 4),
                // A length of n digits is read up to n times: bounded, since numbers are.
                (7, 6),
                (1, 12),
            ] {
                let work = work(&wire, read);
                assert!(
                    work <= steps * wire.len(),
                    "{name}, {} bytes in reads of {read}: {work}",
                    wire.len()
                );
            }
        }
    }
}

#[test]
fn a_read_inside_a_known_string_costs_nothing() {
    let wire = bulk(1 << 18);
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
