//! One running gateway, and one trial after the other on it, so that what a trial leaves behind meets the next.

use super::support::ambush::{Ambush, Fate, Prey};
use super::support::config::Config;
use super::support::delivery::Delivery;
use super::support::hook::Notes;
use super::support::processes::Process;
use super::support::site::{Ground, PATH, Site};
use super::support::tree::Tree;
use super::support::wait;
use nix::sys::signal::Signal;
use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

/// In so long all must be well again.
pub const LIMIT: Duration = Duration::from_secs(10);
/// Trials of one gateway, where each ends a process that the supervisor starts again: more would be throttled.
const KILLS: usize = 8;
/// When no update has run for so long, none is about to.
const QUIET: Duration = Duration::from_millis(300);

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    Listener,
    /// The one that is started in the place of one that was killed, or that a reload replaces.
    NextListener,
    Worker,
    /// As above.
    NextWorker,
    Updater,
    Supervisor,
}

/// What goes on meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scene {
    /// A new commit comes to a work tree that is there.
    Update,
    /// The first push ever to a repository that nothing else would bring.
    FirstClone,
    /// As an update, and the repository is damaged.
    Damaged,
    /// A saved configuration gives the repository another path, and the delivery goes there.
    Reload,
    /// The executable that is installed takes over.
    Upgrade,
}

impl Scene {
    /// In how many ways it goes on, in turns.
    pub const fn variants(self) -> usize {
        match self {
            Self::Update | Self::FirstClone | Self::Reload | Self::Upgrade => 1,
            Self::Damaged => 3,
        }
    }
}

/// A gateway for trials of one kind.
pub struct Post {
    site: Site,
    notes: Notes,
    victim: Victim,
    scene: Scene,
    trials: usize,
    /// Where the repository is, but for first clones.
    path: String,
}

/// What one trial was.
pub struct Trial {
    /// The telling calls of the victim, up to its end.
    pub calls: Vec<&'static str>,
    /// How long after the kill all was well; none where the victim got away.
    pub healed: Option<Duration>,
}

/// What is to be deployed.
struct Work {
    path: String,
    tree: Tree,
    commit: String,
    touched: Option<SystemTime>,
    /// Where the log stood.
    mark: usize,
}

impl Post {
    pub fn new(victim: Victim, scene: Scene) -> Self {
        let ground = Ground::new();
        let notes = Notes::new(&ground.scratch);
        let with_hook = |path: &str| ground.repo_at(path).set("hook", notes.hook("echo $GWG_REPO $GWG_NEW >>$NOTES/done"));
        let mut config = Config::new();
        if scene == Scene::FirstClone {
            config = (0..KILLS).fold(config.set("initialise", false), |config, number| config.repo(with_hook(&format!("/{number}"))));
        } else {
            config = config.repo(with_hook(PATH));
        }
        let post = Self { site: ground.start(config), notes, victim, scene, trials: 0, path: PATH.into() };
        if scene != Scene::FirstClone {
            let (tree, commit) = (post.site.tree(), post.site.remote.head());
            wait::until_true("the first commit is deployed", || {
                let work = Work { path: PATH.into(), tree: tree.clone(), commit: commit.clone(), touched: None, mark: 0 };
                post.ailment(&work).is_none()
            });
        }
        post
    }

    /// Whether the next trial should have a new gateway.
    pub fn is_worn(&self) -> bool {
        let most = match (self.victim, self.scene) {
            (Victim::NextListener | Victim::NextWorker, _) => KILLS / 2,
            (Victim::Updater | Victim::Supervisor, Scene::Update | Scene::Damaged) => KILLS * 4,
            _ => KILLS,
        };
        self.trials + 1 >= most
    }

    /// Which variant of the scene the next trial is.
    pub fn variant(&self) -> usize {
        self.trials % self.scene.variants()
    }

