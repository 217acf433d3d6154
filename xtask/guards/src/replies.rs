//! What is decoded, and how it arrives.

/// One stream of replies, and the reads in which it arrives.
#[derive(Debug)]
pub struct Case {
    /// The column of the table.
    pub name: &'static str,
    /// What it consists of.
    pub title: &'static str,
    /// The bytes of one pass.
    pub wire: Vec<u8>,
    /// Bytes per read.
    pub read: usize,
    /// Outermost frames in a pass.
    pub replies: usize,
    /// What the time of a pass is divided by: its elements, or 1000 for microseconds per pass.
    pub divisor: f64,
    /// The time to stay below: that of every peer.
    pub must: f64,
    /// The time to strive for, if it is an absolute one.
    pub goal: Option<f64>,
}

/// The six cases, and the chunked ones of them again in a single read.
pub fn all() -> Vec<Case> {
    let integers = array(10_000, |number| format!(":{}\r\n", number * 7919 % 1_000_003).into_bytes());
    let strings = array(1000, |_| bulk(64));
    let (mixture, elements) = mixture();
    vec![
        Case { must: 25.0, goal: Some(12.0), ..case("a", "1000 x +OK", b"+OK\r\n".repeat(1000), WHOLE) },
        Case { must: 30.0, goal: Some(20.0), ..case("b", "1000 x 16 B bulk", bulk(16).repeat(1000), WHOLE) },
        Case {
            replies: 1,
            divisor: 1000.0,
            must: 33.0,
            goal: Some(31.0),
            ..case("c", "1 MiB bulk in 16 KiB reads (µs)", bulk(1 << 20), 16 << 10)
        },
        Case {
            replies: 1,
            divisor: 10_000.0,
            must: 30.0,
            goal: Some(20.0),
            ..case("d", "array of 10 000 integers in 16 KiB reads", integers, 16 << 10)
        },
        Case {
            replies: 1200,
            divisor: elements,
            must: 35.0,
            ..case("e", "1200 mixed RESP3 replies, 3 deep, in 16 KiB reads", mixture, 16 << 10)
        },
        Case {
            replies: 1,
            must: 33.0,
            ..case("f", "array of 1000 x 64 B in 1448 B reads", strings.clone(), 1448)
        },
        Case { replies: 1, must: 33.0, ..case("f1", "the same in one read", strings, WHOLE) },
    ]
}

const WHOLE: usize = usize::MAX;

fn case(name: &'static str, title: &'static str, wire: Vec<u8>, read: usize) -> Case {
    Case { name, title, wire, read, replies: 1000, divisor: 1000.0, must: 0.0, goal: None }
}

fn bulk(len: usize) -> Vec<u8> {
    let text = (0..len).map(|at| b'a' + (at % 26) as u8);
    format!("${len}\r\n").into_bytes().into_iter().chain(text).chain(*b"\r\n").collect()
}

fn array(len: usize, element: impl Fn(usize) -> Vec<u8>) -> Vec<u8> {
    format!("*{len}\r\n").into_bytes().into_iter().chain((0..len).flat_map(element)).collect()
}

/// A hundred rounds of what a client sees in RESP3, and how many elements they have, aggregates included.
fn mixture() -> (Vec<u8>, f64) {
    const ROUND: [&str; 12] = [
        "+OK\r\n",
        ":12345\r\n",
        "$11\r\nhello world\r\n",
        "_\r\n",
        ",3.14159\r\n",
        "#t\r\n",
        "%3\r\n$6\r\nserver\r\n$5\r\nredis\r\n$5\r\nproto\r\n:3\r\n$4\r\nrole\r\n$6\r\nmaster\r\n",
        ">3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$12\r\nhello, world\r\n",
        "~3\r\n$3\r\nred\r\n$5\r\ngreen\r\n$4\r\nblue\r\n",
        "*2\r\n*2\r\n$5\r\nalice\r\n,1.5\r\n*2\r\n$3\r\nbob\r\n,-2.25\r\n",
        "%1\r\n$6\r\nfields\r\n*2\r\n%2\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n:2\r\n~2\r\n+x\r\n+y\r\n",
        "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
    ];
    // Outermost and nested, in the order of the replies.
    const ELEMENTS: [usize; 12] = [1, 1, 1, 1, 1, 1, 7, 4, 4, 7, 11, 1];
    (ROUND.concat().repeat(100).into_bytes(), ELEMENTS.iter().sum::<usize>() as f64 * 100.0)
}
