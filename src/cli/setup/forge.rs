//! Where the large forges have their settings, and what else is to know about them. Pure.

use crate::config::RemoteUrl;

/// A forge, with the repository's name there.
pub enum Place {
    /// github.com
    GitHub(String),
    /// codeberg.org, which is a Forgejo
    Codeberg(String),
    /// Forges that sign webhooks in a way of their own, which gwg does not know.
    Other(&'static str),
    /// Any other host.
    Unknown,
}

impl Place {
    /// By the remote's host.
    pub fn of(remote: &RemoteUrl) -> Self {
        let name = remote.name.to_string();
        let path = name.split_once('/').map(|(_, path)| path.to_owned()).unwrap_or_default();
        match remote.host.as_str() {
            "github.com" => Self::GitHub(path),
            "codeberg.org" => Self::Codeberg(path),
            "gitlab.com" => Self::Other("GitLab"),
            "bitbucket.org" => Self::Other("Bitbucket"),
            _ => Self::Unknown,
        }
    }

    /// Where deploy keys are added.
    pub fn keys(&self) -> String {
        match self {
            Self::GitHub(path) => format!(" at https://github.com/{path}/settings/keys/new"),
            Self::Codeberg(path) => format!(" at https://codeberg.org/{path}/settings/keys"),
            Self::Other(_) | Self::Unknown => " to the repository's deploy keys".to_owned(),
        }
    }

    /// Where webhooks are added.
    pub fn hooks(&self) -> String {
        match self {
            Self::GitHub(path) => format!(" at https://github.com/{path}/settings/hooks/new"),
            Self::Codeberg(path) => format!(" at https://codeberg.org/{path}/settings/hooks/forgejo/new"),
            Self::Other(_) | Self::Unknown => " in the repository's settings".to_owned(),
        }
    }

    /// What an operator should know before trying.
    pub fn note(&self) -> Option<String> {
        match self {
            Self::GitHub(_) | Self::Codeberg(_) => None,
            Self::Other(name) => Some(format!(
                "Mind: gwg understands webhooks as GitHub, Gitea and Forgejo sign them, and {name} has a way of its\n\
                 own. Its deliveries are refused; let something that gwg understands send them, or rely on `reconcile`."
            )),
            Self::Unknown => Some("gwg understands webhooks as GitHub, Gitea and Forgejo sign them.".to_owned()),
        }
    }
}
