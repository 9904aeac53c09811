//! What a user may do to a gateway's files, and at its door. What root does in the same way leaves all as it
//! was.

use super::deputy;
use super::support::as_user::STRANGER;
use super::support::config::{Config, SECRET};
use super::support::delivery::Delivery;
use super::support::keys;
use super::support::scratch::give_to;
use super::support::site::{Ground, PATH, Site};
use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// A running gateway with all the files that it may have.
pub struct House {
    pub site: Site,
    /// gwg-updater's executable: where it is installed everybody may run it.
    pub updater: OwnedFd,
    /// A delivery with its signature, as someone on the way has seen it.
    captured: Delivery,
    /// Every file and directory, and what can be seen of it.
    before: BTreeMap<PathBuf, String>,
}

/// Who tries is told apart by what is his own: a directory to work in.
type Run = fn(&House, u32) -> io::Result<()>;

pub struct Attack {
    pub name: &'static str,
    pub run: Run,
}

const fn attack(name: &'static str, run: Run) -> Attack {
    Attack { name, run }
}

pub const ATTACKS: &[Attack] = &[
    attack("read the configuration", |house, _| fs::read(house.at("gwg.yaml")).map(drop)),
    attack("write the configuration", |house, _| open_to_write(&house.at("gwg.yaml"))),
    attack("replace the configuration", |house, user| house.replace("gwg.yaml", user)),
    attack("read the ssh key", |house, _| fs::read(house.at("key")).map(drop)),
    attack("read the passphrase", |house, _| fs::read(house.at("phrase")).map(drop)),
    attack("read the webhook secret", |house, _| fs::read(house.at("secret")).map(drop)),
    attack("replace the webhook secret", |house, user| house.replace("secret", user)),
    attack("read the state", |house, _| fs::read(house.at("state/state.redb")).map(drop)),
    attack("write the state", |house, _| open_to_write(&house.at("state/state.redb"))),
    attack("replace the state", |house, user| house.replace("state/state.redb", user)),
    attack("open the state's lock, to hold it", |house, _| open_to_write(&house.at("state/lock"))),
    attack("replace the state's lock", |house, user| house.replace("state/lock", user)),
    attack("plant a link in the state directory", |house, _| plant(&house.at("state/state.damaged"))),
    attack("replace the state directory", |house, user| house.replace("state", user)),
    attack("read the log", |house, _| fs::read(house.at("log/gwg.log")).map(drop)),
    attack("write a line into the log", |house, _| open_to_write(&house.at("log/gwg.log"))),
    attack("replace the log", |house, user| house.replace("log/gwg.log", user)),
    attack("write a deployed file", |house, _| open_to_write(&house.at("trees/site/README"))),
    attack("plant a link in the tree", |house, _| plant(&house.at("trees/site/planted"))),
    attack("write .git/config", |house, _| open_to_write(&house.at("trees/site/.git/config"))),
    attack("plant a hook", |house, _| plant(&house.at("trees/site/.git/hooks"))),
    attack("plant a lock in .git", |house, _| plant(&house.at("trees/site/.git/index.lock"))),
    attack("look into gwg's part of .git", |house, _| fs::read_dir(house.at("trees/site/.git/gwg")).map(drop)),
    attack("open the tree's lock, to hold it", |house, _| open_to_write(&house.at("trees/site/.git/gwg/lock"))),
    attack("open the tree to all (chmod)", |house, _| {
        let tree = house.at("trees/site");
        let mode = fs::metadata(&tree)?.permissions();
        fs::set_permissions(&tree, Permissions::from_mode(0o777))?;
        fs::set_permissions(&tree, mode)
    }),
    attack("replace the tree", |house, user| house.replace("trees/site", user)),
    attack("plant a tree for a repository to come", |house, _| plant(&house.at("trees/next"))),
    // Whoever waits for it hears of that.
    attack("touch the trigger", |house, _| open_to_write(&house.at("triggers/site"))),
    attack("replace the trigger", |house, user| house.replace("triggers/site", user)),
    attack("replace the triggers' directory", |house, user| house.replace("triggers", user)),
    attack("start an update by a delivery of one's own", |house, _| {
        let commit = house.site.remote.head();
        house.deliver(&Delivery::push(PATH, house.url(), "refs/heads/master", &commit))
    }),
    attack("change a captured delivery", |house, _| {
        let changed = String::from_utf8_lossy(house.captured.bytes()).replace("Update README", "Update Readme");
        house.deliver(&house.captured.clone().body(changed))
    }),
    // Not a file, and not a door, but there for everybody to start.
    attack("use gwg-updater, by hand, to write the tree", deputy::updates),
];

