//! A world in which there is something to get: files, servers, other processes' secrets. What an attacker
//! would find out (paths, ports) it is told; what it is after, it is not.

use super::servers::{self, Heard};
use crate::support::need;
use crate::support::scratch::{self, Scratch, UPDATER, WORKER};
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// More than any child may hold, in bytes.
const MEMORY: u64 = 1536 << 20;

/// See above.
pub struct World {
    scratch: Scratch,
    told: BTreeMap<&'static str, String>,
    secrets: BTreeMap<&'static str, String>,
    /// Who owns the trees.
    owner: u32,
    heard: Heard,
}

impl World {
    /// One whose trees belong to the updaters' user, or to root where the updater runs as root.
    pub fn new(updaters_are_root: bool) -> Self {
        let scratch = Scratch::new();
        let mut world = Self {
            owner: if updaters_are_root { 0 } else { UPDATER },
            told: BTreeMap::new(),
            secrets: BTreeMap::new(),
            heard: Heard::default(),
            scratch,
        };
        world.make_directories();
        world.tell_files();
        world.start_servers();
        world.plant();
        world
    }

    fn make_directories(&mut self) {
        for (key, path, owner, mode) in [
            ("tree", "trees/mine", self.owner, 0o755),
            ("other-tree", "trees/other", self.owner, 0o755),
            ("triggers", "triggers", self.owner, 0o755),
            ("home", "home", self.owner, 0o700),
            ("state-directory", "state", WORKER, 0o700),
            ("tmp", "tmp", 0, 0o1777),
        ] {
            let directory = self.scratch.directory(path);
            scratch::give_to(&directory, owner);
            fs::set_permissions(&directory, Permissions::from_mode(mode)).unwrap();
            self.told.insert(key, directory.to_str().unwrap().into());
        }
    }

    fn tell_files(&mut self) {
        for (key, path) in [
            ("config", "config.yaml"),
            ("key", "id_ed25519"),
            ("state", "state/state.redb"),
            ("other-file", "trees/other/file"),
            ("other-key", "home/id_ed25519"),
            ("other-trigger", "triggers/other"),
            ("trigger", "triggers/mine"),
            ("neighbour", "triggers/neighbour"),
            ("path-socket", "service"),
            ("tmp-file", "tmp/file"),
            ("tmp-new", "tmp/new"),
            ("other-new", "trees/other/new"),
            ("tree-new", "trees/mine/new"),
            ("trigger-new", "triggers/new"),
        ] {
            self.told.insert(key, self.scratch.path().join(path).to_str().unwrap().into());
        }
        for key in ["config", "key", "state", "other-file", "other-key", "neighbour", "other-tree", "memory"] {
            self.secrets.insert(key, word());
        }
        self.told.insert("shadow", "/etc/shadow".into());
        let shadow = fs::read_to_string("/etc/shadow").unwrap_or_default();
        self.secrets.insert("shadow", shadow.lines().next().unwrap_or("no such file").into());
        for (same, planted) in [("supervisor.environ", "memory"), ("system-v", "memory")] {
            self.secrets.insert(same, self.secrets[planted].clone());
        }
        let nonce = word();
        self.told.insert("shm-file", format!("/dev/shm/gwg-attack-{nonce}"));
        self.told.insert("nonce", nonce);
        self.told.insert("memory", MEMORY.to_string());
    }

    fn start_servers(&mut self) {
        for key in ["tcp", "udp", "elsewhere", "abstract", "path-socket"] {
            self.secrets.insert(key, word());
        }
        let secret = |key: &str| self.secrets[key].clone();
        let (tcp, heard) = servers::tcp(Ipv4Addr::LOCALHOST.into(), 0, secret("tcp"));
        // The remote, and the same port of somebody else.
        let (remote, _) = servers::tcp(Ipv4Addr::LOCALHOST.into(), 0, word());
        let (elsewhere, _) = servers::tcp(IpAddr::from([127, 0, 0, 2]), remote.port(), secret("elsewhere"));
        let (udp, name) = (servers::udp(secret("udp")), word());
        servers::abstract_socket(&name, secret("abstract"));
        servers::path_socket(Path::new(&self.told["path-socket"]), secret("path-socket"));
        self.heard = heard;
        self.told.extend([
            ("tcp", tcp.to_string()),
            ("udp", udp.to_string()),
            ("elsewhere", elsewhere.to_string()),
            ("abstract", name),
            ("url", format!("git://{remote}/site")),
        ]);
    }

