//! Each limit holds exactly, and says so.

mod common;

use bytes::BytesMut;
use common::try_decode_cut;
use resp3_codec::{DecodeErrorKind, Limit, Limits};

fn refused(wire: &str, limits: Limits) -> Option<(Limit, u64)> {
    let (frames, error) = try_decode_cut(wire.as_bytes(), &[], limits);
    match error.map(|error| error.kind()) {
        Some(DecodeErrorKind::Limit { limit, allowed }) => Some((limit, allowed)),
        Some(other) => panic!("{other}"),
        None => {
            assert_eq!(frames.len(), 1, "{wire:?} is one frame");
            None
        }
    }
}

/// INV-14
#[test]
fn nesting_ends_at_the_limit() {
    let limits = Limits::default().depth(3);
    assert_eq!(refused("*1\r\n%1\r\n+k\r\n~1\r\n:1\r\n", limits), None);
    assert_eq!(refused("*1\r\n%1\r\n+k\r\n~1\r\n*0\r\n", limits), Some((Limit::Depth, 3)));
    assert_eq!(refused("*1\r\n*1\r\n|1\r\n+k\r\n$?\r\n", limits), Some((Limit::Depth, 3)));
    assert_eq!(refused("*1\r\n*1\r\n*1\r\n*-1\r\n", limits), None);
    assert_eq!(refused("*0\r\n", limits.depth(0)), Some((Limit::Depth, 0)));
}

/// INV-11, INV-14
#[test]
fn the_depth_limit_cannot_be_set_so_high_that_dropping_a_frame_exhausts_the_stack() {
    let limits = Limits::default().depth(usize::MAX);
    let nested = |depth| "*1\r\n".repeat(depth) + ":1\r\n";
    assert_eq!(refused(&nested(Limits::MAX_DEPTH), limits), None);
    assert_eq!(refused(&nested(100_000), limits), Some((Limit::Depth, Limits::MAX_DEPTH as u64)));
}

/// What a script nests 512 deep is a reply, and so is a status or an error longer than 64 KiB. RULE-120
#[test]
fn the_default_limits_accept_what_scripts_send() {
    let depth = Limits::MAX_DEPTH;
    for wire in [
        "*1\r\n".repeat(depth) + ":1\r\n",
        "%1\r\n+k\r\n".repeat(depth) + ":1\r\n",
        format!("-ERR {}\r\n", "x".repeat(1 << 20)),
        format!("+{}\r\n", "x".repeat(1 << 20)),
        format!("({}\r\n", "9".repeat(1 << 20)),
    ] {
        assert_eq!(refused(&wire, Limits::default()), None);
    }
}

/// Aggregates of one kind inside each other, `depth` of them, and what ends the streamed ones.
fn nests(depth: usize) -> impl Iterator<Item = String> {
    let open = [
        "*1\r\n",
        "~1\r\n",
        ">1\r\n",
        "%1\r\n:1\r\n",
        "%1\r\n",
        "|1\r\n:1\r\n:1\r\n",
        "|1\r\n:1\r\n",
        "*?\r\n",
    ];
    let close = ["", "", "", "", ":1\r\n", "", ":1\r\n", ".\r\n"];
    open.into_iter().zip(close).map(move |(open, close)| open.repeat(depth) + ":1\r\n" + &close.repeat(depth))
}

/// Half a MiB of stack is enough for whatever is done with a frame of the greatest depth. INV-11, RULE-120
#[test]
fn the_deepest_frame_is_safe_on_a_small_stack() {
    let use_frames = || {
        for wire in nests(Limits::MAX_DEPTH) {
            let (frames, error) =
                try_decode_cut(wire.repeat(2).as_bytes(), &[wire.len() / 2], Limits::default());
            assert_eq!((frames.len(), error), (2, None), "{}", &wire[..8]);
            let mut buf = BytesMut::new();
            frames[0].encode(&mut buf);
            let streamed = buf.len();
            frames[0].encode_streamed(&mut buf, 1);
            assert!(buf.len() > streamed);
            assert!(format!("{:#?}", frames[0]).len() < 128 << 10);
            let clone = frames[0].clone();
            assert!(clone == frames[1]);
            let compact = clone.compact();
            assert!(compact == frames[0]);
            drop(compact.without_attributes());
            // A frame that never ends is dropped as well.
            let (frames, error) = try_decode_cut(&wire.as_bytes()[..wire.len() - 1], &[], Limits::default());
            assert_eq!((frames.len(), error), (0, None));
        }
    };
    let thread = std::thread::Builder::new().stack_size(512 << 10).spawn(use_frames).expect("a thread");
    assert!(thread.join().is_ok());
}

