//! What the configuration depends on beside its file, as a value: tests make their own.

use std::ffi::OsString;
use std::path::PathBuf;

/// Who runs gwg, and where it looks.
#[derive(Debug, Clone)]
pub struct Environment {
    /// The effective user id; 0 may change users and bind the rights of a configuration's owner.
    pub uid: u32,
    /// Where the configuration is looked for, in this order.
    pub directories: Vec<PathBuf>,
    /// The `GWG_…` variables.
    pub variables: Vec<(String, String)>,
    /// The system's known hosts.
    pub system_known_hosts: PathBuf,
    /// A user's home directory.
    pub home: fn(u32) -> Option<PathBuf>,
    /// Nothing is started: a log file that is missing is not created, `/dev/null` stands in for it.
    pub dry: bool,
}

impl Environment {
    /// Reads what this process was given.
    pub fn of_process() -> Self {
        Self::new(nix::unistd::geteuid().as_raw(), std::env::vars_os())
    }

    /// The environment of a process of user `uid` with these variables.
    pub fn new(uid: u32, variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let text = |(name, value): (OsString, OsString)| {
            let name = name.into_string().ok().filter(|name| name.starts_with("GWG_"))?;
            Some((name, value.to_string_lossy().into_owned()))
        };
        let mut directories = vec![PathBuf::from("/etc/gwg")];
        // Root's current directory may be anybody's.
        if uid != 0 {
            directories.push(PathBuf::from("."));
        }
        Self {
            uid,
            directories,
            variables: variables.into_iter().filter_map(text).collect(),
            system_known_hosts: PathBuf::from("/etc/ssh/ssh_known_hosts"),
            home: home_of,
            dry: false,
        }
    }

    /// Whether gwg may become other users.
    pub fn is_root(&self) -> bool {
        self.uid == 0
    }
}

fn home_of(uid: u32) -> Option<PathBuf> {
    nix::unistd::User::from_uid(uid.into()).ok().flatten().map(|user| user.dir)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_gwg_variables_are_kept_and_root_does_not_look_where_it_stands() {
        let variables = [("GWG_PORT", "1"), ("PATH", "/bin"), ("GWGX", "2")].map(|(name, value)| (name.into(), value.into()));
        let user = Environment::new(1000, variables.clone());
        assert_eq!(user.variables, [("GWG_PORT".into(), "1".into())]);
        assert_eq!(user.directories, [PathBuf::from("/etc/gwg"), PathBuf::from(".")]);
        assert_eq!(Environment::new(0, variables).directories, [PathBuf::from("/etc/gwg")]);
    }
}
