//! The branch or tag that a work tree follows.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Whether a label is a branch or a tag. The two never match each other, also where they share a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LabelKind {
    /// `refs/heads/…`
    Branch,
    /// `refs/tags/…`
    Tag,
}

/// A branch or tag by its short name. `config` has checked the name as `git check-ref-format` would.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// Branch or tag.
    pub kind: LabelKind,
    /// The short name, as in `git checkout NAME`.
    pub name: String,
}

impl Label {
    /// The full name on the remote: `refs/heads/NAME` or `refs/tags/NAME`.
    pub fn full_name(&self) -> String {
        match self.kind {
            LabelKind::Branch => format!("refs/heads/{}", self.name),
            LabelKind::Tag => format!("refs/tags/{}", self.name),
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            LabelKind::Branch => write!(f, "branch {}", self.name),
            LabelKind::Tag => write!(f, "tag {}", self.name),
        }
    }
}
