//! Rounds of a baseline and a figure, alternating.

use std::time::Duration;

use crate::machine::{self, Cpu};

/// How often and how long.
#[derive(Clone, Copy)]
pub(crate) struct Rounds {
    pub(crate) count: usize,
    pub(crate) time: Duration,
}

/// What the rounds of one thing gave.
pub(crate) struct Runs<T> {
    values: Vec<T>,
    foreign_percent: f64,
}

/// The rounds of two things, side by side.
pub(crate) struct Pairs<T> {
    pub(crate) baseline: Runs<T>,
    pub(crate) figure: Runs<T>,
}

/// One number a round, and how much of the processors went to others meanwhile.
pub(crate) struct Series {
    pub(crate) values: Vec<f64>,
    pub(crate) foreign_percent: f64,
}

impl Rounds {
    pub(crate) async fn compare<T>(
        self,
        mut baseline: impl AsyncFnMut(Duration) -> T,
        mut figure: impl AsyncFnMut(Duration) -> T,
    ) -> Pairs<T> {
        let before = Cpu::now();
        let (mut baselines, mut figures) = (Vec::new(), Vec::new());
        for round in 0..self.count {
            // Every other round runs the other way around: neither always follows the other.
            if round % 2 == 0 {
                baselines.push(self.one(&mut baseline).await);
                figures.push(self.one(&mut figure).await);
            } else {
                figures.push(self.one(&mut figure).await);
                baselines.push(self.one(&mut baseline).await);
            }
        }
        let foreign_percent = Cpu::now().foreign_percent_since(&before);
        Pairs {
            baseline: Runs { values: baselines, foreign_percent },
            figure: Runs { values: figures, foreign_percent },
        }
    }

    pub(crate) async fn repeat<T>(self, mut figure: impl AsyncFnMut(Duration) -> T) -> Runs<T> {
        let before = Cpu::now();
        let mut values = Vec::new();
        for _ in 0..self.count {
            values.push(self.one(&mut figure).await);
        }
        Runs { values, foreign_percent: Cpu::now().foreign_percent_since(&before) }
    }

    async fn one<T>(self, measure: &mut impl AsyncFnMut(Duration) -> T) -> T {
        // What the round before has left to do is not this one's.
        machine::peers_are_idle().await;
        measure(self.time).await
    }
}

impl<T> Runs<T> {
    pub(crate) fn series(&self, of: impl Fn(&T) -> f64) -> Series {
        Series { values: self.values.iter().map(of).collect(), foreign_percent: self.foreign_percent }
    }
}

impl<T> Pairs<T> {
    /// The figure as a share of its baseline, round by round.
    pub(crate) fn ratio(&self, of: impl Fn(&T) -> f64) -> Series {
        let pairs = self.figure.values.iter().zip(&self.baseline.values);
        let values = pairs.map(|(figure, baseline)| of(figure) / of(baseline)).collect();
        Series { values, foreign_percent: self.figure.foreign_percent }
    }
}

impl<T> Pairs<T> {
    /// What the figure has beyond its baseline, round by round.
    pub(crate) fn difference(&self, of: impl Fn(&T) -> f64) -> Series {
        let pairs = self.figure.values.iter().zip(&self.baseline.values);
        let values = pairs.map(|(figure, baseline)| of(figure) - of(baseline)).collect();
        Series { values, foreign_percent: self.figure.foreign_percent }
    }
}

impl From<f64> for Series {
    /// A number that is what it is.
    fn from(value: f64) -> Self {
        Self { values: vec![value], foreign_percent: f64::NAN }
    }
}
