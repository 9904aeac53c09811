//! The ordinary day, where most tests start: a running gateway that has deployed one repository,
//! at the path `/site`, from a remote that speaks `git://` on loopback.

use super::account;
use super::config::{Config, Repo};
use super::gateway::Gateway;
use super::git_daemon::GitDaemon;
use super::loopback::Mode;
use super::remote::Remote;
use super::scratch::Scratch;
use super::tree::Tree;

/// The path of the repository.
pub const PATH: &str = "/site";

/// The fields are dropped in this order: the gateway first.
pub struct Site {
    /// The gateway.
    pub gateway: Gateway,
    /// The server of the remote.
    pub daemon: GitDaemon,
    /// The remote.
    pub remote: Remote,
    /// Where all of it lies.
    pub scratch: Scratch,
}

/// A site whose gateway has not been started.
pub struct Ground {
    /// The server of the remote.
    pub daemon: GitDaemon,
    /// The remote.
    pub remote: Remote,
    /// Where all of it lies.
    pub scratch: Scratch,
}

impl Ground {
    /// A remote with one commit, and its server.
    pub fn new() -> Self {
        let scratch = Scratch::new();
        let remotes = scratch.directory("remotes");
        let remote = Remote::new(&remotes, "site");
        Self { daemon: GitDaemon::start(&remotes), remote, scratch }
    }

    /// A running gateway whose first update is connected to its remote, which holds it up: all three
    /// children are there, and have heard from outside.
    pub fn held_up() -> Site {
        let ground = Self::new();
        ground.daemon.set(Mode::Hold);
        let repo = ground.repo();
        let site = ground.start_with(repo);
        site.daemon.server().wait_for_more_than(0);
        site
    }

    /// The repository's part of the configuration.
    pub fn repo(&self) -> Repo {
        self.repo_at(PATH)
    }

    /// The same remote below another path, with a tree of its own.
    pub fn repo_at(&self, path: &str) -> Repo {
        Repo::new(&self.scratch, path, &self.daemon.url(self.remote.name()))
    }

    /// Starts a gateway.
    pub fn start(self, config: Config) -> Site {
        let gateway = Gateway::start(&self.scratch, config);
        Site { gateway, daemon: self.daemon, remote: self.remote, scratch: self.scratch }
    }

    /// Starts a gateway with the one repository.
    pub fn start_with(self, repo: Repo) -> Site {
        self.start(Config::new().repo(repo))
    }
}

impl Site {
    /// A running gateway that has deployed the remote's first commit.
    pub fn new() -> Self {
        Self::deployed(Ground::new(), Config::new())
    }

    /// The same, whose requests are accounted for: end with [`account::assert_exact`].
    pub fn audited() -> Self {
        let ground = Ground::new();
        let config = account::config(&ground.scratch);
        Self::deployed(ground, config)
    }

    fn deployed(ground: Ground, config: Config) -> Self {
        let repo = ground.repo();
        let site = ground.start(config.repo(repo));
        site.tree().wait_for(&site.remote.head(), None);
        site.gateway.wait_for_log(0, PATH, &["update ok"]);
        site
    }

    /// Publishes a change and delivers it to that path; its updater is connected to the remote, which holds it up.
    pub fn deliver_held_up(&self, path: &str) -> String {
        let seen = self.daemon.server().seen();
        self.daemon.set(Mode::Hold);
        let commit = self.remote.publish(&[("README", "held up\n")]);
        self.gateway.deliver(path, &commit);
        self.daemon.server().wait_for_more_than(seen);
        commit
    }

    /// The deployed tree.
    pub fn tree(&self) -> Tree {
        self.gateway.tree(PATH)
    }

    /// Publishes a change and delivers it; waits until it is deployed and healthy.
    pub fn deploy(&self, files: &[(&str, &str)]) -> String {
        let commit = self.remote.publish(files);
        self.gateway.deploy(PATH, &commit);
        commit
    }
}
