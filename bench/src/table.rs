//! Medians, and how they are printed.

/// The middle value; the mean of the two in the middle. None of nothing.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let high = sorted.get(sorted.len() / 2)?;
    let low = sorted.get((sorted.len() - 1) / 2)?;
    Some(f64::midpoint(*low, *high))
}

/// Round by round, so that whatever else the machine did meets both sides of a ratio.
pub fn ratios(ours: &[f64], theirs: &[f64]) -> Vec<f64> {
    ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect()
}

/// `median (lowest to highest)`.
pub fn spread(values: &[f64], digits: usize) -> String {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    median(values).map_or("-".to_owned(), |middle| format!("{middle:.digits$} ({low:.digits$} to {high:.digits$})"))
}

/// What a figure is to be.
#[derive(Clone, Copy)]
pub enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

/// Prints a figure that has no goal, but explains another.
pub fn tell(what: &str, values: &[f64], digits: usize) {
    if !values.is_empty() {
        println!("  {what:<44} {}", spread(values, digits));
    }
}

/// Prints a figure beside its goal.
pub fn judge(what: &str, values: &[f64], digits: usize, goal: Goal) {
    let Some(middle) = median(values) else { return };
    let (reached, words) = match goal {
        Goal::AtLeast(bound) => (middle >= bound, format!("at least {bound}")),
        Goal::AtMost(bound) => (middle <= bound, format!("at most {bound}")),
    };
    let verdict = if reached { "reached" } else { "MISSED" };
    println!("  {what:<44} {:<28} goal: {words}, {verdict}", spread(values, digits));
}
