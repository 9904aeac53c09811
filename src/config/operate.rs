//! Meaning of `control`, `metrics` and `alert_after`: who may ask the running gateway, and how.

use super::environment::Environment;
use super::error::{Fault, KeyPath, Notes};
use super::raw::{RawControl, RawMetrics, UserName};
use super::{Control, check};
use nix::unistd::{Gid, Group};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The group that may look where the configuration names none and the system has it.
const GROUP: &str = "gwg-admin";

/// Who may do what over the control socket.
pub fn control(raw: RawControl, env: &Environment, notes: &mut Notes) -> Option<Control> {
    let path = |key: &str| KeyPath::global("control").key(key);
    let act = raw.act.unwrap_or(false);
    if !env.is_root() {
        for (key, given) in [("group", raw.group.is_some()), ("act", raw.act.is_some())] {
            if given {
                notes.warn(&path(key), "is ignored without root: only who runs gwg may ask it");
            }
        }
        return Some(Control { group: None, act: false });
    }
    let group = match raw.group {
        None => Group::from_name(GROUP).ok().flatten().map(|group| group.gid.as_raw()),
        Some(UserName(name)) => Some(notes.take(path("group"), group(name.trim()))?),
    };
    Some(Control { group, act })
}

/// A group's number by its name, or a number as it is.
fn group(name: &str) -> Result<u32, Fault> {
    let number = name.parse::<u32>().ok();
    let found = match number {
        Some(number) => Group::from_gid(Gid::from_raw(number)).ok().flatten().map_or(Some(number), |group| Some(group.gid.as_raw())),
        None => Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw()),
    };
    match found {
        Some(0) => Err(Fault::new("group root needs no key: root may do everything", "name another group, or leave the key away")),
        Some(u32::MAX) | None => Err(Fault::new(format!("there is no group {name:?}"), format!("run: groupadd --system {name}"))),
        Some(number) => Ok(number),
    }
}

/// Where figures are served.
pub fn metrics(raw: RawMetrics, notes: &mut Notes) -> Option<Option<SocketAddr>> {
    let path = |key: &str| KeyPath::global("metrics").key(key);
    let address = match raw.listen.as_deref().map(str::trim).filter(|text| !text.is_empty()) {
        None => Some(IpAddr::from(Ipv4Addr::LOCALHOST)),
        Some(text) => notes.take(path("listen"), check::listen(text)),
    };
    let Some(port) = raw.port else {
        if raw.listen.is_some() {
            notes.wrong(path("listen"), Fault::new("without a port nothing is served", "write metrics.port as well"));
            return None;
        }
        return Some(None);
    };
    let fitting = u16::try_from(port).ok().filter(|port| *port != 0);
    let fault = || Fault::new(format!("{port} is out of range"), "write a number from 1 to 65535");
    let port = notes.take(path("port"), fitting.ok_or_else(fault))?;
    let address = address?;
    if !address.is_loopback() {
        notes.warn(&path("listen"), "is not this machine alone: whoever reaches it learns the paths of all webhooks");
    }
    Some(Some(SocketAddr::new(address, port)))
}
