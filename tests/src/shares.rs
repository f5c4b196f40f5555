//! Share checks: what their numbers must do, and the smallest numbers that do it.
//!
//! A check draws a batch of n answers and once more n when a count lies outside its bounds; both outside is a failure.
//! Two demands fix n and the bounds:
//!
//! - a mesh that divides at random exactly by weight is failed with a chance of at most [`FALSE_FAILURE`] in a whole run.
//!   Each of k checks gets a k-th of that, each of its two batches the root of it, each of several bounds an equal part,
//!   each end of a bound the half;
//! - a mesh that is off by the [`tolerance`] is failed with a chance of at least [`CAUGHT`], so that a batch of it lies
//!   outside with the root of that.
//!
//! Within these the bounds are as narrow as the first demand lets them be, and n is the smallest multiple of [`STEP`]
//! at which the second holds. Chances are computed in floating point here; a test proves those of the suite's numbers
//! exactly.

use smi_schemas::smi::{Backend, Resource, TrafficSplit};
use smi_schemas::suite::{Action, Assertion, Expect, Phase, Shares, Suite};

/// Chance that a sound mesh is failed by any share check of a run.
pub const FALSE_FAILURE: f64 = 1e-6;
/// Chance that a mesh off by the tolerance is failed.
pub const CAUGHT: f64 = 0.999;
/// What n is a multiple of.
pub const STEP: u32 = 50;

/// A share check with the split that is in force when it is made.
#[derive(Clone, Copy, Debug)]
pub struct Check<'a> {
    /// Its assertion.
    pub assertion: &'a Assertion,
    /// The split.
    pub split: &'a TrafficSplit,
    /// The sample and its bounds.
    pub shares: &'a Shares,
}

/// Numbers that satisfy both demands, and what was wrong one step before.
#[derive(Clone, Debug)]
pub struct Derived {
    /// Answers in a batch.
    pub n: u32,
    /// Lowest and highest count of each backend.
    pub bounds: Vec<(u32, u32)>,
    /// Chance that a batch of a mesh that is just off lies within, at n and one step below.
    pub within: (f64, f64),
}

/// Every share check of a suite, in its order.
pub fn checks(suite: &Suite) -> Vec<Check<'_>> {
    let mut found = Vec::new();
    for assertion in &suite.assertions {
        let mut split = None;
        for phase in &assertion.phases {
            split = in_force(phase).or(split);
            for cell in phase.controls.iter().chain(&phase.expect) {
                if let (Expect::Shares(shares), Some(split)) = (&cell.expect, split) {
                    found.push(Check { assertion, split, shares });
                }
            }
        }
    }
    found
}

/// Every sampled check of a suite, with the numbers that are derived for it.
pub fn sampled(suite: &Suite) -> Vec<(Check<'_>, Derived)> {
    let sampled: Vec<_> = checks(suite).into_iter().filter(Check::is_sampled).collect();
    let count = sampled.len();
    sampled.into_iter().map(|check| (check, derive(&check.weights(), count))).collect()
}

fn in_force(phase: &Phase) -> Option<&TrafficSplit> {
    let mut written = phase.actions.iter().filter_map(Action::resource).filter_map(|resource| match resource {
        Resource::TrafficSplit(split) => Some(split),
        _ => None,
    });
    written.next_back()
}

/// Points of a hundred by which a mesh may be off without having to be caught: 5 for nine to one, two to one and
/// halves, 10 elsewhere.
pub fn tolerance(weights: &[u64]) -> u32 {
    match weights {
        [first, second] if *first == 9 * second || *first == 2 * second || first == second => 5,
        _ => 10,
    }
}

impl Check<'_> {
    /// The weights, in thousandths.
    pub fn weights(&self) -> Vec<u64> {
        self.split.backends.iter().map(Backend::thousandths).collect()
    }

    /// Whether it has these numbers.
    pub fn has(&self, derived: &Derived) -> bool {
        let bounds = self.shares.bounds.iter().map(|bound| (bound.lo, bound.hi));
        self.shares.n == derived.n && bounds.eq(derived.bounds.iter().copied())
    }

    /// Whether answers are sampled; all or nothing is an exact count.
    pub fn is_sampled(&self) -> bool {
        self.shares.bounds.len() > 1
    }
}

/// The smallest numbers for these weights in a suite with so many sampled checks.
#[allow(clippy::cast_precision_loss)] // weights and counts are far below 2^52
pub fn derive(weights: &[u64], checks: usize) -> Derived {
    let sum = weights.iter().sum::<u64>() as f64;
    let shares: Vec<f64> = weights.iter().map(|weight| *weight as f64 / sum).collect();
    // With two backends one count settles the other.
    let settled = if shares.len() == 2 { &shares[..1] } else { &shares[..] };
    let tail = (FALSE_FAILURE / checks as f64).sqrt() / settled.len() as f64 / 2.0;
    let off = f64::from(tolerance(weights)) / 100.0;
    let missed = 1.0 - CAUGHT.sqrt();
    let mut before = 1.0;
    for n in (STEP..).step_by(STEP as usize) {
        let mut bounds: Vec<(u32, u32)> = settled.iter().map(|share| narrowest(n, *share, tail)).collect();
        let chances = settled
            .iter()
            .zip(&bounds)
            .flat_map(|(share, bound)| [share - off, share + off].map(|other| inside(n, other, *bound)));
        let within = chances.fold(0.0, f64::max);
        if within <= missed {
            if let (2, [(lo, hi)]) = (shares.len(), &bounds[..]) {
                bounds.push((n - hi, n - lo));
            }
            return Derived { n, bounds, within: (within, before) };
        }
        before = within;
    }
    unreachable!("every deviation shows in a large enough sample")
}

/// The narrowest bounds that leave out at most `tail` at either end.
fn narrowest(n: u32, share: f64, tail: f64) -> (u32, u32) {
    let chances = binomial(n, share);
    let reach = |chances: &mut dyn Iterator<Item = &f64>| {
        let mut sum = 0.0;
        chances
            .take_while(|chance| {
                sum += **chance;
                sum <= tail
            })
            .count()
    };
    let lo = reach(&mut chances.iter());
    let hi = chances.len() - 1 - reach(&mut chances.iter().rev());
    (u32::try_from(lo).unwrap_or(u32::MAX), u32::try_from(hi).unwrap_or(u32::MAX))
}

fn inside(n: u32, share: f64, (lo, hi): (u32, u32)) -> f64 {
    binomial(n, share)[lo as usize..=hi as usize].iter().sum()
}

/// Chances of every count from 0 to n.
fn binomial(n: u32, share: f64) -> Vec<f64> {
    let (hit, miss) = (share.ln(), (1.0 - share).ln());
    let mut choose = 0.0; // its logarithm
    let mut chances = Vec::with_capacity(n as usize + 1);
    for k in 0..=n {
        chances.push((choose + f64::from(k) * hit + f64::from(n - k) * miss).exp());
        choose += (f64::from(n - k) / f64::from(k + 1)).ln();
    }
    chances
}
