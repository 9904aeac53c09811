//! `gwg demo`: the main job, shown on this machine with nothing but its own git.
//!
//! Runs as an operator's command: starts the real gateway as a child, as an administrator would,
//! and judges it from outside: by HTTP answers, by /proc and by the real git. Everything lives in
//! one temporary directory and on loopback.

mod delivery;
mod gateway;
mod observe;
mod remote;
mod screen;

use crate::cli::delivery::Answer;
use gateway::{Gateway, Setting};
use remote::Remote;
use screen::Screen;
use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How long anything may take before the demo says that it did not happen.
const PATIENCE: Duration = Duration::from_secs(20);

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Shows the main job. Success only if all of it really happened.
pub fn main() -> ExitCode {
    let mut screen = Screen::new();
    match show(&mut screen) {
        Ok(()) => {
            screen.good("all of it happened: judged by HTTP answers, /proc and git");
            ExitCode::SUCCESS
        }
        Err(error) => {
            screen.bad(&format!("the demo failed: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn show(screen: &mut Screen) -> Result<()> {
    screen.title("A git remote on loopback, and the gateway on it");
    let setting = Setting::new()?;
    let remote = Remote::new(setting.folder())?;
    let first = remote.commit("index.html", "<h1>one</h1>\n", "The first page")?;
    screen.say(&format!("a bare repository, served at {}", remote.url()));
    let gateway = Gateway::start(&setting, &remote)?;
    let result = job(screen, &setting, &remote, &gateway, &first).and_then(|()| end(screen, &gateway));
    if result.is_err() {
        screen.quote("the gateway's log", &gateway.log());
    }
    result
}

fn job(screen: &mut Screen, setting: &Setting, remote: &Remote, gateway: &Gateway, first: &str) -> Result<()> {
    gateway.wait_until_it_serves()?;
    wait("the first clone", || Ok(setting.head()?.as_deref() == Some(first)))?;
    screen.say(&format!("cloned into {} at {}", setting.tree().display(), short(first)));
    screen.title("The processes, as the kernel tells of them");
    for line in gateway.processes()? {
        screen.say(&line);
    }
    a_push(screen, setting, remote, gateway)?;
    a_forgery(screen, setting, gateway)?;
    a_crash(screen, setting, remote, gateway)
}

fn a_push(screen: &mut Screen, setting: &Setting, remote: &Remote, gateway: &Gateway) -> Result<()> {
    screen.title("A push, and its signed webhook");
    let before = setting.head()?;
    let trigger_before = setting.trigger_time();
    let commit = remote.commit("index.html", "<h1>two</h1>\n", "The second page")?;
    screen.say(&format!(
        "before: {} at {}, index.html says {:?}",
        setting.tree().display(),
        short_or_none(before.as_deref()),
        setting.page()?
    ));
    screen.say(&format!("pushed {} to the remote", short(&commit)));
    let sent = Instant::now();
    let answer = gateway.deliver(&delivery::push(remote, &commit, &setting.secret))?;
    expect(&answer, 202)?;
    screen.good(&format!("{} in {}: {}", answer.status_line, millis(answer.took), answer.body));
    let updater = deployed(setting, gateway, &commit)?;
    wait("the trigger", || Ok(setting.trigger_time() > trigger_before))?;
    screen.say(&format!("{} later the trigger {} is touched", millis(sent.elapsed()), setting.trigger().display()));
    if let Some(updater) = updater {
        screen.say(&updater);
    }
    screen.good(&format!("after: at {}, index.html says {:?}; git status is clean", short(&commit), setting.page()?));
    Ok(())
}

fn a_forgery(screen: &mut Screen, setting: &Setting, gateway: &Gateway) -> Result<()> {
    screen.title("A forged signature");
    let before = setting.head()?;
    let forged = delivery::forged();
    let answer = gateway.deliver(&forged)?;
    expect(&answer, 401)?;
    screen.good(&format!("{} in {}: {}", answer.status_line, millis(answer.took), answer.body));
    if setting.head()? != before {
        return Err("a forged delivery changed the work tree".into());
    }
    Ok(())
}

fn a_crash(screen: &mut Screen, setting: &Setting, remote: &Remote, gateway: &Gateway) -> Result<()> {
    screen.title("The listener is killed with -9; the next delivery still succeeds");
    let old = gateway.listener()?;
    let commit = remote.commit("index.html", "<h1>three</h1>\n", "The third page")?;
    gateway.kill(old)?;
    let answer = gateway.deliver(&delivery::push(remote, &commit, &setting.secret))?;
    expect(&answer, 202)?;
    screen.good(&format!("pid {old} is gone; {} in {}: the supervisor holds the socket", answer.status_line, millis(answer.took)));
    let new = gateway.listener()?;
    if new == old || observe::is_running(old, "gwg-listener") {
        return Err("the killed listener still runs".into());
    }
    deployed(setting, gateway, &commit)?;
    screen.good(&format!("pid {new} serves now; after: at {}, index.html says {:?}", short(&commit), setting.page()?));
    Ok(())
}

fn end(screen: &mut Screen, gateway: &Gateway) -> Result<()> {
    screen.title("SIGTERM");
    let family = gateway.family()?;
    let took = gateway.end()?;
    if let Some((pid, name)) = family.into_iter().find(|(pid, name)| observe::is_running(*pid, name)) {
        return Err(format!("{name} ({pid}) outlived the gateway").into());
    }
    screen.good(&format!("exit 0 after {}; no process is left", millis(took)));
    Ok(())
}

/// Waits until the work tree is at the commit and clean. Describes the updater, where it was seen.
fn deployed(setting: &Setting, gateway: &Gateway, commit: &str) -> Result<Option<String>> {
    let mut seen = None;
    wait("the update", || {
        seen = gateway.updater().or(seen.take());
        Ok(setting.head()?.as_deref() == Some(commit))
    })?;
    wait("a clean git status", || setting.is_clean())?;
    Ok(seen)
}

fn expect(answer: &Answer, status: u16) -> Result<()> {
    if answer.status == status {
        Ok(())
    } else {
        Err(format!("the answer was {}, not {status}: {}", answer.status_line, answer.body).into())
    }
}

fn wait(what: &str, mut happened: impl FnMut() -> Result<bool>) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    while !happened()? {
        if Instant::now() > until {
            return Err(format!("{what} did not happen within {} s", PATIENCE.as_secs()).into());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

fn short(commit: &str) -> &str {
    commit.get(..10).unwrap_or(commit)
}

fn short_or_none(commit: Option<&str>) -> &str {
    commit.map_or("nothing", short)
}
