//! Which mutants are tried: all, some drawn at random, or a shard of them.

use std::collections::BTreeSet;
use std::str::FromStr;

/// Draws `sample` of the mutants with this seed, each at most once; takes all without a sample. They come back sorted.
pub(super) fn draw(mutants: BTreeSet<String>, sample: Option<usize>, seed: u64) -> Vec<String> {
    let mut left: Vec<String> = mutants.into_iter().collect();
    let Some(sample) = sample else { return left };
    let mut random = SplitMix64(seed);
    let drawn: BTreeSet<String> = (0..sample.min(left.len()))
        .map(|_| {
            let place = random.below(left.len());
            left.swap_remove(place)
        })
        .collect();
    drawn.into_iter().collect()
}

/// The generator of Steele, Lea and Flood (2014): the counter grows by an odd constant, and its bits are mixed.
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`. That some are likelier by 2^-50 matters to nobody.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

/// One part of several: `2/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shard {
    number: usize,
    of: usize,
}

impl Shard {
    /// Every n-th of the mutants, so that each shard has some of each file.
    pub(super) fn of(self, mutants: Vec<String>) -> Vec<String> {
        mutants.into_iter().skip(self.number).step_by(self.of).collect()
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(k, n)| Some((k.parse().ok()?, n.parse().ok()?)));
        match numbers {
            Some((number, of)) if number < of => Ok(Self { number, of }),
            _ => Err("k/n with k below n, such as 0/4".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mutants(count: usize) -> BTreeSet<String> {
        (0..count).map(|number| format!("{number:03}")).collect()
    }

    #[test]
    fn a_seed_draws_the_same_mutants_each_time_and_another_seed_others() {
        let drawn = draw(mutants(100), Some(10), 7);
        assert_eq!(drawn, draw(mutants(100), Some(10), 7));
        assert_ne!(drawn, draw(mutants(100), Some(10), 8));
        assert_eq!(drawn.len(), 10);
        assert!(drawn.is_sorted() && drawn.iter().all(|mutant| mutants(100).contains(mutant)));
    }

    #[test]
    fn a_larger_sample_holds_the_smaller_one() {
        let (small, large) = (draw(mutants(100), Some(10), 7), draw(mutants(100), Some(30), 7));
        assert!(small.iter().all(|mutant| large.contains(mutant)));
    }

    #[test]
    fn a_sample_that_is_larger_than_what_there_is_takes_all() {
        assert_eq!(draw(mutants(3), Some(10), 1), draw(mutants(3), None, 1));
    }

    #[test]
    fn the_generator_is_split_mix_64() {
        let mut random = SplitMix64(1_234_567);
        assert_eq!([random.next(), random.next()], [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
    }

    #[test]
    fn shards_are_disjoint_and_cover_everything() {
        let all = draw(mutants(10), None, 1);
        let shards = (0..3).map(|number| Shard { number, of: 3 }.of(all.clone()));
        let mut together: Vec<String> = shards.flatten().collect();
        together.sort();
        assert_eq!(together, all);
        assert_eq!("2/8".parse(), Ok(Shard { number: 2, of: 8 }));
        assert!(["8/8", "1", "a/b", "0/0"].iter().all(|text| text.parse::<Shard>().is_err()));
    }
}