    /// Puts everything where it was.
    pub fn plant(&self) {
        for key in ["tmp-file", "tmp-new", "other-new", "trigger-new", "shm-file"] {
            remove(&self.path(key));
        }
        for (key, owner, mode) in [
            ("config", 0, 0o600),
            ("key", 0, 0o600),
            ("state", WORKER, 0o600),
            ("other-file", self.owner, 0o640),
            ("other-key", self.owner, 0o600),
            ("other-trigger", self.owner, 0o644),
            ("trigger", self.owner, 0o644),
            ("neighbour", self.owner, 0o644),
        ] {
            let path = self.path(key);
            remove(&path);
            fs::write(&path, self.secrets.get(key).map_or("", String::as_str)).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            scratch::give_to(&path, owner);
        }
        let name = self.path("other-tree").join(&self.secrets["other-tree"]);
        fs::write(name, "").unwrap();
        fs::read_dir(self.path("tree")).unwrap().flatten().for_each(|entry| remove(&entry.path()));
    }

    /// As it is before the first update.
    pub fn remove_trigger(&self) {
        remove(&self.path("trigger"));
    }

    /// What is planted in other processes.
    pub fn planted(&self) -> String {
        self.secrets["memory"].clone()
    }

    /// What is to be had there.
    pub fn secret(&self, key: &str) -> String {
        self.secrets.get(key).unwrap_or_else(|| panic!("no secret {key}")).clone()
    }

    /// What an attacker knows.
    pub fn told(&self) -> String {
        self.told.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join("\t")
    }

    /// The state of what proves an attack: it succeeded where this is another than before.
    pub fn look(&self, (proof, key): &(String, String)) -> String {
        let nonce = &self.told["nonce"];
        match proof.as_str() {
            "writes" => self.read(key).is_some_and(|text| text.contains(nonce)).to_string(),
            "makes" | "removes" => fs::symlink_metadata(self.path(key)).is_ok().to_string(),
            "changes" => {
                let found = fs::symlink_metadata(self.path(key)).unwrap();
                format!("{:?}", (found.mode(), found.uid(), found.len(), found.mtime_nsec(), found.ctime_nsec()))
            }
            "reaches" => self.heard.has(nonce).to_string(),
            _ => String::new(),
        }
    }

    /// What a file holds, also one that a listener made, which makes what nobody may open.
    fn read(&self, key: &str) -> Option<String> {
        let path = self.path(key);
        fs::read_to_string(&path).ok().or_else(|| {
            fs::set_permissions(&path, Permissions::from_mode(0o600)).ok()?;
            fs::read_to_string(&path).ok()
        })
    }

    fn path(&self, key: &str) -> PathBuf {
        PathBuf::from(self.told.get(key).unwrap_or_else(|| panic!("no path {key}")))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        remove(&self.path("shm-file"));
    }
}

fn remove(path: &Path) {
    let removed = match fs::symlink_metadata(path) {
        // One of a listener's, which makes what nobody may open.
        Ok(found) if found.is_dir() => fs::remove_dir(path).or_else(|_| fs::remove_dir_all(path)),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    };
    removed.unwrap();
}

/// 32 letters that nobody guesses by chance.
fn word() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let seed = format!("{now:x}{count:x}{:x}{}", std::process::id(), need::is_root());
    // Whatever it begins with, it is 32 long and its own.
    format!("{:0>32}", &seed[seed.len().saturating_sub(32)..]).replace('_', "0")
}
