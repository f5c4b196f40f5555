//! The error rates of every share check, exactly: binomial tails in whole numbers, no floating point.
//!
//! A check fails a mesh when two batches in a row lie outside the bounds. With `p` the share that the weights ask for
//! and `d` the tolerance stated below, it is proved for every share check of the suite that
//!
//! - a mesh that divides at random exactly by weight is failed with probability at most 1e-6 in a whole run, all share
//!   checks together, and
//! - a mesh that is off by `d` or more is caught with probability at least 0.999. Between `d` and the ends the chance
//!   of being caught only grows, since the bounds enclose `p`.

use num_bigint::BigUint;
use smi_schemas::suite::{Bound, DRAFT, Suite};
use smi_tests::shares::{checks, sampled, tolerance};

/// A fraction in whole numbers.
#[derive(Clone)]
struct Ratio {
    over: BigUint,
    under: BigUint,
}

impl Ratio {
    fn new(over: impl Into<BigUint>, under: impl Into<BigUint>) -> Self {
        Self { over: over.into(), under: under.into() }
    }

    fn zero() -> Self {
        Self::new(0u32, 1u32)
    }

    fn squared(&self) -> Self {
        Self::new(&self.over * &self.over, &self.under * &self.under)
    }

    fn plus(&self, other: &Self) -> Self {
        Self::new(&self.over * &other.under + &other.over * &self.under, &self.under * &other.under)
    }

    fn at_most(&self, other: &Self) -> bool {
        &self.over * &other.under <= &other.over * &self.under
    }
}

/// Chance that of n requests, each answered by the workload with chance over/under, a number outside lo..=hi is.
fn outside(n: u32, bound: &Bound, over: u64, under: u64) -> Ratio {
    let (hit, miss) = (BigUint::from(over), BigUint::from(under - over));
    let mut miss_powers = vec![BigUint::from(1u32)];
    for _ in 0..n {
        let next = miss_powers.last().unwrap() * &miss;
        miss_powers.push(next);
    }
    let mut sum = BigUint::ZERO;
    let mut choose = BigUint::from(1u32);
    let mut hit_power = BigUint::from(1u32);
    for k in 0..=n {
        if k < bound.lo || k > bound.hi {
            sum += &choose * &hit_power * &miss_powers[(n - k) as usize];
        }
        choose = choose * (n - k) / (k + 1);
        hit_power *= &hit;
    }
    Ratio::new(sum, BigUint::from(under).pow(n))
}

#[test]
fn error_rates_hold_exactly() {
    let suite = Suite::read(DRAFT.bytes).unwrap().0;
    let caught_enough = Ratio::new(999u32, 1000u32);
    let mut false_failure = Ratio::zero();
    let mut sampled = 0;
    for check in checks(&suite) {
        let (shares, weights) = (check.shares, check.weights());
        let name = format!("{} {weights:?}", check.assertion.id);
        if let [bound] = &shares.bounds[..] {
            assert_eq!((bound.lo, bound.hi), (shares.n, shares.n), "{name}: all is an exact count");
            let leak = Bound { workload: bound.workload.clone(), lo: 0, hi: 0 };
            let caught = outside(shares.n, &leak, 2, 100).squared();
            assert!(caught_enough.at_most(&caught), "{name}: a leak of 2 % is caught too rarely");
            continue;
        }
        sampled += 1;
        let sum: u64 = weights.iter().sum();
        assert_eq!(weights.len(), shares.bounds.len(), "{name}: a bound for every backend");
        let mut looked_at = &shares.bounds[..];
        if let [first, second] = looked_at {
            // With two backends one count settles the other, so one tail settles both.
            assert_eq!((shares.n - first.hi, shares.n - first.lo), (second.lo, second.hi), "{name}: bounds mirror");
            looked_at = &looked_at[..1];
        }
        let points = u64::from(tolerance(&weights));
        // That any of several bounds is left has at most the sum of their chances.
        let mut one_batch = Ratio::zero();
        for (bound, weight) in looked_at.iter().zip(&weights) {
            one_batch = one_batch.plus(&outside(shares.n, bound, *weight, sum));
            for off in [weight * 100 + points * sum, weight * 100 - points * sum] {
                let caught = outside(shares.n, bound, off, sum * 100).squared();
                assert!(caught_enough.at_most(&caught), "{name}: {points} points off is caught too rarely");
            }
        }
        false_failure = false_failure.plus(&one_batch.squared());
    }
    assert_eq!(sampled, 11, "share checks of the draft");
    assert!(false_failure.at_most(&Ratio::new(1u32, 1_000_000u32)), "a sound mesh fails too often");
}

#[test]
fn the_suite_has_the_numbers_that_the_command_derives() {
    let suite = Suite::read(DRAFT.bytes).unwrap().0;
    for (check, derived) in sampled(&suite) {
        assert!(check.has(&derived), "{}: {:?} is not {derived:?}", check.assertion.id, check.shares);
    }
}
