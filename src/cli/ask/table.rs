//! Columns of text. Pure.

use super::paint::{Paint, Tone};

/// Rows of cells, each with its tone. The first row is the titles.
#[derive(Default)]
pub struct Table {
    rows: Vec<Vec<(Tone, String)>>,
}

/// Columns of the narrowest terminal that counts.
pub const WIDTH: usize = 80;

impl Table {
    /// With these titles.
    pub fn new(titles: &[&str]) -> Self {
        Self { rows: vec![titles.iter().map(|title| (Tone::Title, (*title).to_owned())).collect()] }
    }

    /// One more row.
    pub fn row(&mut self, cells: Vec<(Tone, String)>) {
        self.rows.push(cells);
    }

    /// The text: each column as wide as its longest cell, but the widest ones cut until a line fits.
    pub fn text(&self, paint: Paint) -> String {
        let widths = self.widths();
        let mut out = String::new();
        for row in &self.rows {
            let cells = row.iter().zip(&widths).enumerate().map(|(place, ((tone, cell), width))| {
                let cut = cut(cell, *width);
                let is_last = place + 1 == row.len();
                let space = if is_last { 0 } else { width.saturating_sub(cut.chars().count()) + 2 };
                paint.paint(*tone, &cut) + &" ".repeat(space)
            });
            out.push_str(cells.collect::<String>().trim_end());
            out.push('\n');
        }
        out
    }

    fn widths(&self) -> Vec<usize> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let longest =
            |column: usize| self.rows.iter().filter_map(|row| row.get(column)).map(|(_, cell)| cell.chars().count()).max().unwrap_or(0);
        let mut widths: Vec<usize> = (0..columns).map(longest).collect();
        while widths.iter().sum::<usize>() + 2 * columns.saturating_sub(1) > WIDTH {
            match widths.iter_mut().max() {
                Some(widest) if *widest > 1 => *widest -= 1,
                _ => break,
            }
        }
        widths
    }
}

fn cut(cell: &str, width: usize) -> String {
    if cell.chars().count() <= width {
        return cell.to_owned();
    }
    cell.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_never_passes_80_columns_and_what_is_short_stays_whole() {
        let mut table = Table::new(&["NAME", "STATE"]);
        table.row(vec![(Tone::Plain, "/x".repeat(60)), (Tone::Good, "current".into())]);
        let text = table.text(Paint::none());
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert!(text.contains("…  current\n") && text.starts_with("NAME "), "{text}");
    }

    #[test]
    fn columns_stand_below_their_titles() {
        let mut table = Table::new(&["A", "B"]);
        table.row(vec![(Tone::Plain, "long".into()), (Tone::Plain, "x".into())]);
        assert_eq!(table.text(Paint::none()), "A     B\nlong  x\n");
    }
}
