//! Medians with their range, for people and for programs.

use std::fmt;
use std::path::Path;

use serde_json::{Value, json};

use crate::machine;
use crate::rounds::Series;

/// What a figure is to reach.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
}

pub(crate) struct Table {
    is_quick: bool,
    rows: Vec<Row>,
}

struct Row {
    name: String,
    unit: &'static str,
    target: Option<Target>,
    rounds: Vec<f64>,
    foreign_percent: f64,
}

impl Table {
    pub(crate) fn new(is_quick: bool) -> Self {
        Self { is_quick, rows: Vec::new() }
    }

    /// Adds a number that explains others.
    pub(crate) fn add(&mut self, name: impl Into<String>, unit: &'static str, series: impl Into<Series>) {
        self.push(name.into(), unit, None, series.into());
    }

    /// Adds a figure that has a target.
    pub(crate) fn judge(
        &mut self,
        name: impl Into<String>,
        unit: &'static str,
        target: Target,
        series: impl Into<Series>,
    ) {
        self.push(name.into(), unit, Some(target), series.into());
    }

    fn push(&mut self, name: String, unit: &'static str, target: Option<Target>, series: Series) {
        let Series { values: rounds, foreign_percent } = series;
        let row = Row { name, unit, target, rounds, foreign_percent };
        eprintln!("{row}");
        self.rows.push(row);
    }

    /// Prints the table and, as the last line, JSON; that goes into `file` too.
    pub(crate) fn print(&self, file: Option<&Path>) {
        println!(
            "\n{:<58} {:>9} {:<9} {:<17} {:<8} {:<4} others",
            "figure", "median", "unit", "range", "target", "met"
        );
        self.rows.iter().for_each(|row| println!("{row}"));
        let judged = self.rows.iter().filter_map(Row::is_met);
        println!("{} of {} targets met", judged.clone().filter(|met| *met).count(), judged.count());
        println!("{}", machine::description());
        if self.is_quick {
            println!("QUICK: few short rounds on a small log. These are no measurements.");
        }
        let json = self.json();
        println!("\n{json}");
        if let Some(file) = file {
            std::fs::write(file, format!("{json:#}\n")).expect("the JSON file can be written");
        }
    }

    fn json(&self) -> Value {
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "machine": machine::description(),
            "quick": self.is_quick,
            "figures": self.rows.iter().map(Row::json).collect::<Vec<_>>(),
        })
    }
}

impl Row {
    /// The lowest, the middle and the highest.
    fn range(&self) -> [f64; 3] {
        let mut sorted = self.rounds.clone();
        sorted.sort_by(f64::total_cmp);
        [sorted[0], sorted[sorted.len() / 2], sorted[sorted.len() - 1]]
    }

    fn is_met(&self) -> Option<bool> {
        let [_, median, _] = self.range();
        self.target.map(|target| match target {
            Target::AtLeast(bound) => median >= bound,
            Target::AtMost(bound) => median <= bound,
        })
    }

    fn json(&self) -> Value {
        let [min, median, max] = self.range();
        let target = self.target.map(|target| match target {
            Target::AtLeast(bound) => json!({ "at_least": bound }),
            Target::AtMost(bound) => json!({ "at_most": bound }),
        });
        json!({
            "figure": self.name, "unit": self.unit, "median": median, "min": min, "max": max,
            "rounds": self.rounds, "target": target, "met": self.is_met(),
            "foreign_cpu_percent": self.foreign_percent,
        })
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [min, median, max] = self.range();
        let range =
            if self.rounds.len() > 1 { format!("{} – {}", show(min), show(max)) } else { String::new() };
        let target = self.target.map(|target| match target {
            Target::AtLeast(bound) => format!("≥ {}", show(bound)),
            Target::AtMost(bound) => format!("≤ {}", show(bound)),
        });
        let met = self.is_met().map_or("", |met| if met { "yes" } else { "NO" });
        let foreign = self.foreign_percent;
        let others = if foreign.is_nan() { String::new() } else { format!("{foreign:.0} %") };
        let (name, unit, median, target) = (&self.name, self.unit, show(median), target.unwrap_or_default());
        let line = format!("{name:<58} {median:>9} {unit:<9} {range:<17} {target:<8} {met:<4} {others}");
        f.write_str(line.trim_end())
    }
}

/// Three digits that matter.
fn show(value: f64) -> String {
    match value.abs() {
        size if size < 10.0 => format!("{value:.2}"),
        size if size < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
