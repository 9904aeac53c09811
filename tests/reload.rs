//! Another configuration comes into force while gwg runs: in whole or not at all, and nothing is lost.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use support::config::Repo;
use support::site::{PATH, Site};

#[test]
fn sighup_brings_another_configuration_into_force() {
    let mut site = Site::new();
    let repo = Repo::new(&site.scratch, "/second", &site.daemon.url(site.remote.name()));
    let config = site.gateway.config().clone().repo(repo);
    let line = site.gateway.reload(config);
    assert!(line.contains("added=1") && line.contains("removed=0") && line.contains("changed=0"), "{line}");
    // It is cloned, and serves.
    site.gateway.tree("/second").wait_for(&site.remote.head(), None);
    let commit = site.remote.publish(&[("README", "second\n")]);
    site.gateway.deploy("/second", &commit);
    site.gateway.deploy(PATH, &commit);
}
