//! The few words of man(7) that gwg's own pages need. Pure.

/// A page's head.
pub fn head(name: &str, section: u8, summary: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!(".TH {} {section} \"\" \"gwg {version}\" \"gwg\"\n.SH NAME\n{} \\- {}\n", name.to_uppercase(), text(name), text(summary))
}

/// A section's title.
pub fn section(title: &str) -> String {
    format!(".SH \"{}\"\n", text(title))
}

/// A part of a section.
pub fn part(title: &str) -> String {
    format!(".SS \"{}\"\n", text(title))
}

/// A word and what it means.
pub fn item(word: &str, meaning: &str) -> String {
    format!(".TP\n\\fB{}\\fR\n{}\n", text(word), inline(meaning))
}

/// A paragraph.
pub fn paragraph(words: &str) -> String {
    format!(".PP\n{}\n", inline(words))
}

/// Lines as they are.
pub fn example(lines: &[&str]) -> String {
    let body: String = lines.iter().map(|line| format!("{}\n", text(line))).collect();
    format!(".PP\n.EX\n{body}.EE\n")
}

/// Text in which nothing is a command to the formatter.
pub fn text(words: &str) -> String {
    let mut escaped = String::new();
    for letter in words.chars() {
        match letter {
            '\\' => escaped.push_str("\\e"),
            '-' => escaped.push_str("\\-"),
            '`' => escaped.push_str("\\(ga"),
            letter if letter.is_ascii() => escaped.push(letter),
            letter => escaped.push_str(&format!("\\[u{:04X}]", u32::from(letter))),
        }
    }
    if escaped.starts_with(['.', '\'']) { format!("\\&{escaped}") } else { escaped }
}

/// Text with the marks of markdown that stand within a line: `**strong**`, `` `code` ``, `[text](link)`.
pub fn inline(words: &str) -> String {
    let mut out = String::new();
    for (place, piece) in words.split('`').enumerate() {
        if place % 2 == 1 {
            out.push_str(&format!("\\fB{}\\fR", text(piece)));
        } else {
            out.push_str(&strong(&without_links(piece)));
        }
    }
    // At a line's start a dot or an apostrophe would be a request.
    if out.starts_with(['.', '\'']) { format!("\\&{out}") } else { out }
}

fn strong(words: &str) -> String {
    let pieces = words.split("**").enumerate();
    pieces.map(|(place, piece)| if place % 2 == 1 { format!("\\fB{}\\fR", text(piece)) } else { text(piece) }).collect()
}

fn without_links(words: &str) -> String {
    let mut out = String::new();
    let mut rest = words;
    while let Some((before, after)) = rest.split_once("](") {
        let (kept, name) = before.rsplit_once('[').unwrap_or((before, ""));
        let target = after.split_once(')');
        out.push_str(kept);
        out.push_str(name);
        rest = target.map_or("", |(_, rest)| rest);
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_become_fonts_and_nothing_becomes_a_request() {
        assert_eq!(inline("the `port` is **not** bound"), "the \\fBport\\fR is \\fBnot\\fR bound");
        assert_eq!(inline(".hidden and `a-b`"), "\\&.hidden and \\fBa\\-b\\fR");
        assert_eq!(inline("see [the docs](docs/x.md), please"), "see the docs, please");
        assert_eq!(text("C:\\x"), "C:\\ex");
    }
}
