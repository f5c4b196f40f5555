//! A window: probe, and ask the metrics API, until the cells of a phase agree, let it settle, hold, and then draw the
//! samples. A denial that is broken in the middle of a hold ends it.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::future::try_join_all;
use smi_schemas::metrics::{Question, Reading};
use smi_schemas::report::{Tally, Window};
use smi_schemas::suite::{Cell, Expect, Pace, Phase, Shape, Shares};
use smi_verifier::judge::{LOST_PER_BATCH, MAX_PAUSE_MS, agrees, may_agree, shows, within};
use tokio::time::Instant;

use crate::target::{Fault, Lane};

/// Observes one phase. It ends met, or at the first disagreement after the limit, or when a denial relapses.
pub(super) async fn observe(
    lane: &impl Lane,
    shape: &Shape,
    phase: &Phase,
    pace: &Pace,
    limit: Duration,
) -> Result<Window, Fault> {
    let cells: Vec<&Cell> = phase.rounds(shape).map(|(_, cell)| cell).collect();
    let mut hold = Hold::new(pace.needed(phase), pace.settle);
    let started = Instant::now();
    let mut pause = lane.spacing();
    loop {
        let began = started.elapsed();
        let round = try_join_all(cells.iter().map(|cell| lane.probe(cell, pace.requests(cell)))).await?;
        // One after the other, for two may be compared.
        let mut readings = Vec::new();
        for question in &phase.metrics {
            readings.push(lane.read(question).await?);
        }
        hold.add(shape, &cells, round, (&phase.metrics, readings), began);
        if hold.relapsed {
            return Ok(hold.window(lane.spacing(), started.elapsed(), true));
        }
        let overdue = started.elapsed() >= limit && (!hold.goes_on() || hold.is_complete());
        let agree = hold.agrees(shape, &cells, &phase.metrics);
        let done = agree && (hold.is_complete() || (overdue && hold.is_full()));
        if done || (overdue && !agree) {
            let mut window = hold.window(lane.spacing(), started.elapsed(), done);
            if done {
                for (_, cell, shares) in phase.samples(shape) {
                    window.samples.push(sample(lane, cell, shares).await?);
                }
            }
            return Ok(window);
        }
        pause = if hold.goes_on() {
            lane.spacing()
        } else {
            (pause * 2).min(Duration::from_millis(MAX_PAUSE_MS)).max(lane.spacing())
        };
        tokio::time::sleep(pause).await;
    }
}

/// Rounds, and the run of agreeing ones at their end.
struct Hold {
    needed: u32,
    settle: u32,
    rounds: u32,
    /// Agreeing rounds in a row, the last one included.
    agreeing: u32,
    /// In the last round a denial was broken that had held for longer than settling takes.
    relapsed: bool,
    /// When the first of the agreeing rounds began.
    converged: Option<Duration>,
    /// The last rounds and when they began, no more than are needed.
    recent: VecDeque<(Duration, Vec<Tally>)>,
    /// What the metrics API said in the last round.
    readings: Vec<Reading>,
}

impl Hold {
    fn new(needed: u32, settle: u32) -> Self {
        Self {
            needed,
            settle,
            rounds: 0,
            agreeing: 0,
            relapsed: false,
            converged: None,
            recent: VecDeque::new(),
            readings: Vec::new(),
        }
    }

    /// The first agreeing round must show everything that is expected; later ones need not show every workload of a
    /// spread again.
    fn add(
        &mut self,
        shape: &Shape,
        cells: &[&Cell],
        round: Vec<Tally>,
        (questions, readings): (&[Question], Vec<Reading>),
        began: Duration,
    ) {
        let first = self.agreeing == 0;
        let agree = cells
            .iter()
            .zip(&round)
            .all(|(cell, tally)| if first { agrees(shape, cell, tally) } else { may_agree(shape, cell, tally) })
            && shown(questions, &readings);
        let is_broken = |(cell, tally): (&&Cell, &Tally)| cell.expect == Expect::Deny && !agrees(shape, cell, tally);
        self.relapsed = self.agreeing > self.settle && cells.iter().zip(&round).any(is_broken);
        self.readings = readings;
        self.rounds += 1;
        self.agreeing = if agree { self.agreeing + 1 } else { 0 };
        self.converged = match self.agreeing {
            0 if self.relapsed => self.converged,
            0 => None,
            1 => Some(began),
            _ => self.converged,
        };
        self.recent.push_back((began, round));
        if self.recent.len() > self.needed as usize {
            self.recent.pop_front();
        }
    }

    /// Whether the last round agreed.
    fn goes_on(&self) -> bool {
        self.agreeing > 0
    }

    /// Whether enough rounds in a row agreed.
    fn is_complete(&self) -> bool {
        self.agreeing >= self.settle + self.needed
    }

    /// Whether there are as many rounds as are needed, agreeing in a row or only together.
    fn is_full(&self) -> bool {
        self.recent.len() == self.needed as usize
    }

    /// Whether the last rounds agree, taken together.
    fn agrees(&self, shape: &Shape, cells: &[&Cell], questions: &[Question]) -> bool {
        cells.iter().zip(self.tallies()).all(|(cell, tally)| agrees(shape, cell, &tally))
            && shown(questions, &self.readings)
    }

    fn tallies(&self) -> Vec<Tally> {
        let mut rounds = self.recent.iter().map(|(_, round)| round);
        let mut sums = rounds.next().cloned().unwrap_or_default();
        for round in rounds {
            for (sum, tally) in sums.iter_mut().zip(round) {
                sum.add(tally);
            }
        }
        sums
    }

    fn window(&self, spacing: Duration, elapsed: Duration, held: bool) -> Window {
        let converged = self.converged.or(self.recent.front().map(|(began, _)| *began));
        let whole = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Window {
            rounds: self.rounds,
            relapsed: self.relapsed,
            held: u32::try_from(self.recent.len()).unwrap_or(u32::MAX),
            spacing_ms: u32::try_from(spacing.as_millis()).unwrap_or(u32::MAX),
            converged_ms: converged.filter(|_| held).map(whole),
            elapsed_ms: whole(elapsed),
            cells: self.tallies(),
            samples: Vec::new(),
            metrics: self.readings.clone(),
        }
    }
}

fn shown(questions: &[Question], readings: &[Reading]) -> bool {
    questions.iter().zip(readings).all(|(question, reading)| shows(question, reading))
}

/// One batch, or two when the first is not within its bounds.
async fn sample(lane: &impl Lane, cell: &Cell, shares: &Shares) -> Result<Vec<Tally>, Fault> {
    let first = batch(lane, cell, shares).await?;
    if within(shares, &first) {
        return Ok(vec![first]);
    }
    Ok(vec![first, batch(lane, cell, shares).await?])
}

/// Requests until n are answered, or as many are lost as a batch may lose.
async fn batch(lane: &impl Lane, cell: &Cell, shares: &Shares) -> Result<Tally, Fault> {
    let most = shares.n + shares.n / LOST_PER_BATCH;
    let mut sum = Tally::default();
    loop {
        let answered = u32::try_from(sum.answers()).unwrap_or(u32::MAX);
        let missing = shares.n.saturating_sub(answered).min(most.saturating_sub(sum.sent));
        if missing == 0 {
            return Ok(sum);
        }
        sum.add(&lane.probe(cell, missing).await?);
    }
}
