//! What the loop does for operators: tells what runs here, and hands requests to the worker.

use super::children::{self, Birth, Child};
use super::control::{Ask, Premises, Terms};
use super::metrics::{self, Figures};
use super::outcome::{Cause, Difference, Outcome};
use super::process::Process;
use super::run::Supervisor;
use crate::audit::Step;
use crate::confine::Role;
use crate::confine::host::Level;
use crate::ids::{Moment, OrderId, RepoId, millis};
use crate::wire::control;
use crate::wire::listener::ToListener;
use crate::wire::order::Progress;
use crate::wire::worker::{Page, ToWorker};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Updaters that are shown, of a thousand at most.
const SHOWN: usize = 64;
/// Reasons against a configuration that are told; the others are counted.
const REASONS: usize = 20;

impl Supervisor {
    /// An operator's conversation wants something.
    pub fn hear_operator(&mut self, ask: Ask) {
        // Whoever asked may have gone away meanwhile: then the answer goes nowhere.
        match ask {
            Ask::Premises(answer) => drop(answer.send(self.premises())),
            Ask::Scrape(connection, figures) => self.scrape(connection, &figures),
            Ask::Update(repos, answer) => drop(answer.send(self.mark(&repos))),
            Ask::Prune(delete, teller) => self.prune(delete, teller),
            Ask::Reload(answer) => {
                let (asker, outcome) = oneshot::channel();
                self.reload(Cause::Operator, Some(asker));
                tokio::spawn(async move {
                    if let Ok(outcome) = outcome.await {
                        let _ = answer.send(words(&outcome));
                    }
                });
            }
            Ask::Upgrade(asker) => self.upgrade(Some(asker)),
            Ask::Survey(asker) => match self.survey.ask(asker) {
                Some(_) if !self.has_worker() => self.survey.give_up(),
                Some(from) => self.tell_worker(|worker| worker.send(&ToWorker::Survey(from))),
                None => {}
            },
        }
    }

    fn has_worker(&self) -> bool {
        self.worker.as_ref().is_some_and(|worker| worker.ready) && !self.stopping
    }

    /// False where there is nobody to tell.
    fn mark(&self, repos: &[RepoId]) -> bool {
        let worker = self.worker.as_ref().filter(|worker| worker.ready && !self.stopping);
        worker.is_some_and(|worker| repos.iter().all(|repo| worker.sender.send(&ToWorker::Update(*repo)).is_ok()))
    }

    /// Other terms are in force.
    pub fn operate(&mut self, terms: Terms, scrapes: Option<Option<OwnedFd>>) {
        self.estate.door.change(terms.rules.clone());
        if let Some(socket) = scrapes
            && let Err(error) = self.estate.scrapes.serve(socket, self.estate.door.house())
        {
            tracing::error!(%error, "figures are not served");
        }
        self.estate.terms = terms;
    }

    /// Hands a connection to the listener, with what there is to say. Where there is none, the connection
    /// is closed: that is an answer, too.
    fn scrape(&self, connection: OwnedFd, figures: &Figures) {
        let Some(listener) = self.listener.as_ref().filter(|listener| listener.ready) else { return };
        let Ok(file) = metrics::sealed(figures) else { return };
        children::tell(Role::Listener, listener, |listener| listener.send_with(&ToListener::Figures(figures.health), file));
        children::tell(Role::Listener, listener, |listener| listener.send_with(&ToListener::Scrape, connection));
    }

    /// An updater has closed its doors.
    pub fn hear_confined(&mut self, order: OrderId, landlock: u8) {
        if self.updates.confined(order, landlock) {
            self.estate.ledger.confined(Role::Updater, landlock);
        }
    }

    /// An update begins a step.
    pub fn hear_step(&mut self, order: OrderId, step: Step) {
        if let Some(repo) = self.updates.repo_of(order) {
            self.estate.ledger.step(repo, step);
        }
    }

    /// How far an update is.
    pub fn hear_progress(&self, order: OrderId, progress: Progress) {
        if let Some(repo) = self.updates.repo_of(order) {
            self.estate.ledger.progress(repo, progress);
        }
    }

    /// The worker tells how it stands.
    pub fn hear_page(&mut self, worker: Birth, page: Page) {
        match self.survey.hear(page) {
            Ok(Some(from)) => self.tell_worker(|worker| worker.send(&ToWorker::Survey(from))),
            Ok(None) => {}
            Err(_) => self.accuse(Role::Worker, worker, "a page that nobody asked for"),
        }
    }

    fn premises(&self) -> Premises {
        let since = self.estate.ledger.read(|pages| pages.since);
        let mut processes = vec![self.shown("gwg", std::process::id(), since, None)];
        processes.extend(self.listener.iter().map(|child| self.shown_child(Role::Listener, child)));
        processes.extend(self.worker.iter().map(|child| self.shown_child(Role::Worker, child)));
        let updaters = self.updates.each().take(SHOWN);
        processes.extend(updaters.map(|(repo, process)| {
            let name = self.estate.ledger.read(|pages| pages.book.name(repo));
            self.shown(Role::Updater.name(), process.pid, started(process), name)
        }));
        Premises { listen: self.estate.listen, processes }
    }

    fn shown_child<M>(&self, role: Role, child: &Child<M>) -> control::Process {
        self.shown(role.name(), child.process.pid, started(&child.process), None)
    }

    fn shown(&self, name: &'static str, pid: u32, since: Moment, repo: Option<Arc<str>>) -> control::Process {
        let Level { uid, gid: _, capabilities, no_new_privs, seccomp, network } = Level::of(pid);
        let (restarts, landlock) = self.estate.ledger.read(|pages| (pages.tally.restarts(name), pages.landlock(name)));
        control::Process { name: name.to_owned(), pid, uid, since, restarts, capabilities, no_new_privs, seccomp, landlock, network, repo }
    }
}

fn started(process: &Process) -> Moment {
    Moment::from_millis(Moment::now().millis().saturating_sub(millis(process.since.elapsed())))
}

/// How a reload ended, for who asked for it.
fn words(outcome: &Outcome) -> Result<String, String> {
    match outcome {
        Outcome::Unchanged { generation } => Ok(format!("nothing has changed: configuration {generation} stays in force")),
        Outcome::Loaded { generation, difference: Difference { added, removed, changed } } => Ok(format!(
            "configuration {generation} is in force: {} added, {} removed, {} changed",
            added.len(),
            removed.len(),
            changed.len()
        )),
        Outcome::Refused { reasons } => {
            let mut lines: Vec<String> = reasons.iter().take(REASONS).map(ToString::to_string).collect();
            if reasons.len() > REASONS {
                lines.push(format!("and {} more", reasons.len() - REASONS));
            }
            Err(lines.join("\n  "))
        }
    }
}
