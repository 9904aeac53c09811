//! The command's variables: these and no others. Pure. Runs in gwg-hook.

use crate::brief::hook::Hook;
use crate::ids::CommitId;
use crate::wire::hook::{Brief, Run};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// Where programs are looked for, unless the configuration says otherwise.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Names and values. A configured one wins over `PATH` and `HOME`; the configuration has none of `GWG_…`.
pub fn variables(brief: &Brief) -> Vec<(OsString, OsString)> {
    let Brief { hook, run } = brief;
    let Hook { env, home, repo, ref_name, directory, .. } = hook.as_ref();
    let Run { old, new, attempt } = run;
    let commit = |id: &Option<CommitId>| id.map(|id| id.to_string()).unwrap_or_default().into();
    let mut all: Vec<(OsString, OsString)> = vec![
        ("PATH".into(), PATH.into()),
        ("HOME".into(), home.into()),
        ("GWG_REPO".into(), repo.into()),
        ("GWG_REF".into(), ref_name.into()),
        ("GWG_DIRECTORY".into(), directory.into()),
        ("GWG_OLD".into(), commit(old)),
        ("GWG_NEW".into(), commit(new)),
        ("GWG_ATTEMPT".into(), attempt.to_string().into()),
    ];
    for (name, value) in env {
        all.retain(|(known, _)| known != name.as_str());
        all.push((name.into(), OsStr::from_bytes(value.expose()).to_owned()));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::brief::Secret;
    use std::sync::Arc;

    #[test]
    fn a_configured_path_wins_and_what_is_not_known_is_empty() {
        let hook = Hook {
            command: vec!["/bin/true".into()],
            env: vec![("PATH".into(), Secret::new(b"/opt/bin".to_vec())), ("X".into(), Secret::new(b"a b".to_vec()))],
            home: "/home/x".into(),
            timeout_ms: 1,
            write: None,
            repo: "/site".into(),
            ref_name: "refs/heads/main".into(),
            directory: "/srv/site".into(),
        };
        let run = Run { old: None, new: Some(CommitId::from_bytes([0x11; 20])), attempt: 2 };
        let mut found: Vec<_> = variables(&Brief { hook: Arc::new(hook), run })
            .into_iter()
            .map(|(name, value)| format!("{}={}", name.display(), value.display()))
            .collect();
        found.sort();
        let new = format!("GWG_NEW={}", "11".repeat(20));
        let wanted = [
            "GWG_ATTEMPT=2",
            "GWG_DIRECTORY=/srv/site",
            &new,
            "GWG_OLD=",
            "GWG_REF=refs/heads/main",
            "GWG_REPO=/site",
            "HOME=/home/x",
            "PATH=/opt/bin",
            "X=a b",
        ];
        assert_eq!(found, wanted);
    }
}
