//! Which users the children become. Only root can give them one; then each has its own, because
//! processes of one user may signal each other and change each other's limits.

use super::environment::Environment;
use super::error::{Fault, KeyPath, Notes};
use super::owner::{Owner, name_of};
use super::raw::UserName;
use super::{Account, Accounts};
use nix::unistd::{Uid, User};

/// What the configuration says, if it does.
pub struct Named {
    /// `user`
    pub updater: Option<UserName>,
    /// `worker_user`
    pub worker: Option<UserName>,
    /// `listener_user`
    pub listener: Option<UserName>,
}

/// The accounts, or none where gwg is not root: then all children run as the same user as gwg.
pub fn check(named: Named, owner: Owner, env: &Environment, notes: &mut Notes) -> Option<Accounts> {
    let wanted =
        [("user", named.updater, "gwg"), ("worker_user", named.worker, "gwg-worker"), ("listener_user", named.listener, "gwg-listener")];
    if !env.is_root() {
        wanted
            .iter()
            .filter_map(|(key, name, _)| Some((key, name.as_ref()?)))
            .for_each(|(key, name)| warn_unused(key, &name.0, env, notes));
        return None;
    }
    let [updater, worker, listener] = wanted.map(|(key, name, default)| {
        let path = KeyPath::global(key);
        let account = match &name {
            None => account(default),
            // A variable of the environment is root's own word, whoever can write the file.
            Some(name) if notes.variable(&path).is_some() => account(name.0.trim()),
            Some(name) => account(name.0.trim()).and_then(|account| allowed(account, owner)),
        };
        notes.take(path, account)
    });
    let accounts = Accounts { updater: updater?, worker: worker?, listener: listener? };
    distinct(&accounts, notes).then_some(accounts)
}

fn warn_unused(key: &str, name: &str, env: &Environment, notes: &mut Notes) {
    let same = account(name).is_ok_and(|account| account.uid == env.uid);
    if !same {
        notes.warn(&KeyPath::global(key), format_args!("gwg is not root, so every process runs as {}", name_of(env.uid)));
    }
}

fn distinct(accounts: &Accounts, notes: &mut Notes) -> bool {
    let all = [("user", &accounts.updater), ("worker_user", &accounts.worker), ("listener_user", &accounts.listener)];
    let mut fine = true;
    for (place, (key, account)) in all.iter().enumerate() {
        if let Some((other, _)) = all.iter().take(place).find(|(_, other)| other.uid == account.uid) {
            let fault = Fault::new(
                format!("this is the same user as {other}"),
                "give each process a user of its own: those of one user can signal each other",
            );
            notes.wrong(KeyPath::global(key), fault);
            fine = false;
        }
    }
    fine
}

/// Looks a user up by name or number.
pub fn account(name: &str) -> Result<Account, Fault> {
    let number = name.parse::<u32>().ok();
    let found = match number {
        Some(number) => User::from_uid(Uid::from_raw(number)),
        None => User::from_name(name),
    };
    let found =
        found.map_err(|error| Fault::new(format!("the user {name} can't be looked up ({error})"), "check the system's user database"))?;
    let account = match (found, number) {
        (Some(user), _) => Account { name: name.to_owned(), uid: user.uid.as_raw(), gid: user.gid.as_raw() },
        (None, Some(number)) => Account { name: name.to_owned(), uid: number, gid: number },
        (None, None) => return Err(missing(name)),
    };
    // The highest number means "no change" to setuid(2).
    if account.uid == 0 || account.gid == 0 || account.uid == u32::MAX {
        return Err(Fault::new(format!("{name} is root, or in root's group"), "name a user without rights"));
    }
    Ok(account)
}

fn missing(name: &str) -> Fault {
    let plain =
        !name.is_empty() && !name.starts_with('-') && name.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-".contains(letter));
    let remedy = match plain {
        true => format!("make it with: useradd --system --no-create-home --shell /usr/sbin/nologin {name}"),
        false => "name a user of this system".to_owned(),
    };
    Fault::new(format!("there is no user {name:?}"), remedy)
}

/// A configuration that somebody else than root can write may name no user but that one.
fn allowed(account: Account, owner: Owner) -> Result<Account, Fault> {
    match owner {
        Owner::Trusted => Ok(account),
        Owner::Other(uid) if uid == account.uid => Ok(account),
        Owner::Other(uid) => Err(Fault::new(
            format!("{} can write this configuration, so it may name no other user", name_of(uid)),
            "let root own it and every directory above it",
        )),
    }
}
