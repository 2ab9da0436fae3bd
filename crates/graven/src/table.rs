//! Rows in columns, each as wide as its widest cell.

use crate::{exit::Outcome, output, output::shown};

/// Rows that wait until all are known. What comes from strangers is never more than text on a terminal.
pub(crate) struct Table<const N: usize> {
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    /// One with what stands above the rows.
    pub(crate) fn new(header: [&str; N]) -> Self {
        Self { rows: vec![header.map(str::to_owned)] }
    }

    pub(crate) fn row(&mut self, cells: [String; N]) {
        let cell = |cell: String| if cell.is_empty() { "-".to_owned() } else { shown(&cell).into_owned() };
        self.rows.push(cells.map(cell));
    }

    /// Prints them; nothing where there is no row.
    pub(crate) fn print(&self) -> Outcome {
        if self.rows.len() > 1 { output::line(self.text()) } else { Ok(()) }
    }

    fn text(&self) -> String {
        let width = |at: usize| self.rows.iter().map(|row| row[at].chars().count()).max().unwrap_or_default();
        let widths: [usize; N] = std::array::from_fn(width);
        let line = |row: &[String; N]| {
            let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        self.rows.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_have_to_be() {
        let mut table = Table::new(["WHO", "WHAT"]);
        table.row(["alice".to_owned(), "reads".to_owned()]);
        table.row(["b\u{1b}".to_owned(), String::new()]);
        assert_eq!(table.text(), "WHO      WHAT\nalice    reads\nb\\u{1b}  -");
    }
}
