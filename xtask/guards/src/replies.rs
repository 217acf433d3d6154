//! What is decoded, and how it arrives.

/// One stream of replies, and the reads in which it arrives.
#[derive(Debug)]
pub struct Stream {
    /// The bytes of one pass.
    pub wire: Vec<u8>,
    /// Bytes per read.
    pub read: usize,
    /// Outermost frames in a pass.
    pub replies: usize,
}

const WHOLE: usize = usize::MAX;
/// A usual buffer of a reader.
const CHUNK: usize = 16 << 10;
/// What a packet of a usual network carries.
const PACKET: usize = 1448;

/// 1000 times +OK, in one read.
pub fn simple() -> Stream {
    Stream { wire: b"+OK\r\n".repeat(1000), read: WHOLE, replies: 1000 }
}

/// 1000 strings of 16 bytes, in one read.
pub fn strings() -> Stream {
    Stream { wire: bulk(16).repeat(1000), read: WHOLE, replies: 1000 }
}

/// A string of 1 MiB, in reads of 16 KiB.
pub fn long_string() -> Stream {
    Stream { wire: bulk(1 << 20), read: CHUNK, replies: 1 }
}

/// An array of 10 000 integers, in reads of 16 KiB.
pub fn integers() -> Stream {
    let wire = array(10_000, |number| format!(":{}\r\n", number * 7919 % 1_000_003).into_bytes());
    Stream { wire, read: CHUNK, replies: 1 }
}

/// An array of 1000 strings of 64 bytes, in one read.
pub fn array_of_strings() -> Stream {
    Stream { wire: array(1000, |_| bulk(64)), read: WHOLE, replies: 1 }
}

/// The same, in reads of 1448 bytes.
pub fn array_in_packets() -> Stream {
    Stream { read: PACKET, ..array_of_strings() }
}

fn bulk(len: usize) -> Vec<u8> {
    let text = (0..len).map(|at| b'a' + (at % 26) as u8);
    format!("${len}\r\n").into_bytes().into_iter().chain(text).chain(*b"\r\n").collect()
}

fn array(len: usize, element: impl Fn(usize) -> Vec<u8>) -> Vec<u8> {
    format!("*{len}\r\n").into_bytes().into_iter().chain((0..len).flat_map(element)).collect()
}

/// A hundred rounds of what a client sees in RESP3, in reads of 16 KiB.
pub fn mixture() -> Stream {
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
    Stream { wire: ROUND.concat().repeat(100).into_bytes(), read: CHUNK, replies: 100 * ROUND.len() }
}
