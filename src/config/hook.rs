//! What is run after an update: which command, as whom, for how long. Runs in the supervisor.

use super::accounts::account;
use super::directories;
use super::environment::Environment;
use super::error::{Fault, KeyPath, Notes};
use super::owner::{self, Owner, Rights, name_of};
use super::raw::{RawHook, RawHooks, Span, UserName, Value};
use super::{Account, Accounts, Hook, Hooks};
use crate::brief::Secret;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, faccessat};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const TIMEOUT_DEFAULT: Span = Span(300_000);
const TIMEOUT_LEAST: u64 = 1_000;
const TIMEOUT_MOST: u64 = 86_400_000;
/// Bytes of command and variables together: the kernel takes no text of more for one argument.
const LONGEST: usize = 128 << 10;

/// What is known when hooks are checked.
pub struct Ground<'a> {
    /// Who can write the configuration.
    pub owner: Owner,
    /// Who runs gwg.
    pub env: &'a Environment,
    /// Who the other children become; none without root, or where that is wrong.
    pub accounts: Option<&'a Accounts>,
}

/// Which of a repository's hooks.
enum On {
    Success,
    Failure,
}

impl Ground<'_> {
    /// The hooks of the repository whose work tree is `tree`.
    pub fn check(&self, raw: RawHooks, at: &KeyPath, tree: &Path, notes: &mut Notes) -> Option<Hooks<Hook>> {
        if let Owner::Other(uid) = self.owner {
            let fault = Fault::new(
                format!("{} can write this configuration, so it may name no hook", name_of(uid)),
                "let root own it and every directory above it",
            );
            notes.wrong(at.clone(), fault);
            return None;
        }
        let mut hooks = Hooks::default();
        let mut fine = true;
        for (index, one) in raw.list.into_iter().enumerate() {
            let place = if raw.is_list { at.clone().index(index) } else { at.clone() };
            let Some((on, hook)) = self.check_one(one, &place, tree, notes) else {
                fine = false;
                continue;
            };
            let (slot, word) = match on {
                On::Success => (&mut hooks.success, "success"),
                On::Failure => (&mut hooks.failure, "failure"),
            };
            if slot.replace(hook).is_some() {
                let fault = Fault::new(format!("there is another hook on {word}"), "let one command do both, or one call the other");
                notes.wrong(place.key("on"), fault);
                fine = false;
            }
        }
        fine.then_some(hooks)
    }

    fn check_one(&self, raw: RawHook, at: &KeyPath, tree: &Path, notes: &mut Notes) -> Option<(On, Hook)> {
        let RawHook { command, user, timeout, env, on, write } = raw;
        let on = notes.take(at.clone().key("on"), on_word(on.as_deref()));
        let timeout_ms = notes.take(at.clone().key("timeout"), time(timeout.unwrap_or(TIMEOUT_DEFAULT)));
        let env = variables(env.unwrap_or_default(), &at.clone().key("env"), notes);
        let write = match write {
            Some(list) => directories_in(&list, tree, &at.clone().key("write"), notes).map(Some),
            None => Some(None),
        };
        let account = notes.take(at.clone().key("user"), self.user(user));
        let command_at = at.clone().key("command");
        let command = notes.take(command_at.clone(), words(command.unwrap_or_default()));
        let (account, command) = (account?, command?);
        let (uid, gid) = account.as_ref().map_or((self.env.uid, None), |account| (account.uid, Some(account.gid)));
        let program = self.program_as(command.first()?, tree, uid, gid).map(|warning| {
            if let Some(warning) = warning {
                notes.warn(&command_at, warning);
            }
        });
        notes.take(command_at.clone(), program)?;
        let home = (self.env.home)(uid).unwrap_or_else(|| PathBuf::from("/"));
        let hook = Hook { account, command, env: env?, home, timeout_ms: timeout_ms?, write: write? };
        if size(&hook) > LONGEST {
            notes.wrong(command_at, Fault::new("command and env are longer than 128 KiB together", "put what is long into a file"));
            return None;
        }
        Some((on?, hook))
    }

    /// As root each hook names its user; without root there is but one.
    fn user(&self, written: Option<UserName>) -> Result<Option<Account>, Fault> {
        let written = written.map(|name| name.0).filter(|name| !name.trim().is_empty());
        if !self.env.is_root() {
            return match written.map(|name| account(name.trim())).transpose()? {
                Some(other) if other.uid != self.env.uid => Err(Fault::new(
                    format!("gwg is not root, so a hook runs as {}", name_of(self.env.uid)),
                    "remove the key, or run gwg as root",
                )),
                Some(_) | None => Ok(None),
            };
        }
        let name = written.ok_or_else(|| {
            let remedy = "name a user, best one of the hook's own: useradd --system --no-create-home --shell /usr/sbin/nologin NAME";
            Fault::new("this is missing, and gwg runs as root", remedy)
        })?;
        let account = account(name.trim())?;
        let taken = |one: &&Accounts| [one.worker.uid, one.listener.uid].contains(&account.uid);
        match self.accounts.filter(taken) {
            Some(_) => Err(Fault::new(
                format!("a process of gwg's that holds keys or secrets runs as {name}"),
                "name another user: those of one user can disturb each other",
            )),
            None => Ok(Some(account)),
        }
    }

    /// Looks at the program with the rights of the user who is to run it, and no more.
    fn program_as(&self, written: &str, tree: &Path, uid: u32, gid: Option<u32>) -> Result<Option<String>, Fault> {
        let Some(gid) = gid else { return self.program(written, tree, uid) };
        let looked = Rights::alone(uid, gid).with(|| Ok(self.program(written, tree, uid)));
        looked
            .unwrap_or_else(|error| Err(Fault::new(format!("the rights of {} can't be had ({error})", name_of(uid)), "name another user")))
    }

    /// Whether the user can run the program, as far as can be told before it is run; and a warning.
    fn program(&self, written: &str, tree: &Path, uid: u32) -> Result<Option<String>, Fault> {
        let path = directories::absolute(written)
            .map_err(|fault| Fault::new(format!("the program: {}", fault.what), "write its whole path, from /; no shell looks for it"))?;
        if path.starts_with(tree) {
            return Ok(Some(format!("the program lies in the work tree: whoever may push runs code as {}", name_of(uid))));
        }
        let shown = path.display();
        let about = path.metadata().map_err(|error| {
            Fault::new(format!("there is no program {shown} ({error})"), "check its path; arguments follow it in the list")
        })?;
        if !about.is_file() || about.permissions().mode() & 0o111 == 0 {
            return Err(Fault::new(
                format!("{shown} is no program"),
                format!("name an executable file; if it is a script: chmod +x {shown}"),
            ));
        }
        faccessat(AT_FDCWD, &path, AccessFlags::X_OK, AtFlags::AT_EACCESS).map_err(|_| {
            Fault::new(
                format!("{} may not run {shown}", name_of(uid)),
                "check the modes of it and of the directories above it; under SELinux also its label and the boolean gwg_hooks",
            )
        })?;
        let writer = owner::of(&path, &about, self.env.uid)
            .map_err(|fault| Fault::new(format!("the program {shown}: {}", fault.what), fault.remedy))?;
        Ok(match writer {
            Owner::Other(writer) if writer != uid => {
                Some(format!("{} can write the program, and so run code as {}", name_of(writer), name_of(uid)))
            }
            Owner::Other(_) | Owner::Trusted => None,
        })
    }
}

