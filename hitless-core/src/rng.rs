//! Randomness as a seed: the same seed gives the same choices, on every platform.

use std::time::Duration;

/// Parts per million that make one whole.
const WHOLE: u64 = 1_000_000;

/// A SplitMix64 generator: one word of state, good enough to spread retries, and nothing more. Not for
/// secrets.
///
/// It is not `Clone`: two copies would make the same choices, which is what jitter exists to prevent. (Model checking, by
/// way of the feature `explore`, wants just that.)
#[derive(Debug)]
#[cfg_attr(feature = "explore", derive(Clone))]
pub struct Rng(u64);

impl Rng {
    /// A generator that repeats itself for the same `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number below `n`; 0 when `n` is 0. The bias is below `n` in 2^64, which no retry can notice.
    pub fn below(&mut self, n: u64) -> u64 {
        // The high word of a 128-bit product is below `n`, so it fits.
        ((u128::from(self.next_u64()) * u128::from(n)) >> 64) as u64
    }

    /// `delay`, made shorter or longer by at most `percent` (100 at most), evenly spread.
    pub fn jitter(&mut self, delay: Duration, percent: u32) -> Duration {
        let spread = u64::from(percent.min(100)) * (WHOLE / 100);
        let factor = WHOLE - spread + self.below(2 * spread + 1);
        // A `Duration` has at most 94 bits of nanoseconds and the factor 21, so the product fits in 128.
        from_nanos(delay.as_nanos() * u128::from(factor) / u128::from(WHOLE))
    }
}

/// `nanos` as a `Duration`, the longest one when it does not fit.
fn from_nanos(nanos: u128) -> Duration {
    const SECOND: u128 = 1_000_000_000;
    match u64::try_from(nanos / SECOND) {
        Ok(seconds) => Duration::new(seconds, (nanos % SECOND) as u32),
        Err(_) => Duration::MAX,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Rng, *};

    /// INV-13
    #[test]
    fn gives_the_published_sequence() {
        let mut rng = Rng::new(1_234_567);
        let words: Vec<u64> = (0..5).map(|_| rng.next_u64()).collect();
        assert_eq!(
            words,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423,
                4_593_380_528_125_082_431,
                16_408_922_859_458_223_821,
            ]
        );
    }

    #[test]
    fn below_reaches_every_number_and_no_other() {
        let mut rng = Rng::new(7);
        let mut seen = [0u32; 6];
        for _ in 0..6_000 {
            seen[rng.below(6) as usize] += 1;
        }
        assert!(seen.iter().all(|&count| (800..1_200).contains(&count)), "{seen:?}");
        assert_eq!(rng.below(0), 0);
        assert_eq!(rng.below(1), 0);
    }

    #[test]
    fn jitter_uses_its_whole_range() {
        let mut rng = Rng::new(3);
        let second = Duration::from_secs(1);
        let delays: Vec<Duration> = (0..1_000).map(|_| rng.jitter(second, 25)).collect();
        assert!(delays.iter().any(|delay| *delay < Duration::from_millis(770)));
        assert!(delays.iter().any(|delay| *delay > Duration::from_millis(1_230)));
    }

    proptest! {
        #[test]
        fn jitter_stays_within_its_percentage(
            seed: u64, seconds in 0..1_000_000u64, nanos in 0..1_000_000_000u32, percent in 0..=100u32,
        ) {
            let delay = Duration::new(seconds, nanos);
            let jittered = Rng::new(seed).jitter(delay, percent);
            let most = delay.as_nanos() * u128::from(percent) / 100 + 1;
            prop_assert!(jittered.as_nanos().abs_diff(delay.as_nanos()) <= most);
        }

        #[test]
        fn jitter_is_total(seed: u64, seconds: u64, percent: u32) {
            let longest = Duration::new(seconds, 999_999_999);
            prop_assert!(Rng::new(seed).jitter(longest, percent) <= longest.saturating_mul(2));
        }
    }
}
