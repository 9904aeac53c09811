//! Updates over https, against a server with a certificate authority that only the configuration knows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use support::config::{Config, Repo};
use support::gateway::Gateway;
use support::https::Https;
use support::remote::Remote;
use support::scratch::Scratch;

const PATH: &str = "/site";

#[test]
fn the_configured_authority_is_believed() {
    let scratch = Scratch::new();
    let remotes = scratch.directory("remotes");
    let remote = Remote::new(&remotes, "site");
    let Some(https) = Https::start(&remotes) else { return };
    let ca = scratch.file("ca.pem", https.ca());
    let repo = Repo::new(&scratch, PATH, &https.url("site.git")).set("caFile", ca.to_str().unwrap());
    let gateway = Gateway::start(&scratch, Config::new().repo(repo));
    gateway.tree(PATH).wait_for(&remote.head(), None);
    gateway.deploy(PATH, &remote.publish(&[("README", "second\n"), ("large", &"0123456789\n".repeat(20_000))]));
}

#[test]
fn an_authority_that_nobody_named_is_refused() {
    let scratch = Scratch::new();
    let remotes = scratch.directory("remotes");
    let _remote = Remote::new(&remotes, "site");
    let Some(https) = Https::start(&remotes) else { return };
    let gateway = Gateway::start(&scratch, Config::new().repo(Repo::new(&scratch, PATH, &https.url("site.git"))));
    gateway.wait_for_log(0, PATH, &["update failed", "reason=certificate"]);
    assert_eq!(gateway.tree(PATH).head(), None);
}

#[test]
fn a_repository_that_is_not_there_is_said() {
    let scratch = Scratch::new();
    let Some(https) = Https::start(&scratch.directory("remotes")) else { return };
    let ca = scratch.file("ca.pem", https.ca());
    let repo = Repo::new(&scratch, PATH, &https.url("nowhere.git")).set("caFile", ca.to_str().unwrap());
    let gateway = Gateway::start(&scratch, Config::new().repo(repo));
    gateway.wait_for_log(0, PATH, &["update failed", "step=fetch", "reason=no_repository"]);
}
