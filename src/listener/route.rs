//! Which repository a request path is for. Runs in `gwg-listener`; pure.

use super::signature::Verifier;
use crate::brief::RemoteName;
use crate::brief::listener::{Proof, Repo};
use crate::ids::RepoId;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// One configured path.
pub struct Route {
    /// The repository.
    pub repo: RepoId,
    /// How a request proves that it is authentic.
    pub verifier: Verifier,
    /// The full name of the configured ref.
    pub ref_name: String,
    /// The repository that a payload must be about.
    pub remote: RemoteName,
}

/// A brief that contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// Two repositories have one path.
    #[error("repositories {0} and {1} have the same path")]
    SamePath(RepoId, RepoId),
    /// A signature is asked for, and there is no secret.
    #[error("repository {0} has no secret")]
    NoSecret(RepoId),
}

/// All configured paths.
#[derive(Default)]
pub struct Routes {
    by_path: HashMap<Box<str>, Route>,
}

impl Routes {
    /// Adds a path.
    ///
    /// # Errors
    /// See [`RouteError`].
    pub fn add(&mut self, repo: Repo) -> Result<(), RouteError> {
        if matches!(&repo.proof, Proof::Signed { secrets, .. } if secrets.is_empty()) {
            return Err(RouteError::NoSecret(repo.id));
        }
        match self.by_path.entry(without_slash(&repo.path).into()) {
            Entry::Occupied(other) => Err(RouteError::SamePath(other.get().repo, repo.id)),
            Entry::Vacant(free) => {
                free.insert(Route { repo: repo.id, verifier: Verifier::new(&repo.proof), ref_name: repo.ref_name, remote: repo.remote });
                Ok(())
            }
        }
    }

    /// The repository of a request's path: its bytes as they came (nothing is decoded), without the
    /// query, and with or without one trailing slash.
    pub fn find(&self, path: &str) -> Option<&Route> {
        self.by_path.get(without_slash(path))
    }
}

fn without_slash(path: &str) -> &str {
    path.strip_suffix('/').unwrap_or(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    fn repo(id: u32, path: &str, proof: Proof) -> Repo {
        let remote = RemoteName::from_url("https://forge.example/a/b").unwrap();
        Repo { id: RepoId::new(id), path: path.into(), proof, ref_name: "refs/heads/main".into(), remote }
    }

    fn found(routes: &Routes, path: &str) -> Option<u32> {
        routes.find(path).map(|route| route.repo.number())
    }

    #[test]
    fn one_trailing_slash_makes_no_difference_and_everything_else_does() {
        let mut routes = Routes::default();
        routes.add(repo(1, "/hook", Proof::Unsigned)).unwrap();
        routes.add(repo(2, "/", Proof::Unsigned)).unwrap();
        routes.add(repo(3, "/hook/deep", Proof::Unsigned)).unwrap();
        assert_eq!(found(&routes, "/hook"), Some(1));
        assert_eq!(found(&routes, "/hook/"), Some(1));
        assert_eq!(found(&routes, "/"), Some(2));
        assert_eq!(found(&routes, "/hook/deep"), Some(3));
        for other in ["/hook//", "/Hook", "/hoo", "/%68ook", "//hook", "hook", "*", "/hook/../hook"] {
            assert_eq!(found(&routes, other), None, "{other}");
        }
    }

    #[test]
    fn a_brief_that_contradicts_itself_is_refused() {
        let mut routes = Routes::default();
        routes.add(repo(1, "/hook", Proof::Unsigned)).unwrap();
        assert_eq!(routes.add(repo(2, "/hook/", Proof::Unsigned)), Err(RouteError::SamePath(RepoId::new(1), RepoId::new(2))));
        let no_secret = Proof::Signed { secrets: Vec::new(), sha1: false };
        assert_eq!(routes.add(repo(3, "/other", no_secret)), Err(RouteError::NoSecret(RepoId::new(3))));
    }
}
