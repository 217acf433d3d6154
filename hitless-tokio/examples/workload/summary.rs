//! What a run came to, for people.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::record::{Op, Record};

/// Figures of all operations.
#[derive(Default)]
pub(crate) struct Summary {
    latencies: Vec<Duration>,
    /// When each success was complete, in seconds since 1970.
    completed: Vec<f64>,
    errors: BTreeMap<String, u64>,
    /// Messages that a subscriber has received.
    messages: u64,
    mismatches: u64,
    /// MGETs of a pair, what was wrong with them.
    pairs: u64,
    stale_pairs: u64,
    torn_pairs: u64,
    /// Items that BLPOP brought, and how often it brought none.
    items: u64,
    nils: u64,
    /// By worker: the last number that INCR returned, and how many INCRs failed since.
    counters: BTreeMap<u32, (i64, i64)>,
    /// INCRs that were acknowledged and are missing in the count.
    lost: i64,
    /// Steps of the counters that no INCR accounts for.
    repeated: i64,
}

impl Summary {
    pub(crate) fn add(&mut self, record: &Record) {
        if record.op == Op::Message && record.status == "ok" {
            self.messages += 1;
        } else if record.op == Op::Pop && matches!(record.status.as_str(), "ok" | "nil") {
            // How long it took says when an item was pushed.
            let count = if record.status == "ok" { &mut self.items } else { &mut self.nils };
            *count += 1;
        } else if record.status == "ok" {
            self.latencies.push(record.latency);
            self.completed.push(record.start + record.latency.as_secs_f64());
            let is_stale = u64::from(record.value == "mismatch");
            if record.op == Op::GetPair {
                self.pairs += 1;
                self.stale_pairs += is_stale;
                self.torn_pairs += u64::from(record.value == "torn");
            } else {
                self.mismatches += is_stale;
            }
        } else {
            *self.errors.entry(record.status.clone()).or_default() += 1;
        }
        if record.op == Op::Incr {
            self.count(record);
        }
    }

    /// After an INCR that failed the counter may or may not have moved.
    fn count(&mut self, record: &Record) {
        let (last, failed) = self.counters.entry(record.worker).or_default();
        let Ok(number) = record.value.parse::<i64>() else {
            *failed += 1;
            return;
        };
        // Keys may be left from an earlier run with the same id.
        if *last != 0 || number <= 1 {
            self.lost += (*last + 1 - number).max(0);
            self.repeated += (number - (*last + 1 + *failed)).max(0);
        }
        (*last, *failed) = (number, 0);
    }

    /// The longest time without any success between the first and the last one.
    fn longest_gap(&self) -> f64 {
        let mut completed = self.completed.clone();
        completed.sort_by(f64::total_cmp);
        completed.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errors: u64 = self.errors.values().sum();
        writeln!(f, "operations   {} succeeded, {errors} failed", self.latencies.len())?;
        for (status, count) in &self.errors {
            writeln!(f, "  {count:>8}   {status}")?;
        }
        let mut latencies = self.latencies.clone();
        latencies.sort_unstable();
        let at = |share: f64| {
            let index = (latencies.len() as f64 * share) as usize;
            latencies.get(index.min(latencies.len().saturating_sub(1))).copied().unwrap_or_default()
        };
        writeln!(
            f,
            "latency      p50 {:?}, p99 {:?}, p99.9 {:?}, max {:?}",
            at(0.5),
            at(0.99),
            at(0.999),
            at(1.0)
        )?;
        writeln!(f, "longest gap  {:.1} ms between two successes", self.longest_gap() * 1000.0)?;
        writeln!(f, "INCR         {} lost, {} executed twice", self.lost, self.repeated)?;
        writeln!(f, "GET          {} mismatches", self.mismatches)?;
        if self.pairs > 0 {
            writeln!(f, "MGET         {} mismatches, {} torn", self.stale_pairs, self.torn_pairs)?;
        }
        if self.messages > 0 {
            writeln!(f, "messages     {}", self.messages)?;
        }
        if self.items + self.nils > 0 {
            writeln!(f, "BLPOP        {} items, {} times none", self.items, self.nils)?;
        }
        Ok(())
    }
}