impl House {
    pub fn new() -> Self {
        let ground = Ground::new();
        let scratch = ground.scratch.clone();
        keys::generate(scratch.path(), "key", &["-t", "ed25519"], "");
        scratch.file("phrase", "a passphrase");
        let secret = scratch.file("secret", SECRET);
        let log = scratch.directory("log").join("gwg.log");
        for user in [STRANGER, 0] {
            give_to(&scratch.directory(&format!("home-of-{user}")), user);
        }
        let repo = ground.repo().without("secret").set("secretFile", secret.to_str().unwrap());
        let logging = serde_json::json!({"output": log.to_str().unwrap()});
        let site = ground.start(Config::new().set("logging", logging).repo(repo));
        site.tree().wait_for(&site.remote.head(), None);
        let captured = site.gateway.push(PATH, &site.remote.head());
        site.deploy(&[("README", "second\n")]);
        let updater = File::open(env!("CARGO_BIN_EXE_gwg-updater")).unwrap().into();
        let mut house = Self { site, updater, captured, before: BTreeMap::new() };
        house.before = house.seen();
        house
    }

    /// Nothing was written, made, removed or given other rights.
    pub fn assert_unharmed(&self) {
        assert_eq!(self.seen(), self.before);
        self.site.tree().assert_healthy();
    }

    /// Acts while a file or a directory has another mode.
    pub fn with_mode(&self, name: &str, mode: u32, act: impl FnOnce()) {
        let path = self.at(name);
        let usual = fs::metadata(&path).unwrap().permissions();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        act();
        fs::set_permissions(&path, usual).unwrap();
    }

    fn at(&self, name: &str) -> PathBuf {
        self.site.scratch.path().join(name)
    }

    pub fn url(&self) -> &str {
        self.site.gateway.config().repo_at(PATH).text("url").unwrap()
    }

    /// Puts something else in its place, and that back again.
    fn replace(&self, name: &str, user: u32) -> io::Result<()> {
        let (victim, kept) = (self.at(name), self.at(&format!("home-of-{user}/kept")));
        fs::rename(&victim, &kept)?;
        plant(&victim)?;
        fs::rename(kept, victim)
    }

    /// Signs as well as can be: with the secret, where it can be read.
    fn deliver(&self, delivery: &Delivery) -> io::Result<()> {
        let secret = fs::read_to_string(self.at("secret")).unwrap_or_else(|_| "a guess".to_owned());
        let status = delivery.clone().sign(&secret).try_send(self.site.gateway.port())?.status;
        if status == 202 { Ok(()) } else { Err(io::Error::other(status.to_string())) }
    }

    fn seen(&self) -> BTreeMap<PathBuf, String> {
        let mut seen = BTreeMap::new();
        // The log and the history grow: rejected deliveries are said.
        let grows = |path: &Path| path.ends_with("gwg.log") || path.ends_with("history.jsonl") || path.starts_with(self.at("remotes"));
        look(self.site.scratch.path(), &mut |path| grows(path), &mut seen);
        seen
    }
}

fn open_to_write(path: &Path) -> io::Result<()> {
    File::options().append(true).open(path).map(drop)
}

/// A link that leads nowhere, taken away again.
fn plant(path: &Path) -> io::Result<()> {
    symlink("/nonexistent", path)?;
    fs::remove_file(path)
}

fn look(directory: &Path, skip: &mut dyn FnMut(&Path) -> bool, seen: &mut BTreeMap<PathBuf, String>) {
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let (path, about) = (entry.path(), entry.metadata().unwrap());
        if skip(&path) {
            continue;
        }
        let (mode, uid, changed) = (about.mode(), about.uid(), (about.ctime(), about.ctime_nsec()));
        seen.insert(path.clone(), format!("{mode:o} {uid} {} {changed:?}", about.len()));
        if about.is_dir() {
            look(&path, skip, seen);
        }
    }
}
