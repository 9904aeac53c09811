//! `gwg send`: makes a delivery as the forge would, to the running gateway. Reads the configuration as the
//! operator may, for it holds the secret.

use crate::brief::listener::Proof;
use crate::cli::delivery::{Delivery, sign};
use crate::cli::exit::{Exit, Failure};
use crate::cli::secret;
use crate::config::{self, Config, Environment, Repo};
use crate::ids::CommitId;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

/// The gateway answers within 5 s.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the operator says.
#[derive(Debug, clap::Args)]
pub struct Wishes {
    /// To which repository; it is named by the path of its webhook.
    #[arg(value_name = "REPO")]
    repo: String,

    /// What happens.
    #[arg(long, value_name = "EVENT", default_value = "push")]
    event: Event,

    /// The commit that a push announces, 40 digits. Without it the push names none.
    #[arg(long, value_name = "COMMIT", value_parser = commit)]
    commit: Option<CommitId>,
}

/// The events that gwg has a use for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Event {
    /// A branch or tag has moved.
    Push,
    /// The forge tests the webhook.
    Ping,
}

fn commit(text: &str) -> Result<CommitId, String> {
    CommitId::from_hex(text).ok_or_else(|| "a commit is 40 hexadecimal digits, not all of them 0".to_owned())
}

/// Sends it.
///
/// # Errors
/// The configuration can't be read; no such repository; nobody listens; the gateway refuses it.
pub fn send(wishes: &Wishes, file: Option<&Path>, env: &Environment) -> Result<String, Failure> {
    let config = config::load(file, env).map_err(|error| {
        Failure::new(
            Exit::Config,
            format!("a delivery is signed with the secret in the configuration, which can't be read as it is:\n{error}"),
        )
    })?;
    let repo = find(&config, &wishes.repo)?;
    let delivery = delivery(repo, wishes)?;
    let to = address(config.listen);
    let answer = delivery.send(to, &repo.path, PATIENCE).map_err(|error| {
        let text = format!("no answer from {to}: {error}; does the gateway run, with this configuration?");
        Failure::new(Exit::NotRunning, text)
    })?;
    let line = format!("{} after {} ms: {}\n", answer.status_line, answer.took.as_millis(), answer.body);
    match answer.status {
        200..300 => Ok(line),
        _ => Err(Failure::new(Exit::Failed, line.trim_end())),
    }
}

fn find<'a>(config: &'a Config, name: &str) -> Result<&'a Repo, Failure> {
    config.repos.iter().find(|repo| repo.path == name).ok_or_else(|| {
        let nearest = config::nearest(name, config.repos.iter().map(|repo| repo.path.as_str()));
        let remedy = nearest.map_or_else(|| "`gwg check` names them all".to_owned(), |nearest| format!("did you mean {nearest}?"));
        Failure::new(Exit::Unknown, format!("there is no repository {name} in {}: {remedy}", config.file.display()))
    })
}

fn delivery(repo: &Repo, wishes: &Wishes) -> Result<Delivery, Failure> {
    let url = web_url(repo);
    let (event, body) = match wishes.event {
        Event::Push => {
            let after = wishes.commit.map(|commit| commit.to_string());
            ("push", serde_json::json!({ "ref": repo.label.full_name(), "after": after, "repository": { "clone_url": url } }))
        }
        Event::Ping => ("ping", serde_json::json!({ "zen": "Nothing lost.", "repository": { "clone_url": url } })),
    };
    let body = body.to_string();
    let signature = match &repo.proof {
        Proof::Unsigned => None,
        Proof::Signed { secrets, sha1: _ } => secrets.first().map(|secret| sign(secret.expose(), &body)),
    };
    Ok(Delivery { event, body, signature, id: Some(uuid()?) })
}

/// The gateway compares what the URL names, not how it is written.
fn web_url(repo: &Repo) -> String {
    format!("https://{}", repo.remote_name)
}

/// A random UUID (RFC 9562, version 4), by which the log knows the delivery.
fn uuid() -> Result<String, Failure> {
    let mut bytes: [u8; 16] = secret::random()?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let groups: Vec<&str> =
        [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)].iter().filter_map(|(from, to)| digits.get(*from..*to)).collect();
    Ok(groups.join("-"))
}

/// Where a gateway that listens there is reached from here.
fn address(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        // Both families come to this one.
        IpAddr::V6(ip) if ip == Ipv6Addr::UNSPECIFIED => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V4(ip) if ip == Ipv4Addr::UNSPECIFIED => IpAddr::V4(Ipv4Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