/// INV-14
#[test]
fn lines_end_at_the_limit() {
    let limits = Limits::default().line_bytes(4);
    for (accepted, rejected) in
        [("+abcd\r\n", "+abcde\r\n"), (":1234\r\n", ":12345\r\n"), (",1.25\r\n", ",1.125\r\n")]
    {
        assert_eq!(refused(accepted, limits), None);
        assert_eq!(refused(rejected, limits), Some((Limit::LineBytes, 4)));
    }
    assert_eq!(refused("+OK\r\n", limits.line_bytes(1)), Some((Limit::LineBytes, 1)));
}

/// INV-14
#[test]
fn a_line_without_end_is_refused_once_it_is_too_long() {
    let limits = Limits::default().line_bytes(4);
    let (_, error) = try_decode_cut(b"+abcd\r", &[], limits);
    assert_eq!(error, None, "it may still end");
    for cuts in [&[][..], &[4], &[4, 6]] {
        let (_, error) = try_decode_cut(b"+abcdefgh", cuts, limits);
        let kind = error.map(|error| (error.kind(), error.offset()));
        assert_eq!(kind, Some((DecodeErrorKind::Limit { limit: Limit::LineBytes, allowed: 4 }, 0)));
    }
}

/// INV-14
#[test]
fn strings_end_at_the_limit_before_their_bytes_arrive() {
    let limits = Limits::default().bulk_bytes(4);
    for (accepted, rejected) in [
        ("$4\r\nabcd\r\n", "$5\r\n"),
        ("!4\r\nabcd\r\n", "!5\r\n"),
        ("=4\r\ntxt:\r\n", "=5\r\n"),
        ("$?\r\n;4\r\nabcd\r\n;0\r\n", "$?\r\n;5\r\n"),
        ("$?\r\n;2\r\nab\r\n;2\r\ncd\r\n;0\r\n", "$?\r\n;2\r\nab\r\n;3\r\ncde\r\n"),
        ("$?\r\n;1\r\na\r\n;3\r\nbcd\r\n;0\r\n", "$?\r\n;1\r\na\r\n;4\r\nbcde\r\n"),
    ] {
        assert_eq!(refused(accepted, limits), None);
        assert_eq!(refused(rejected, limits), Some((Limit::BulkBytes, 4)));
    }
}

/// INV-11
#[test]
fn no_length_is_too_large_to_be_handled() {
    let limits = Limits::default().bulk_bytes(usize::MAX).elements(usize::MAX).frame_bytes(u64::MAX);
    for length in [u64::MAX, u64::MAX - 1, i64::MAX as u64, 1 << 62] {
        for tag in ["$", "!", "=", "$?\r\n;"] {
            let error = refused(&format!("{tag}{length}\r\n"), limits);
            assert_eq!(error, Some((Limit::BulkBytes, limits.max_bulk_bytes() as u64)), "{tag}{length}");
        }
        for tag in ["*", "%", "~", ">", "|"] {
            let wire = format!("{tag}{length}\r\n");
            assert_eq!(try_decode_cut(wire.as_bytes(), &[], limits), (vec![], None), "{tag}{length}");
        }
    }
}

/// INV-14
#[test]
fn elements_are_counted_over_all_levels_before_they_arrive() {
    let limits = Limits::default().elements(4);
    for (accepted, rejected) in [
        ("*4\r\n:1\r\n:2\r\n:3\r\n:4\r\n", "*5\r\n"),
        ("%2\r\n+a\r\n:1\r\n+b\r\n:2\r\n", "%3\r\n"),
        ("*2\r\n*1\r\n:1\r\n*1\r\n:1\r\n", "*2\r\n*3\r\n"),
        ("*?\r\n:1\r\n:2\r\n:3\r\n:4\r\n.\r\n", "*?\r\n:1\r\n:2\r\n:3\r\n:4\r\n:5\r\n"),
        ("|1\r\n+a\r\n:1\r\n*2\r\n:1\r\n:2\r\n", "|1\r\n+a\r\n:1\r\n*3\r\n"),
        ("*0\r\n", "*18446744073709551615\r\n"),
        ("%0\r\n", "%18446744073709551615\r\n"),
    ] {
        assert_eq!(refused(accepted, limits), None);
        assert_eq!(refused(rejected, limits), Some((Limit::Elements, 4)));
    }
}

