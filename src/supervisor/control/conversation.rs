//! One conversation: a request, its answer. Runs in the supervisor, a task for each client.

use super::Ask;
use super::access::Right;
use super::book::Book;
use super::client::Client;
use super::ledger::{Event, Ledger};
use super::survey::Facts;
use crate::audit::UpdateResult;
use crate::config::nearest;
use crate::ids::{Moment, RepoId};
use crate::supervisor::metrics::{self, Figures};
use crate::supervisor::upgrade::Asker;
use crate::wire::control::{Answer, Gateway, Happens, Notice, Record, Refusal, Repo, Request};
use crate::wire::listener::Health;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// How long the worker may take to tell how it stands, or that it has marked what it should.
const WORKER: Duration = Duration::from_secs(3);
/// How long a reload may take.
const RELOAD: Duration = Duration::from_secs(30);
/// Records in one frame, and bytes of repositories, roughly: both far below the frame's bound.
const RECORDS: usize = 500;
const BYTES: usize = 256 << 10;

/// What conversations need of the house.
#[derive(Clone)]
pub struct House {
    /// What is remembered.
    pub ledger: Ledger,
    /// The supervisor's loop.
    pub asks: mpsc::Sender<Ask>,
}

/// Why a conversation ends early.
enum Stop {
    Refused(Refusal),
    /// The client is gone.
    Gone,
}

impl From<io::Error> for Stop {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

/// Holds one conversation.
pub async fn hold(client: &mut Client, right: Right, uid: u32, house: House) {
    let held = match client.request().await {
        Some(request) => answer(client, request, right, uid, &house).await,
        None => Err(Stop::Refused(Refusal::Malformed)),
    };
    let last = match held {
        Ok(()) => Answer::Done,
        Err(Stop::Refused(refusal)) => Answer::Refused(refusal),
        Err(Stop::Gone) => return,
    };
    // A client that has gone away wants no last word.
    let _ = client.say(&last).await;
}

async fn answer(client: &mut Client, request: Request, right: Right, uid: u32, house: &House) -> Result<(), Stop> {
    match request {
        Request::Status { repos } => status(client, house, repos).await,
        Request::Log { repos: _, delivery: Some(id), last, follow: _ } => {
            let all = house.ledger.read(|pages| pages.history.of_delivery(id));
            tell(client, all.get(all.len().saturating_sub(last as usize)..).unwrap_or_default()).await
        }
        Request::Log { repos, delivery: None, last, follow } => log(client, house, repos, last, follow).await,
        Request::Metrics => {
            let text = house.figures().await.ok_or(Stop::Gone)?.text;
            // In pieces that fit into a frame.
            for piece in text.as_bytes().chunks(BYTES) {
                client.say(&Answer::Text(String::from_utf8_lossy(piece).into_owned())).await?;
            }
            Ok(())
        }
        Request::Update { .. } | Request::Prune { .. } | Request::Reload | Request::Upgrade if right < Right::Act => {
            Err(Stop::Refused(Refusal::LookOnly))
        }
        Request::Update { repos, wait } => {
            let wanted = house.select(&repos)?;
            tracing::info!(uid, repos = wanted.len(), "an operator asks for updates");
            update(client, house, wanted, wait).await
        }
        Request::Prune { delete } => {
            tracing::info!(uid, delete, "an operator asks what can be pruned");
            prune(client, house, delete).await
        }
        Request::Reload => {
            tracing::info!(uid, "an operator asks for a reload");
            let done = house.ask(Ask::Reload, RELOAD).await.unwrap_or_else(|| Err("it takes too long; the log says how it ends".into()));
            let text = done.map_err(|reason| Stop::Refused(Refusal::Reload(reason)))?;
            Ok(client.say(&Answer::Text(text)).await?)
        }
        Request::Upgrade => {
            tracing::info!(uid, "an operator asks for an upgrade");
            let (refuse, refused) = oneshot::channel();
            let asker = Asker { connection: client.copy()?, refuse };
            house.asks.send(Ask::Upgrade(asker)).await.map_err(|_| Stop::Gone)?;
            // Where it succeeds this conversation ends with this process's memory, and the next gwg has the last word.
            let why = refused.await.unwrap_or_else(|_| "gwg ends".to_owned());
            Err(Stop::Refused(Refusal::Upgrade(why)))
        }
    }
}

impl House {
    /// Asks the loop, which answers at once or not at all.
    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask, patience: Duration) -> Option<T> {
        let (sender, receiver) = oneshot::channel();
        self.asks.send(ask(sender)).await.ok()?;
        timeout(patience, receiver).await.ok()?.ok()
    }

