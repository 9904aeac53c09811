//! Fetches the one configured ref from the one configured remote, over one connection. Runs in the
//! updater; distrusts the remote, and `.git/config`.

use super::credentials::Login;
use super::endpoint::{Endpoint, Scheme};
use super::failure::{Fault, git};
use super::{host_keys, libgit2, weigh};
use crate::audit::{Reason, Step};
use crate::brief::Key;
use crate::brief::updater::Brief;
use crate::brief::{Label, LabelKind};
use crate::wire::order::Progress;
use git2::{AutotagOption, CertificateCheckStatus, FetchOptions, Oid, RemoteCallbacks, RemoteRedirect, Repository};
use std::cell::{Cell, RefCell};

/// Where the label stands locally after a fetch.
pub fn local_name(label: &Label, remote: &str) -> String {
    match label.kind {
        LabelKind::Branch => format!("refs/remotes/{remote}/{}", label.name),
        LabelKind::Tag => label.full_name(),
    }
}

/// Fetches the label and gives what it points at: a commit, or an annotated tag. `bytes` counts what
/// came, also where the fetch fails; `tell` hears how far it is.
///
/// # Errors
/// Whatever remote, network, host key and login have in store; [`Reason::NoLabel`] where the remote
/// does not have the label.
pub fn fetch(repo: &Repository, brief: &Brief, key: Option<&Key>, bytes: &Cell<u64>, tell: &dyn Fn(Progress)) -> Result<Oid, Fault> {
    let endpoint = Endpoint::of(&brief.url).ok_or_else(|| fault(Reason::Other, format!("{} is no URL of a remote", brief.url)))?;
    let mut remote = repo.remote_anonymous(&brief.url).map_err(git(Step::Fetch))?;
    // `url.….insteadOf` in a configuration that someone has written just now.
    if remote.url_bytes() != brief.url.as_bytes() {
        return Err(fault(Reason::ForeignDirectory, ".git/config leads to another remote"));
    }
    let (theirs, ours) = (brief.label.full_name(), local_name(&brief.label, &brief.remote));
    make_room(repo, &ours)?;
    // What our callbacks refuse; libgit2 replaces their errors by its own.
    let refusal = RefCell::new(None);
    let mut options = options(brief, &endpoint, key, (bytes, tell), &refusal);
    let fetched = remote.fetch(&[format!("+{theirs}:{ours}")], Some(&mut options), None);
    drop(options);
    if let Some(refused) = refusal.into_inner() {
        return Err(refused);
    }
    fetched.map_err(git(Step::Fetch))?;

    // libgit2 calls it a success when the remote no longer has the label, and keeps the old ref.
    let heads = remote.list().map_err(git(Step::Fetch))?;
    let Some(tip) = heads.iter().find(|head| head.name() == theirs).map(git2::RemoteHead::oid) else {
        return Err(fault(Reason::NoLabel, format!("the remote has no {}; the work tree is left as it is", brief.label)));
    };
    match repo.refname_to_id(&ours) {
        Ok(id) if id == tip => Ok(tip),
        _ => Err(Fault::new(Step::Verify, Reason::Corrupt, format!("{ours} is not at {tip} after the fetch"))),
    }
}

fn options<'a>(
    brief: &'a Brief,
    endpoint: &'a Endpoint,
    key: Option<&'a Key>,
    (bytes, tell): (&'a Cell<u64>, &'a dyn Fn(Progress)),
    refusal: &'a RefCell<Option<Fault>>,
) -> FetchOptions<'a> {
    let keep = |fault: Fault| {
        let error = git2::Error::from_str(&fault.message);
        refusal.replace(Some(fault));
        error
    };
    let mut login = Login::new(endpoint.user.as_deref(), key);
    let mut callbacks = RemoteCallbacks::new();
    callbacks.credentials(move |_url, _user, allowed| login.answer(allowed).map_err(keep));
    callbacks.certificate_check(move |certificate, _host| {
        libgit2::hurry();
        match (endpoint.scheme, certificate.as_hostkey()) {
            (Scheme::Ssh, Some(shown)) => {
                let shown = shown.hostkey().unwrap_or_default();
                host_keys::check(&brief.known_hosts, endpoint, shown).map_err(keep)?;
                Ok(CertificateCheckStatus::CertificateOk)
            }
            (Scheme::Ssh, None) => Err(keep(fault(Reason::HostKey, "the server shows no host key"))),
            // X.509: OpenSSL has judged.
            (Scheme::Other, _) => Ok(CertificateCheckStatus::CertificatePassthrough),
        }
    });
    let most = brief.limits.pack;
    callbacks.transfer_progress(move |progress| {
        bytes.set(progress.received_bytes() as u64);
        let [objects, of] = [progress.received_objects(), progress.total_objects()].map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        tell(Progress::Fetch { objects, of, bytes: bytes.get() });
        let fits = bytes.get() <= most;
        if !fits {
            keep(weigh::limit(Step::Fetch, format!("the remote sent more than {most} bytes: raise limits.pack")));
        }
        fits
    });
    let mut options = FetchOptions::new();
    options
        .remote_callbacks(callbacks)
        .download_tags(AutotagOption::None)
        .update_fetchhead(false)
        // libgit2's word for "to no other host".
        .follow_redirects(RemoteRedirect::None);
    options
}

/// Removes refs that can't stand beside `name`: a remote that had `a` may have `a/b` now.
///
/// # Errors
/// Those of libgit2.
pub fn make_room(repo: &Repository, name: &str) -> Result<(), Fault> {
    let above = name.match_indices('/').skip(2).filter_map(|(at, _)| name.get(..at).map(str::to_owned));
    let below = repo.references_glob(&format!("{name}/*")).map_err(git(Step::Fetch))?;
    let below = below.flatten().filter_map(|reference| reference.name().ok().map(str::to_owned));
    for other in above.chain(below).collect::<Vec<_>>() {
        if let Ok(mut reference) = repo.find_reference(&other) {
            reference.delete().map_err(git(Step::Fetch))?;
        }
    }
    Ok(())
}

fn fault(reason: Reason, message: impl Into<String>) -> Fault {
    Fault::new(Step::Fetch, reason, message)
}