    /// The victim is killed before its `nth` telling call while a delivery is served.
    pub fn trial(&mut self, nth: usize) -> Trial {
        self.wait_for_quiet();
        let work = self.prepare();
        self.trials += 1;
        let supervisor = self.site.gateway.process();
        let prey = self.prey();
        let ambush = Ambush::lay(self.way(prey), nth);
        self.begin(&work, prey);
        let mut acknowledged = self.announce_once(&work);
        let (fate, seen) = self.fate(&ambush, prey, &work, &mut acknowledged);
        ambush.end();
        if self.victim == Victim::Supervisor {
            // In a second each has seen that its parent is gone.
            wait::within(Duration::from_secs(1), "all processes are gone", || seen.iter().all(|process| !process.alive()).then_some(()));
            self.site.gateway.restart();
        } else {
            assert!(supervisor.alive(), "the supervisor died with its child");
        }
        let since = fate.killed.filter(|_| self.victim != Victim::Supervisor).unwrap_or_else(Instant::now);
        while !acknowledged {
            assert!(since.elapsed() < LIMIT, "{}: no delivery was accepted after it", self.told(&fate));
            acknowledged = self.announce_once(&work);
        }
        let wrong = loop {
            let wrong = self.ailment(&work);
            if wrong.is_none() || since.elapsed() > LIMIT {
                break wrong;
            }
            sleep(Duration::from_millis(20));
        };
        let took = since.elapsed();
        assert_eq!(wrong, None, "{}: not healthy after {took:?}", self.told(&fate));
        let aside = self.site.gateway.log().matching(&["state", "aside"]);
        assert!(aside.is_empty(), "{}: {aside:?}", self.told(&fate));
        Trial { calls: fate.calls, healed: fate.killed.map(|_| took) }
    }

    /// What leads to the kill, but for the delivery.
    fn begin(&mut self, work: &Work, prey: Process) {
        match (self.scene, self.victim) {
            (Scene::Reload, _) => {
                let config = self.site.gateway.config().clone();
                self.site.gateway.write(config.change_repo(&self.path, |repo| repo.set("path", work.path.as_str())));
                self.path.clone_from(&work.path);
                // It would be read by itself, and what comes until then makes more calls, or fewer.
                self.site.gateway.process().signal(Signal::SIGHUP);
            }
            (Scene::Upgrade, _) => self.site.gateway.process().signal(Signal::SIGUSR2),
            (_, Victim::NextListener | Victim::NextWorker) => prey.kill(),
            (_, Victim::Listener | Victim::Worker | Victim::Updater | Victim::Supervisor) => {}
        }
    }

    /// The gateway is as good as new.
    pub fn end(&self) {
        if self.scene != Scene::FirstClone {
            self.wait_for_quiet();
            let commit = self.site.remote.publish(&[("end", "of the trials\n")]);
            self.site.gateway.deploy(&self.path, &commit);
        }
    }

    fn told(&self, fate: &Fate) -> String {
        format!("{:?} in {:?} killed at call {} ({})", self.victim, self.scene, fate.calls.len(), fate.calls.last().unwrap_or(&"none"))
    }

    fn prey(&self) -> Process {
        match self.victim {
            Victim::Listener | Victim::NextListener => self.site.gateway.child("gwg-listener"),
            Victim::Worker | Victim::NextWorker => self.site.gateway.child("gwg-worker"),
            Victim::Updater | Victim::Supervisor => self.site.gateway.process(),
        }
    }

    fn way(&self, prey: Process) -> Prey {
        match self.victim {
            Victim::Listener | Victim::Worker | Victim::Supervisor => Prey::Running(prey),
            Victim::NextListener | Victim::NextWorker | Victim::Updater => Prey::NextChildOf(self.site.gateway.process()),
        }
    }

    /// A process that is there before the trial is over may still have to do with the one before.
    fn wait_for_quiet(&self) {
        let supervisor = self.site.gateway.process();
        let mut since = Instant::now();
        wait::until_true("no update runs, and no listener drains", || {
            let children = supervisor.children();
            let listeners = children.iter().filter(|child| child.name() == "gwg-listener").count();
            if listeners > 1 || children.iter().any(|child| matches!(child.name().as_str(), "gwg-updater" | "gwg-hook")) {
                since = Instant::now();
            }
            since.elapsed() > QUIET
        });
    }