    /// The figures of this moment.
    pub async fn figures(&self) -> Option<Figures> {
        let facts: Option<Facts> = self.ask(Ask::Survey, WORKER).await.flatten();
        let premises = self.ask(Ask::Premises, WORKER).await?;
        let text = metrics::render(&self.ledger, &premises, facts.as_deref());
        let failing = self.ledger.read(|pages| {
            let late = |failing: Option<Duration>| failing.is_some_and(|time| time > pages.alert_after);
            pages.book.ages(Moment::now(), Instant::now()).filter(|(_, _, failing)| late(*failing)).count()
        });
        let health = match (facts, u32::try_from(failing).unwrap_or(u32::MAX)) {
            (None, _) => Health::NoWorker,
            (Some(_), 0) => Health::Fine,
            (Some(_), count) => Health::Failing(count),
        };
        Some(Figures { health, text })
    }

    /// The repositories of these names; with none, all.
    fn select(&self, names: &[String]) -> Result<BTreeSet<RepoId>, Stop> {
        self.ledger.read(|pages| match names.is_empty() {
            true => Ok(pages.book.names().map(|(id, _)| id).collect()),
            false => select(&pages.book, names),
        })
    }
}

fn select(book: &Book, names: &[String]) -> Result<BTreeSet<RepoId>, Stop> {
    let known: BTreeMap<&str, RepoId> = book.names().map(|(id, name)| (&**name, id)).collect();
    let find = |name: &String| {
        known.get(name.as_str()).copied().ok_or_else(|| {
            let nearest = nearest(name, known.keys().copied()).map(str::to_owned);
            Stop::Refused(Refusal::Unknown { name: name.clone(), nearest })
        })
    };
    names.iter().map(find).collect()
}

async fn status(client: &mut Client, house: &House, names: Vec<String>) -> Result<(), Stop> {
    let wanted = house.select(&names)?;
    let facts: Option<Facts> = house.ask(Ask::Survey, WORKER).await.flatten();
    let premises = house.ask(Ask::Premises, WORKER).await.ok_or(Stop::Gone)?;
    let gateway = house.ledger.read(|pages| Gateway {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        listen: premises.listen,
        since: pages.since,
        processes: premises.processes,
        repos: u32::try_from(pages.book.len()).unwrap_or(u32::MAX),
        worker_answers: facts.is_some(),
        records_lost: pages.history.lost(),
    });
    client.say(&Answer::Gateway(Box::new(gateway))).await?;
    let mut from = RepoId::new(0);
    loop {
        // Gathered anew for each page: nothing is held while a client reads.
        let (page, next) = house.ledger.read(|pages| page(&pages.book, from, &wanted, facts.as_deref()));
        if !page.is_empty() {
            client.say(&Answer::Repos(page)).await?;
        }
        match next {
            Some(next) => from = next,
            None => return Ok(()),
        }
    }
}

/// Some repositories, and with which one to go on.
fn page(
    book: &Book,
    from: RepoId,
    wanted: &BTreeSet<RepoId>,
    facts: Option<&BTreeMap<RepoId, crate::wire::worker::Fact>>,
) -> (Vec<Repo>, Option<RepoId>) {
    let (mut page, mut bytes) = (Vec::new(), 0);
    for (id, repo) in book.repos(from, facts).filter(|(id, _)| wanted.contains(id)) {
        if bytes > BYTES {
            return (page, Some(id));
        }
        bytes += 256 + repo.name.len() + repo.label.len() + repo.url.len() + repo.directory.len();
        page.push(repo);
    }
    (page, None)
}

/// Tells of each tree as soon as it is known. A client that goes away ends it after the tree that is
/// looked at.
async fn prune(client: &mut Client, house: &House, delete: bool) -> Result<(), Stop> {
    let (sender, mut trees) = mpsc::channel(16);
    let told = house.asks.send(Ask::Prune(delete, sender)).await;
    told.map_err(|_| Stop::Gone)?;
    let mut said = None;
    loop {
        let tree = tokio::select! {
            tree = trees.recv() => tree,
            () = client.gone() => return Err(Stop::Gone),
        };
        match tree {
            Some(Ok(tree)) => client.say(&Answer::Tree(tree)).await?,
            Some(Err(refusal)) => said = Some(refusal),
            None => return said.map_or(Ok(()), |refusal| Err(Stop::Refused(refusal))),
        }
    }
}