#[test]
fn the_elements_of_one_frame_do_not_count_for_the_next() {
    let (frames, error) =
        try_decode_cut(&b"*3\r\n:1\r\n:2\r\n:3\r\n".repeat(10), &[], Limits::default().elements(4));
    assert_eq!((frames.len(), error), (10, None));
}

/// INV-14
#[test]
fn frames_end_at_the_limit() {
    let limits = Limits::default().frame_bytes(12);
    for (accepted, rejected) in [
        ("*2\r\n:1\r\n:2\r\n", "*2\r\n:1\r\n:22\r\n"),
        ("$6\r\nabcdef\r\n", "$7\r\n"),
        ("+abcdefghi\r\n", "+abcdefghij\r\n"),
    ] {
        assert_eq!(refused(accepted, limits), None);
        assert_eq!(refused(rejected, limits), Some((Limit::FrameBytes, 12)));
    }
}

#[test]
fn the_bytes_of_one_frame_do_not_count_for_the_next() {
    let limits = Limits::default().frame_bytes(12);
    let wire = b"*2\r\n:1\r\n:2\r\n+abcdefghi\r\n+OK\r\n:12345678\r\n$6\r\nabcdef\r\n".repeat(3);
    for read in [wire.len(), 20, 7, 1] {
        let cuts = (0..wire.len()).step_by(read).collect::<Vec<_>>();
        let (frames, error) = try_decode_cut(&wire, &cuts, limits);
        assert_eq!((frames.len(), error), (15, None), "reads of {read}");
    }
}

/// INV-14
#[test]
fn a_frame_that_arrives_in_parts_ends_at_the_same_limit() {
    let limits = Limits::default().frame_bytes(12);
    let wire = b"+before\r\n*3\r\n:1\r\n:2\r\n:3\r\n";
    for read in [wire.len(), 20, 7, 1] {
        let cuts = (0..wire.len()).step_by(read).collect::<Vec<_>>();
        let (frames, error) = try_decode_cut(wire, &cuts, limits);
        let error = error.map(|error| (error.kind(), error.offset()));
        let exceeded = DecodeErrorKind::Limit { limit: Limit::FrameBytes, allowed: 12 };
        assert_eq!((frames.len(), error), (1, Some((exceeded, 21))), "reads of {read}");
    }
}

/// Only chunks may stand inside a streamed string. Anything else is that fault, wherever the stream is cut. PITFALL-32
#[test]
fn a_fault_inside_a_streamed_string_is_the_same_wherever_it_is_cut() {
    let limits = Limits::default().frame_bytes(6);
    for wire in ["$?\r\n$?\r\n", "$?\r\n*1\r\n", "$?\r\n.\r\n", "$?\r\n:1\r\n", "$?\r\n$1\r\nx\r\n"] {
        for cut in 0..wire.len() {
            let (_, error) = try_decode_cut(wire.as_bytes(), &[cut], limits);
            let error = error.map(|error| (error.kind(), error.offset()));
            assert_eq!(error, Some((DecodeErrorKind::Chunk, 4)), "{wire:?} cut at {cut}");
        }
    }
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let limits = Limits::default();
    assert_eq!(limits.max_depth(), 512);
    assert_eq!(limits.max_line_bytes(), 512 << 20);
    assert_eq!(limits.max_bulk_bytes(), 512 << 20);
    assert_eq!(limits.max_elements(), u32::MAX as usize);
    assert_eq!(limits.max_frame_bytes(), 1 << 40);
}

#[test]
fn settings_are_read_back() {
    let limits = Limits::default().depth(2).line_bytes(3).bulk_bytes(4).elements(5).frame_bytes(6);
    assert_eq!((limits.max_depth(), limits.max_line_bytes(), limits.max_bulk_bytes()), (2, 3, 4));
    assert_eq!((limits.max_elements(), limits.max_frame_bytes()), (5, 6));
    let most = limits.depth(usize::MAX).bulk_bytes(usize::MAX);
    assert_eq!((most.max_depth(), most.max_bulk_bytes()), (Limits::MAX_DEPTH, isize::MAX as usize / 2));
}
