//! The demo's timeline on standard output: coloured where that is a terminal.
#![allow(clippy::print_stdout)]

use std::io::IsTerminal;
use std::time::Instant;

/// Where the timeline is shown.
pub struct Screen {
    begun: Instant,
    colour: bool,
}

impl Screen {
    /// The time begins now.
    pub fn new() -> Self {
        Self { begun: Instant::now(), colour: std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() }
    }

    /// A chapter.
    pub fn title(&self, text: &str) {
        println!("\n{}", self.paint("1", text));
    }

    /// Something that happened.
    pub fn say(&self, text: &str) {
        self.line(" ", text);
    }

    /// Something that was judged, and holds.
    pub fn good(&self, text: &str) {
        self.line(&self.paint("32", "✓"), text);
    }

    /// Something that was judged, and does not hold.
    pub fn bad(&self, text: &str) {
        self.line(&self.paint("31", "✗"), text);
    }

    /// A text of many lines.
    pub fn quote(&self, name: &str, text: &str) {
        println!("\n{name}:");
        text.lines().for_each(|line| println!("    {line}"));
    }

    fn line(&self, sign: &str, text: &str) {
        let time = format!("{:7.3} s", self.begun.elapsed().as_secs_f64());
        println!("{} {sign} {text}", self.paint("2", &time));
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
