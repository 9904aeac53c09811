//! Rust source as `tests/rooms.rs` needs it: which paths does a file name?
//!
//! Not a compiler: comments and literals are taken out, the rest becomes words and signs, and every
//! path (in `use`, nested groups included, and in code) is given from its root on. What could hide a
//! path from this reading (renames, globs of the root, `include!`) the rooms test forbids.

/// One path that the source names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// From the root: `crate` first, or an external crate (or something local that looks like one).
    pub path: Vec<String>,
    /// It gets another name by `as` in a `use`.
    pub renamed: bool,
    /// It stands in a `pub use` of any kind.
    pub exported: bool,
    /// Where, counted from 1.
    pub line: usize,
}

/// A word, `::`, or one other sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its text.
    pub text: String,
    /// Its line, counted from 1.
    pub line: usize,
}

/// All paths of a file that is the module `module` (`["wire", "frame"]`; empty for the root).
pub fn paths(code: &str, module: &[&str]) -> Vec<Named> {
    let mut reader = Reader { tokens: tokens(code), at: 0, found: Vec::new(), modules: Vec::new(), depth: 0 };
    reader.read();
    for named in &mut reader.found {
        resolve(&mut named.path, module);
    }
    reader.found
}

/// The words and signs, without comments and literals.
pub fn tokens(code: &str) -> Vec<Token> {
    let plain: Vec<char> = without_literals(code).chars().collect();
    let (mut found, mut at, mut line) = (Vec::new(), 0, 1);
    while at < plain.len() {
        let start = at;
        let word = |c: char| c.is_alphanumeric() || c == '_';
        if word(plain[at]) {
            while at < plain.len() && word(plain[at]) {
                at += 1;
            }
        } else if plain[at..].starts_with(&[':', ':']) {
            at += 2;
        } else {
            at += 1;
        }
        let text: String = plain[start..at].iter().collect();
        line += usize::from(text == "\n");
        if !text.trim().is_empty() {
            found.push(Token { text, line });
        }
    }
    found
}

/// The code with comments, strings and characters replaced by spaces; lines stay where they are.
fn without_literals(code: &str) -> String {
    let chars: Vec<char> = code.chars().collect();
    let (mut out, mut at) = (String::with_capacity(code.len()), 0);
    while at < chars.len() {
        let end = literal_end(&chars, at, out.chars().last());
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.push(' ');
            out.extend(chars[at..end].iter().filter(|c| **c == '\n'));
            at = end;
        }
    }
    out
}

/// Where the comment or literal that starts at `at` ends; `at` itself where none starts.
fn literal_end(chars: &[char], at: usize, before: Option<char>) -> usize {
    let rest = &chars[at..];
    let inside_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if rest.starts_with(&['/', '/']) {
        return at + rest.iter().position(|c| *c == '\n').unwrap_or(rest.len());
    }
    if rest.starts_with(&['/', '*']) {
        return at + block_comment(rest);
    }
    if rest[0] == '"' {
        return at + quoted(rest, '"');
    }
    if rest[0] == '\'' {
        // A character, or a lifetime: 'a has no second quote right after one character.
        let character = rest.get(1) == Some(&'\\') || rest.get(2) == Some(&'\'');
        return if character { at + quoted(rest, '\'') } else { at };
    }
    if !inside_word && let Some(length) = raw_string(rest) {
        return at + length;
    }
    at
}

fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with(&['/', '*']) {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(&['*', '/']) {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

fn quoted(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// `r"…"`, `r#"…"#`, `br"…"`, `cr"…"`
fn raw_string(rest: &[char]) -> Option<usize> {
    let mark = rest.iter().position(|c| *c == 'r').filter(|place| *place == 0 || (*place == 1 && matches!(rest[0], 'b' | 'c')))?;
    let hashes = rest[mark + 1..].iter().take_while(|c| **c == '#').count();
    let open = mark + 1 + hashes;
    if rest.get(open) != Some(&'"') {
        return None;
    }
    let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    let length = rest[open + 1..].windows(end.len()).position(|window| window == end)?;
    Some(open + 1 + length + end.len())
}

struct Reader {
    tokens: Vec<Token>,
    at: usize,
    found: Vec<Named>,
    /// Inline modules around this place: the depth of braces outside of each.
    modules: Vec<(usize, String)>,
    depth: usize,
}

impl Reader {
    fn text(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |token| &token.text)
    }

    fn read(&mut self) {
        while self.at < self.tokens.len() {
            match self.text(self.at) {
                "{" => self.depth += 1,
                "}" => {
                    self.depth = self.depth.saturating_sub(1);
                    self.modules.retain(|(depth, _)| *depth < self.depth);
                }
                "mod" if self.text(self.at + 2) == "{" => {
                    self.modules.push((self.depth, self.text(self.at + 1).to_owned()));
                    self.at += 2;
                    self.depth += 1;
                }
                // Not the `use<'a>` of a type.
                "use" if self.text(self.at + 1) != "<" => {
                    let exported = self.at > 0 && matches!(self.text(self.at - 1), "pub" | ")");
                    self.at += 1;
                    self.use_tree(Vec::new(), exported);
                }
                _ if self.starts_path() => {
                    let line = self.tokens[self.at].line;
                    let path = self.path();
                    self.add(path, false, false, line);
                    continue;
                }
                _ => {}
            }
            self.at += 1;
        }
    }

    fn starts_path(&self) -> bool {
        let word = |at: usize| self.text(at).starts_with(|c: char| c.is_alphabetic() || c == '_');
        let root = self.at == 0 || self.text(self.at - 1) != "::";
        // `::a` from the root of all, and not the `::a` after a word, `<…>` or `[…]`; an arrow ends none.
        let before = |back: usize| self.at.checked_sub(back).map_or("", |at| self.text(at));
        let after_word = self.at > 1 && word(self.at - 2);
        let after_bracket = before(2) == "]" || (before(2) == ">" && !matches!(before(3), "-" | "="));
        let global = !(root || after_word || after_bracket);
        word(self.at) && self.text(self.at + 1) == "::" && (root || global)
    }

    /// `a::b::c`; ends at the first token after it.
    fn path(&mut self) -> Vec<String> {
        let mut path = vec![self.text(self.at).to_owned()];
        self.at += 1;
        while self.text(self.at) == "::" && self.text(self.at + 1).starts_with(|c: char| c.is_alphabetic() || c == '_') {
            path.push(self.text(self.at + 1).to_owned());
            self.at += 2;
        }
        path
    }

    /// `a::{b, c::*, d as e}`; ends at the token that ends the tree (`;`, `,` or `}`).
    fn use_tree(&mut self, mut path: Vec<String>, exported: bool) {
        let line = self.tokens.get(self.at).map_or(0, |token| token.line);
        loop {
            match self.text(self.at) {
                "::" => {}
                "{" => {
                    self.at += 1;
                    while !matches!(self.text(self.at), "}" | "") {
                        self.use_tree(path.clone(), exported);
                        self.at += usize::from(self.text(self.at) == ",");
                    }
                    self.at += 1;
                    return;
                }
                "as" => {
                    self.add(path, true, exported, line);
                    self.at += 2;
                    return;
                }
                "" | ";" | "," | "}" => break,
                part => path.push(part.to_owned()),
            }
            self.at += 1;
        }
        self.add(path, false, exported, line);
    }

    /// Inline modules go before the path for `resolve`, as one `self` and their names.
    fn add(&mut self, mut path: Vec<String>, renamed: bool, exported: bool, line: usize) {
        if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        if matches!(path.first().map(String::as_str), Some("self" | "super")) {
            let inline = self.modules.iter().map(|(_, name)| name.clone());
            path = std::iter::once("self".to_owned()).chain(inline).chain(path).collect();
        }
        self.found.push(Named { path, renamed, exported, line });
    }
}

/// `self` and `super` become a path from `crate` on. A `super` above the root stays in it.
fn resolve(path: &mut Vec<String>, module: &[&str]) {
    if path.first().is_none_or(|first| first != "self") {
        return;
    }
    let mut whole: Vec<String> = std::iter::once("crate").chain(module.iter().copied()).map(str::to_owned).collect();
    for part in path.drain(..) {
        match part.as_str() {
            "self" => {}
            "super" if whole.len() > 1 => drop(whole.pop()),
            _ => whole.push(part),
        }
    }
    *path = whole;
}