    /// The next thing to deploy. Of each kind something changes: a file, a directory, a link, a mode.
    fn prepare(&self) -> Work {
        let (remote, number) = (&self.site.remote, self.trials);
        let path = match self.scene {
            Scene::FirstClone | Scene::Reload => format!("/{number}"),
            Scene::Update | Scene::Damaged | Scene::Upgrade => PATH.to_owned(),
        };
        let _not_the_first = fs::remove_dir_all(remote.work().join("changing"));
        let link = remote.work().join("link");
        let _not_the_first = fs::remove_file(&link);
        std::os::unix::fs::symlink(format!("changing/{number}/a"), &link).unwrap();
        let text = format!("{number}\n").repeat(number % 5 * 1000 + 1);
        let names: Vec<String> = ["a", "b", "c/d"].iter().map(|name| format!("changing/{number}/{name}")).collect();
        let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), text.as_str())).chain([("README", text.as_str())]).collect();
        let commit = remote.publish(&files);
        let tree = self.site.gateway.tree(if self.scene == Scene::FirstClone { &path } else { &self.path });
        if self.scene == Scene::Damaged {
            damage(&tree, self.variant());
        }
        let touched = tree.touched();
        Work { path, tree, commit, touched, mark: self.site.gateway.log().mark() }
    }

    /// One delivery, with other requests before it. Whether it was acknowledged.
    fn announce_once(&self, work: &Work) -> bool {
        let port = self.site.gateway.port();
        if self.victim == Victim::Listener {
            for other in [
                Delivery::event("/", "ping", &serde_json::json!({})).method("GET"),
                self.site.gateway.push(&work.path, &work.commit).sign("another"),
            ] {
                self.answered(other.try_send(port));
            }
        }
        let status = self.answered(self.site.gateway.push(&work.path, &work.commit).try_send(port));
        if status != Some(202) {
            sleep(Duration::from_millis(20));
        }
        status == Some(202)
    }

    fn answered(&self, answer: std::io::Result<super::support::delivery::Answer>) -> Option<u16> {
        match answer {
            Ok(answer) => {
                assert!([202, 401, 404, 405, 503].contains(&answer.status), "{answer:?}");
                Some(answer.status)
            }
            Err(error) => {
                let gone = self.victim == Victim::Supervisor;
                assert!(gone || error.kind() != ErrorKind::ConnectionRefused, "a connection was refused");
                None
            }
        }
    }

    /// Waits for the kill. One who has done all its work and lives on is killed then. Also gives the processes
    /// that there were meanwhile.
    fn fate(&self, ambush: &Ambush, prey: Process, work: &Work, acknowledged: &mut bool) -> (Fate, HashSet<Process>) {
        let (mut seen, mut done) = (HashSet::new(), None);
        let start = Instant::now();
        loop {
            if self.victim == Victim::Supervisor {
                seen.extend(prey.descendants());
            }
            if let Some(fate) = ambush.fate(Duration::from_millis(10)) {
                return (fate, seen);
            }
            *acknowledged = *acknowledged || self.announce_once(work);
            if done.is_none() && self.ailment(work).is_none() {
                done = Some(Instant::now());
            }
            // Then it is at rest.
            if done.is_some_and(|done| done.elapsed() > QUIET) {
                let next = match self.victim {
                    Victim::Listener | Victim::NextListener => self.site.gateway.child("gwg-listener"),
                    Victim::Worker | Victim::NextWorker => self.site.gateway.child("gwg-worker"),
                    Victim::Updater | Victim::Supervisor => prey,
                };
                if self.victim != Victim::Updater {
                    next.try_signal(Signal::SIGKILL);
                }
                return (ambush.fate(wait::LONG).expect("it has ended"), seen);
            }
            assert!(start.elapsed() < wait::LONG, "neither killed nor done: {:?}", self.ailment(work));
        }
    }

    /// Or the running one has said why not.
    fn has_taken_over(&self, mark: usize) -> bool {
        let ended = |line: &String| line.contains("ready listen=") || line.contains("upgrade refused");
        self.site.gateway.log().lines().iter().skip(mark).any(ended)
    }

    /// What is not as it should be after the delivery.
    fn ailment(&self, work: &Work) -> Option<String> {
        let Work { path, tree, commit, touched, mark } = work;
        if self.scene == Scene::Upgrade && !self.has_taken_over(*mark) {
            return Some("no executable has taken over".into());
        }
        let head = tree.head();
        if head.as_ref() != Some(commit) {
            return Some(format!("HEAD is {head:?} and not {commit}"));
        }
        if tree.touched() == *touched {
            return Some("the trigger was not touched".into());
        }
        let hook = format!("{path} {commit}");
        if !self.notes.lines("done").contains(&hook) {
            return Some("the hook did not run".into());
        }
        let own = ["running", "damaged"].map(|name| tree.directory.join(".git/gwg").join(name));
        let left: Vec<_> = own.iter().filter(|path| path.exists()).collect();
        if !left.is_empty() {
            return Some(format!("left behind: {left:?}"));
        }
        tree.ailment()
    }
}

/// What a bad disk or a careless hand does to a repository.
fn damage(tree: &Tree, variant: usize) {
    let git = tree.directory.join(".git");
    match variant {
        0 => fs::remove_dir_all(git.join("objects")).unwrap(),
        1 => {
            fs::write(git.join("HEAD"), "").unwrap();
            fs::write(git.join("index"), "DIRC and no more").unwrap();
        }
        _ => truncate_all(&git.join("objects")),
    }
}

fn truncate_all(directory: &std::path::Path) {
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            truncate_all(&path);
        } else {
            let _unlinked = fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644));
            let length = entry.metadata().unwrap().len();
            fs::File::options().write(true).open(&path).unwrap().set_len(length / 2).unwrap();
        }
    }
}
