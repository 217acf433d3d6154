//! The slot of a key. Written apart from the client's on purpose: it is the independent judge of what the client sends where.

/// CRC16 as XMODEM has it, of the hash tag if the key has one that is not empty, else of the whole key.
pub(in super::super) fn slot_of(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        let length = rest.iter().position(|byte| *byte == b'}')?;
        (length > 0).then(|| &rest[..length])
    });
    let crc = tag.unwrap_or(key).iter().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            let shifted = crc << 1;
            if crc & 0x8000 == 0 { shifted } else { shifted ^ 0x1021 }
        })
    });
    crc % 16384
}

#[cfg(test)]
mod tests {
    use super::slot_of;

    /// Both were written from the specification: that they agree on keys with and without tags speaks for both.
    #[test]
    fn the_client_agrees() {
        for number in 0..10_000 {
            let key = format!("{}{{{number}}}{}", number % 3, "}".repeat(number % 2));
            let key = &key.as_bytes()[number % 5..];
            assert_eq!(slot_of(key), hitless_core::cluster::key_slot(key), "{}", key.escape_ascii());
        }
    }

    /// The first is the check value of the specification of Redis clusters; the slots are those that a server says.
    #[test]
    fn keys_have_the_slots_that_a_real_server_gives_them() {
        assert_eq!(slot_of(b"123456789"), 0x31c3);
        assert_eq!([slot_of(b"foo"), slot_of(b"bar"), slot_of(b"")], [12182, 5061, 0]);
        assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"user1000"));
        assert_eq!(slot_of(b"foo{{bar}}zap"), slot_of(b"{bar"));
        assert_eq!(slot_of(b"foo{bar}{zap}"), slot_of(b"bar"));
        assert_ne!(slot_of(b"foo{}{bar}"), slot_of(b"bar"));
    }
}
