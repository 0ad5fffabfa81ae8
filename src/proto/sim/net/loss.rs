//! How datagrams get lost: each by itself, or in bursts.

use crate::proto::sim::Rng;
use std::time::Duration;

/// How likely something is, in parts of a million.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Odds(u32);

impl Odds {
    /// It does not happen.
    pub const NEVER: Self = Self(0);
    /// It always happens.
    pub const ALWAYS: Self = Self(1_000_000);

    /// So many of 100, between 0 and 100.
    pub fn percent(percent: f64) -> Self {
        Self((percent.clamp(0.0, 100.0) * 10_000.0).round() as u32)
    }

    /// Whether it happens this time.
    pub fn draw(self, rng: &mut Rng) -> bool {
        self.0 > 0 && rng.below(1_000_000) < u64::from(self.0)
    }
}

/// What gets lost on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Loss {
    /// Nothing.
    #[default]
    None,
    /// Each datagram by itself.
    Random(Odds),
    /// Gilbert's two states: in the bad one, datagrams are lost with `bad`, else with `good`. The state is drawn anew with each
    /// datagram, so a burst is 1 / `recover` datagrams long on average. It does not outlast [`Loss::LONGEST`] without one.
    Burst {
        /// From the good state to the bad one.
        fall: Odds,
        /// From the bad state to the good one.
        recover: Odds,
        /// Loss in the good state.
        good: Odds,
        /// Loss in the bad state.
        bad: Odds,
    },
}

impl Loss {
    /// A silence of this length ends a burst: one that was counted in datagrams only would last for minutes where few are sent.
    pub const LONGEST: Duration = Duration::from_secs(1);

    /// Bursts of `length` datagrams on average in which all is lost, so that `percent` of all are lost.
    pub fn bursts(percent: f64, length: f64) -> Self {
        let recover = 1.0 / length.max(1.0);
        // the share of time in the bad state is fall / (fall + recover)
        let share = (percent / 100.0).clamp(0.0, 0.99);
        let fall = recover * share / (1.0 - share);
        Self::Burst {
            fall: Odds::percent(fall * 100.0),
            recover: Odds::percent(recover * 100.0),
            good: Odds::NEVER,
            bad: Odds::ALWAYS,
        }
    }

    /// Whether the next datagram is lost. `fallen` is the state, kept by the caller from one datagram to the next.
    pub(super) fn draw(self, fallen: &mut bool, rng: &mut Rng) -> bool {
        match self {
            Self::None => false,
            Self::Random(odds) => odds.draw(rng),
            Self::Burst { fall, recover, good, bad } => {
                let change = if *fallen { recover } else { fall };
                *fallen ^= change.draw(rng);
                if *fallen { bad } else { good }.draw(rng)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The share of lost datagrams in percent, and the mean length of a run of them.
    fn measure(loss: Loss) -> (f64, f64) {
        let (mut rng, mut fallen, mut lost, mut runs, mut before) = (Rng::new(3), false, 0, 0, false);
        for _ in 0..500_000 {
            let now = loss.draw(&mut fallen, &mut rng);
            lost += u32::from(now);
            runs += u32::from(now && !before);
            before = now;
        }
        (f64::from(lost) / 5_000.0, f64::from(lost) / f64::from(runs.max(1)))
    }

    #[test]
    fn shares_and_bursts_are_as_asked_for() {
        let (share, run) = measure(Loss::Random(Odds::percent(2.0)));
        assert!((1.9..2.1).contains(&share) && (1.0..1.1).contains(&run), "{share} {run}");
        let (share, run) = measure(Loss::bursts(5.0, 8.0));
        assert!((4.5..5.5).contains(&share) && (7.0..9.0).contains(&run), "{share} {run}");
        assert_eq!(measure(Loss::None).0, 0.0);
    }
}