async fn log(client: &mut Client, house: &House, names: Vec<String>, last: u32, follow: bool) -> Result<(), Stop> {
    let known: BTreeSet<Arc<str>> = match names.is_empty() {
        true => BTreeSet::new(),
        false => {
            let ids = house.select(&names)?;
            house.ledger.read(|pages| ids.iter().filter_map(|id| pages.book.name(*id)).collect())
        }
    };
    let wanted = |record: &Record| known.is_empty() || record.repo.as_ref().is_some_and(|name| known.contains(name));
    let mut following = follow.then(|| house.ledger.follow());
    let last = house.ledger.read(|pages| pages.history.last(last as usize, wanted));
    tell(client, &last).await?;
    let Some(following) = &mut following else { return Ok(()) };
    loop {
        let record = tokio::select! {
            record = following.recv() => record.ok_or(Stop::Refused(Refusal::TooSlow))?,
            () = client.gone() => return Err(Stop::Gone),
        };
        if wanted(&record) {
            client.say(&Answer::Records(vec![record])).await?;
        }
    }
}

async fn tell(client: &mut Client, records: &[Record]) -> Result<(), Stop> {
    for some in records.chunks(RECORDS) {
        client.say(&Answer::Records(some.to_vec())).await?;
    }
    Ok(())
}

/// What is awaited of one repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Await {
    /// That the worker marks it.
    Mark,
    /// That the update begins which the mark led to: one that runs already does not count.
    Start,
    /// That it ends.
    End,
}

async fn update(client: &mut Client, house: &House, wanted: BTreeSet<RepoId>, wait: bool) -> Result<(), Stop> {
    let mut events = house.ledger.watch();
    let mut open: BTreeMap<RepoId, Await> = wanted.iter().map(|id| (*id, Await::Mark)).collect();
    let count = u32::try_from(open.len()).unwrap_or(u32::MAX);
    let ids = wanted.into_iter().collect();
    let told = house.ask(|sender| Ask::Update(ids, sender), WORKER).await.unwrap_or(false);
    if !told {
        return Err(Stop::Refused(Refusal::NoWorker));
    }
    let mut unmarked = open.len();
    while unmarked > 0 {
        let event = timeout(WORKER, events.recv()).await.map_err(|_| Stop::Refused(Refusal::NoWorker))?;
        let event = event.ok_or(Stop::Refused(Refusal::TooSlow))?;
        unmarked -= usize::from(matches!(event, Event::Marked(id) if open.get(&id) == Some(&Await::Mark)));
        follow(client, house, event, &mut open).await?;
    }
    client.say(&Answer::Marked(count)).await?;
    while wait && !open.is_empty() {
        let event = tokio::select! {
            event = events.recv() => event.ok_or(Stop::Refused(Refusal::TooSlow))?,
            () = client.gone() => return Err(Stop::Gone),
        };
        follow(client, house, event, &mut open).await?;
    }
    Ok(())
}

/// Takes an event into account, and tells it where it is awaited.
async fn follow(client: &mut Client, house: &House, event: Event, open: &mut BTreeMap<RepoId, Await>) -> Result<(), Stop> {
    let (id, what) = match event {
        Event::WorkerGone => return Err(Stop::Refused(Refusal::NoWorker)),
        Event::Marked(id) => {
            if let Some(awaited @ Await::Mark) = open.get_mut(&id) {
                *awaited = Await::Start;
            }
            return Ok(());
        }
        // No update of it will be told any more.
        Event::Removed(id, name) if open.contains_key(&id) => {
            return Err(Stop::Refused(Refusal::Unknown { name: name.to_string(), nearest: None }));
        }
        Event::Removed(..) => return Ok(()),
        Event::Step(id, step) => (id, Happens::Step(step)),
        Event::Progress(id, progress) => (id, Happens::Progress(progress)),
        Event::Update(id, result) => (id, Happens::Update(result)),
    };
    let Some(awaited) = open.get_mut(&id) else { return Ok(()) };
    match (*awaited, what) {
        (Await::Start, Happens::Update(UpdateResult::Started)) => *awaited = Await::End,
        (Await::End, Happens::Step(_) | Happens::Progress(_)) => {}
        (Await::End, Happens::Update(_)) => drop(open.remove(&id)),
        (Await::Mark | Await::Start, _) => return Ok(()),
    }
    let name = house.ledger.read(|pages| pages.book.name(id));
    match name {
        Some(name) => Ok(client.say(&Answer::Notice(Notice { name, what })).await?),
        None => Ok(()),
    }
}
