//! Medians with their range, for people and for programs.

#[derive(Default)]
pub(crate) struct Table(Vec<Row>);

struct Row {
    name: String,
    unit: &'static str,
    median: f64,
    min: f64,
    max: f64,
}

impl Table {
    /// Adds a figure that was measured once a round.
    pub(crate) fn add(&mut self, name: &str, unit: &'static str, rounds: &[f64]) {
        let mut sorted = rounds.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (sorted[0], sorted[sorted.len() - 1]);
        let row = Row { name: name.to_owned(), unit, median: sorted[sorted.len() / 2], min, max };
        eprintln!("{}", row.line());
        self.0.push(row);
    }

    /// Prints the table and one JSON line a figure.
    pub(crate) fn print(&self, machine: &str) {
        println!("\n{:<52} {:>14}  {:<10} range", "figure", "median", "unit");
        for row in &self.0 {
            println!("{}", row.line());
        }
        println!("{machine}\n");
        for Row { name, unit, median, min, max } in &self.0 {
            println!(
                "{}",
                serde_json::json!({ "figure": name, "unit": unit, "median": median, "min": min, "max": max })
            );
        }
    }
}

impl Row {
    fn line(&self) -> String {
        let show = |value: f64| if value < 100.0 { format!("{value:.2}") } else { format!("{value:.0}") };
        let (median, min, max) = (show(self.median), show(self.min), show(self.max));
        format!("{:<52} {median:>14}  {:<10} {min} – {max}", self.name, self.unit)
    }
}
