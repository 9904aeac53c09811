//! From the markdown that gwg's documents use to man(7): titles, paragraphs, tables, code. Pure.

use super::roff;

/// The body of a page.
pub fn to_roff(document: &str) -> String {
    let mut out = roff::section("DESCRIPTION");
    let mut lines = document.lines().peekable();
    let mut words: Vec<&str> = Vec::new();
    while let Some(line) = lines.next() {
        let is_text = !line.trim().is_empty() && !line.starts_with(['#', '|']) && !line.starts_with("```");
        if is_text {
            words.push(line.trim());
            continue;
        }
        flush(&mut words, &mut out);
        if line.starts_with("```") {
            let code: Vec<&str> = lines.by_ref().take_while(|line| !line.starts_with("```")).collect();
            out.push_str(&roff::example(&code));
        } else if line.starts_with('|') {
            let mut rows = vec![line];
            while let Some(row) = lines.next_if(|line| line.starts_with('|')) {
                rows.push(row);
            }
            out.push_str(&table(&rows));
        } else if let Some(title) = line.strip_prefix("## ") {
            out.push_str(&roff::section(&title.to_uppercase()));
        } else if let Some(title) = line.strip_prefix("### ") {
            out.push_str(&roff::part(title));
        }
    }
    flush(&mut words, &mut out);
    out
}

fn flush(words: &mut Vec<&str>, out: &mut String) {
    if !words.is_empty() {
        out.push_str(&roff::paragraph(&std::mem::take(words).join(" ")));
    }
}

/// A row's first cell is the word; what it means is its last cell, then the others with their titles.
fn table(rows: &[&str]) -> String {
    let titles = rows.first().map(|row| cells(row)).unwrap_or_default();
    let body = rows.iter().skip(2).map(|row| {
        let cells = cells(row);
        let word = cells.first().map(|cell| cell.replace('`', "")).unwrap_or_default();
        let meaning = cells.last().cloned().unwrap_or_default();
        let between = titles.iter().zip(&cells).skip(1).take(cells.len().saturating_sub(2));
        let facts: Vec<String> = between.filter(|(_, cell)| *cell != "–").map(|(title, cell)| format!("{title}: {cell}")).collect();
        let facts = if facts.is_empty() { String::new() } else { format!(" ({})", facts.join("; ")) };
        roff::item(&word, &format!("{meaning}{facts}"))
    });
    body.collect()
}

fn cells(row: &str) -> Vec<String> {
    row.trim().trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_becomes_a_page() {
        let page = to_roff(
            "# Title\n\nOne\ntwo.\n\n## Keys\n\n| key | type | default | meaning |\n|---|---|---|---|\n| `a-b` | text | – | What. |\n\n```yaml\na: 1\n```\n",
        );
        assert_eq!(page, ".SH \"DESCRIPTION\"\n.PP\nOne two.\n.SH \"KEYS\"\n.TP\n\\fBa\\-b\\fR\nWhat. (type: text)\n.PP\n.EX\na: 1\n.EE\n");
    }
}
