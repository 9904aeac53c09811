//! One request: from its header to its answer. Runs in `gwg-listener`.
//!
//! The order is the rule here: nothing is read before its size is bounded, nothing is parsed before
//! it is authentic, and 202 is said only after the worker has acknowledged.

use super::answer::{self, Answer};
use super::body;
use super::connection::Connection;
use super::events::Record;
use super::forwarded;
use super::github::{self, Form, Intent};
use super::route::Route;
use crate::audit::{DeliveryResult, Ignored, Rejected};
use crate::ids::CommitId;
use crate::wire::job::Verdict;
use hyper::body::{Body, Incoming};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::{Method, Request};
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;

/// Bytes of a connection's read buffer, and so of a request's header: above it the answer is 431.
const BUFFER: usize = 16 << 10;

/// How connections are served: HTTP/1.1, without timers of hyper's (see `connection`).
pub fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    // A sender that has closed its side after the request still gets its answer.
    builder.half_close(true).max_buf_size(BUFFER).header_read_timeout(None);
    builder
}

/// Answers one request.
///
/// # Errors
/// None: whatever a stranger sends has an answer.
pub async fn respond(connection: &Connection, request: Request<Incoming>) -> Result<Answer, Infallible> {
    let (head, mut incoming) = request.into_parts();
    connection.begins(!incoming.is_end_stream());
    let client = forwarded::client(connection.source(), &head.headers, &connection.server.proxies);
    let mut record = Record::begin(&connection.server.events, client);
    let outcome = deliver(connection, &head, &mut incoming, &mut record).await;
    record.result = outcome.unwrap_or_else(DeliveryResult::Rejected);
    connection.answers();
    let is_last = connection.is_unread() || connection.server.is_draining();
    Ok(answer::answer(&record.result, is_last))
}

async fn deliver(
    connection: &Connection,
    head: &Parts,
    incoming: &mut Incoming,
    record: &mut Record<'_>,
) -> Result<DeliveryResult, Rejected> {
    let server = &connection.server;
    let route = server.routes.find(head.uri.path()).ok_or(Rejected::UnknownPath)?;
    record.repo = Some(route.repo);
    record.delivery = github::delivery(&head.headers);
    let form = acceptable(head, incoming, server.limits.body)?;

    let mut check = route.verifier.check(&head.headers)?;
    let body = body::read(connection, incoming, &mut check, record).await?;
    connection.read_whole();
    if !check.holds() {
        return Err(Rejected::BadSignature);
    }
    connection.verified(route.verifier.is_signed());

    let intent = github::read(route, &head.headers, form, &body.joined())?;
    match intent {
        Intent::Ignore(reason) => Ok(DeliveryResult::Ignored(reason)),
        Intent::Push { announced, pusher } => {
            record.pusher = pusher;
            mark(connection, route, announced, record).await
        }
    }
}

/// What can be told from the header alone.
fn acceptable(head: &Parts, incoming: &Incoming, bound: u64) -> Result<Form, Rejected> {
    if head.method != Method::POST {
        return Err(Rejected::Method);
    }
    let form = github::form(&head.headers).ok_or(Rejected::ContentType)?;
    if incoming.size_hint().lower() > bound {
        return Err(Rejected::TooLarge);
    }
    Ok(form)
}

/// Tells the worker, and waits until it has set the mark.
async fn mark(
    connection: &Connection,
    route: &Route,
    announced: Option<CommitId>,
    record: &mut Record<'_>,
) -> Result<DeliveryResult, Rejected> {
    record.result = DeliveryResult::Rejected(Rejected::WorkerUnavailable);
    let verdict = connection.server.jobs.give(route.repo, announced, record.delivery);
    let mut verdict = verdict.ok_or(Rejected::WorkerUnavailable)?;
    let verdict = poll_fn(|cx| connection.unless_ended(Pin::new(&mut verdict).poll(cx))).await.map_err(body::rejected)?;
    match verdict.map_err(|_| Rejected::WorkerUnavailable)? {
        Verdict::Marked(update) => Ok(DeliveryResult::Accepted { coalesced: false, announced, update: Some(update) }),
        Verdict::Coalesced(update) => Ok(DeliveryResult::Accepted { coalesced: true, announced, update: Some(update) }),
        Verdict::Gone => Ok(DeliveryResult::Ignored(Ignored::Gone)),
    }
}
