//! Rounds in turns: noise that comes and goes meets all sides alike.

use std::time::Duration;

use anyhow::Result;

use crate::environment::Environment;
use crate::load::{self, Closed};
use crate::plan::Plan;
use crate::request::Request;
use crate::samples::Samples;
use crate::server::Endpoint;

/// A ratio of what the sides of one round have come to.
pub(crate) type Ratio<const SIDES: usize> = fn(&[Closed; SIDES]) -> f64;

/// Rounds of so many sides, without those that made caches warm.
pub(crate) struct Rounds<const SIDES: usize>(Vec<[Closed; SIDES]>);

impl<const SIDES: usize> Rounds<SIDES> {
    /// Lets `load` load each side in turn, until each of the ratios is known as well as `plan` asks.
    ///
    /// # Errors
    /// Those of `load`.
    pub(crate) async fn run(
        plan: &Plan,
        ratios: &[Ratio<SIDES>],
        load: impl AsyncFn(usize, Duration) -> Result<Closed>,
    ) -> Result<Self> {
        for side in 0..SIDES {
            load(side, plan.warm_up).await?;
        }
        let mut rounds = Self(Vec::new());
        while ratios.iter().any(|&ratio| plan.wants_more(&rounds.samples(ratio))) {
            let mut round = [Closed::default(); SIDES];
            for (side, closed) in round.iter_mut().enumerate() {
                *closed = load(side, plan.round).await?;
            }
            rounds.0.push(round);
        }
        Ok(rounds)
    }

    /// As [`run`](Self::run), with one and the same request to each of the servers.
    ///
    /// # Errors
    /// When an answer is missing or its status is 400 or above.
    pub(crate) async fn of_request(
        environment: &Environment<'_>,
        ratios: &[Ratio<SIDES>],
        request: &Request,
        sides: [&Endpoint; SIDES],
    ) -> Result<Self> {
        let script = environment.path("request.lua");
        Self::run(environment.plan, ratios, async |side, time| {
            load::closed(sides[side], request, &script, load::CONNECTIONS, time).await
        })
        .await
    }

    /// A figure of each round.
    pub(crate) fn samples(&self, figure: impl Fn(&[Closed; SIDES]) -> f64) -> Samples {
        let mut samples = Samples::default();
        self.0.iter().for_each(|round| samples.push(figure(round)));
        samples
    }

    /// The requests a second of each side, in the middle round.
    pub(crate) fn rates(&self) -> [f64; SIDES] {
        std::array::from_fn(|side| self.samples(|round| round[side].rate).median())
    }

    /// The CPU time a request of each side in microseconds, with its interval.
    pub(crate) fn cpu_us(&self) -> [Samples; SIDES] {
        std::array::from_fn(|side| self.samples(|round| round[side].cpu_us))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::Rounds;
    use crate::load::Closed;
    use crate::plan::FULL;

    #[tokio::test]
    async fn sides_take_turns_until_all_ratios_are_known() {
        let turns = RefCell::new(Vec::new());
        let rounds =
            Rounds::<2>::run(&FULL, &[|[a, b]| a.cpu_us / b.cpu_us], async |side, time| {
                turns.borrow_mut().push((side, time));
                let cpu_us = if side == 0 { 12.0 } else { 10.0 };
                Ok(Closed { requests: 1, rate: 1.0, cpu_us })
            })
            .await
            .unwrap();

        assert!((rounds.samples(|[a, b]| a.cpu_us / b.cpu_us).median() - 1.2).abs() < 1e-9);
        let turns = turns.into_inner();
        assert_eq!(
            turns[..4],
            [(0, FULL.warm_up), (1, FULL.warm_up), (0, FULL.round), (1, FULL.round)]
        );
        assert_eq!(turns.len(), 2 * (FULL.min_rounds + 1));
    }
}
