//! Who may do what over the control socket. Pure. Runs in the supervisor.

use crate::config::{Config, Control, Gc};
use crate::confine::peer::Peer;
use std::net::SocketAddr;
use std::time::Duration;

/// What a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// Nothing.
    Nothing,
    /// Ask.
    Look,
    /// Ask, and have things done.
    Act,
}

/// What the configuration says of operators, of who looks from outside, and of what gwg does by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Who may do what.
    pub rules: Rules,
    /// Where figures are served, if anywhere.
    pub metrics: Option<SocketAddr>,
    /// How long a repository may fail.
    pub alert_after: Duration,
    /// What is done about object stores.
    pub gc: Gc,
}

impl Terms {
    /// Those of a configuration.
    pub fn of(config: &Config) -> Self {
        Self { rules: Rules::of(config), metrics: config.metrics, alert_after: Duration::from_secs(config.alert_after_s), gc: config.gc }
    }
}

/// The rules of this run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Who invoked gwg.
    pub own: u32,
    /// The configuration's word.
    pub control: Control,
    /// The users of gwg's own children: none of them has any business here.
    pub children: Vec<u32>,
}

impl Rules {
    /// The rules of a configuration, for a gateway of this user.
    pub fn of(config: &Config) -> Self {
        let children = config.accounts.iter().flat_map(|all| [all.updater.uid, all.worker.uid, all.listener.uid]);
        Self { own: nix::unistd::geteuid().as_raw(), control: config.control, children: children.collect() }
    }

    /// What this peer may do.
    pub fn right(&self, peer: &Peer) -> Right {
        // Without root the children are the invoking user; their filters let them make no such socket.
        if peer.uid == 0 || peer.uid == self.own {
            return Right::Act;
        }
        let member = self.control.group.is_some_and(|group| peer.groups.contains(&group));
        match member && !self.children.contains(&peer.uid) {
            false => Right::Nothing,
            true if self.control.act => Right::Act,
            true => Right::Look,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn right(uid: u32, groups: &[u32], act: bool) -> Right {
        let rules = Rules { own: 0, control: Control { group: Some(50), act }, children: vec![7, 8, 9] };
        rules.right(&Peer { uid, pid: 1, groups: groups.to_vec() })
    }

    #[test]
    fn root_acts_members_look_and_nobody_else_does_anything() {
        for act in [false, true] {
            assert_eq!(right(0, &[], act), Right::Act);
            assert_eq!(right(1000, &[], act), Right::Nothing);
            assert_eq!(right(1000, &[0, 51], act), Right::Nothing);
            // Not even where somebody has put them into the group.
            for child in [7, 8, 9] {
                assert_eq!(right(child, &[50], act), Right::Nothing);
            }
        }
        assert_eq!(right(1000, &[4, 50], false), Right::Look);
        assert_eq!(right(1000, &[4, 50], true), Right::Act);
    }

    #[test]
    fn without_root_and_without_a_group_only_the_invoker_acts() {
        let rules = Rules { own: 1000, control: Control { group: None, act: true }, children: Vec::new() };
        let peer = |uid| Peer { uid, pid: 1, groups: vec![50] };
        assert_eq!(rules.right(&peer(1000)), Right::Act);
        assert_eq!(rules.right(&peer(0)), Right::Act);
        assert_eq!(rules.right(&peer(1001)), Right::Nothing);
    }
}