fn on_word(written: Option<&str>) -> Result<On, Fault> {
    match written.unwrap_or_default().trim() {
        "" | "success" => Ok(On::Success),
        "failure" => Ok(On::Failure),
        other => Err(Fault::new(format!("there is no {other:?}"), "write success or failure")),
    }
}

fn time(span: Span) -> Result<u64, Fault> {
    let fitting = Some(span.0).filter(|ms| (TIMEOUT_LEAST..=TIMEOUT_MOST).contains(ms));
    fitting.ok_or_else(|| Fault::new("the time is out of range", "write one from 1s to 1d"))
}

fn words(command: Vec<String>) -> Result<Vec<String>, Fault> {
    match command.first().map(|program| program.trim().is_empty()) {
        None | Some(true) => Err(Fault::new(
            "the command is missing",
            "write a list: the program's whole path, then each argument; for a shell [/bin/sh, -c, …]",
        )),
        Some(false) if command.iter().any(|word| word.contains('\0')) => Err(Fault::new("an argument holds a zero byte", "remove it")),
        Some(false) => Ok(command),
    }
}

fn variables(written: BTreeMap<String, Value>, at: &KeyPath, notes: &mut Notes) -> Option<Vec<(String, Secret)>> {
    let before = notes.problems.len();
    let mut all = Vec::new();
    for (name, Value(value)) in written {
        match variable(&name, &value) {
            Ok(()) => all.push((name, value)),
            Err(fault) => notes.wrong(at.clone().key(&name), fault),
        }
    }
    (notes.problems.len() == before).then_some(all)
}

fn variable(name: &str, value: &Secret) -> Result<(), Fault> {
    let fine = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    if name.is_empty() || !name.chars().all(fine) || name.starts_with(|letter: char| letter.is_ascii_digit()) {
        return Err(Fault::new("this is no name of a variable", "use letters, digits and _, no digit first"));
    }
    if name.starts_with("GWG_") {
        return Err(Fault::new("names that begin with GWG_ are gwg's own", "choose another name"));
    }
    if value.expose().contains(&0) {
        return Err(Fault::new("the value holds a zero byte", "remove it"));
    }
    Ok(())
}

fn directories_in(list: &[String], tree: &Path, at: &KeyPath, notes: &mut Notes) -> Option<Vec<PathBuf>> {
    let checked = |written: &String| {
        let path = directories::absolute(written)?;
        match path.starts_with(tree) || path.is_dir() {
            true => Ok(path),
            false => Err(Fault::new(format!("{} is no directory", path.display()), "make it, or name another")),
        }
    };
    let all: Vec<_> = list.iter().enumerate().map(|(index, one)| notes.take(at.clone().index(index), checked(one))).collect();
    all.into_iter().collect()
}

fn size(hook: &Hook) -> usize {
    let words = hook.command.iter().map(|word| word.len() + 1);
    let env = hook.env.iter().map(|(name, value)| name.len() + value.expose().len() + 2);
    words.chain(env).sum()
}
