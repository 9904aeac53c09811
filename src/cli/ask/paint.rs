//! Colour, where somebody looks. Pure but for asking whether somebody does.

use std::io::IsTerminal;

/// Colours text, or leaves it as it is.
#[derive(Debug, Clone, Copy)]
pub struct Paint(bool);

/// What a text says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// All is well.
    Good,
    /// Something is under way.
    Busy,
    /// Somebody should look.
    Bad,
    /// A title.
    Title,
    /// Nothing special.
    Plain,
}

impl Paint {
    /// Colour only where standard output is a terminal, and `NO_COLOR` is not set.
    pub fn of_stdout() -> Self {
        Self(std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()))
    }

    /// No colour.
    #[cfg(test)]
    pub const fn none() -> Self {
        Self(false)
    }

    /// Whether somebody looks.
    pub const fn is_on(self) -> bool {
        self.0
    }

    /// The text in its colour.
    pub fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Good => "32",
            Tone::Busy => "33",
            Tone::Bad => "31",
            Tone::Title => "1",
            Tone::Plain => return text.to_owned(),
        };
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
