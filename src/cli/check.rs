//! `gwg check`: what would run, for people. Pure: a checked configuration in, text out.

use crate::brief::listener::Proof;
use crate::config::{Account, Audit, Config, Confinement, Environment, Hook, LogFormat, LogOutput, Repo};

use std::fmt::Write;

/// What would run, and the warnings.
pub fn report(config: &Config, env: &Environment) -> String {
    let mut text = String::new();
    head(config, env, &mut text);
    table(&config.repos, &mut text);
    for warning in &config.warnings {
        line(&mut text, format_args!("warning: {warning}"));
    }
    text
}

/// Writing to a `String` can't fail.
fn line(text: &mut String, words: std::fmt::Arguments) {
    let _ = writeln!(text, "{words}");
}

fn head(config: &Config, env: &Environment, text: &mut String) {
    line(text, format_args!("{}: valid", config.file.display()));
    line(text, format_args!("  listens on  {}", config.listen));
    match &config.accounts {
        Some(accounts) => {
            line(text, format_args!("  gwg         root"));
            for (process, account) in [("listener", &accounts.listener), ("worker", &accounts.worker), ("updater", &accounts.updater)] {
                line(text, format_args!("  {process:<11} {}", user(account)));
            }
        }
        None => line(text, format_args!("  all run as  uid {}", env.uid)),
    }
    match config.confinement {
        Confinement::Require => line(text, format_args!("  confinement required in full")),
        Confinement::BestEffort => line(text, format_args!("  confinement as far as this machine offers it")),
    }
    let format = match config.logging.format {
        LogFormat::Text => "text",
        LogFormat::Json => "json",
    };
    match &config.logging.output {
        LogOutput::Stdout => line(text, format_args!("  log         {format}, to standard output")),
        LogOutput::File(log) => line(text, format_args!("  log         {format}, to {}", log.path.display())),
    }
    audit(&config.audit, text);
    let schedule = config.schedule;
    line(
        text,
        format_args!(
            "  updates     {} at once, {} tries, first retry after {} ms",
            schedule.threads, schedule.retry_count, schedule.retry_delay_ms
        ),
    );
    match schedule.reconcile_s {
        0 => line(text, format_args!("  reconcile   at start only")),
        seconds if seconds % 3600 == 0 => line(text, format_args!("  reconcile   at start and every {} h", seconds / 3600)),
        seconds => line(text, format_args!("  reconcile   at start and every {seconds} s")),
    }
}

fn audit(audit: &Audit, text: &mut String) {
    let facility = audit.facility.map_or(String::new(), |facility| format!(" as {}", facility.word()));
    let syslog = audit.syslog.as_ref().map(|socket| format!("to syslog at {}{facility}", socket.display()));
    let file = audit.file.as_ref().map(|file| format!("to {}", file.path.display()));
    let places: Vec<String> = [syslog, file].into_iter().flatten().collect();
    let places = if places.is_empty() { "to the log only".to_owned() } else { places.join(" and ") };
    line(text, format_args!("  audit       {places}"));
}

fn user(account: &Account) -> String {
    format!("{} (uid {}, gid {})", account.name, account.uid, account.gid)
}

fn table(repos: &[Repo], text: &mut String) {
    line(text, format_args!("{}:", count(repos.len(), "repository", "repositories")));
    for repo in repos {
        line(text, format_args!("  {}", repo.path));
        line(text, format_args!("    from     {} ({})", repo.url, repo.label));
        line(text, format_args!("    to       {}", repo.directory.display()));
        if let Some(trigger) = &repo.trigger {
            line(text, format_args!("    touches  {}", trigger.display()));
        }
        for (on, hook) in [("success", &repo.hooks.success), ("failure", &repo.hooks.failure)] {
            if let Some(hook) = hook {
                line(text, format_args!("    runs     {}", command(on, hook)));
            }
        }
        line(text, format_args!("    proof    {}", proof(&repo.proof)));
        if let Some(key) = &repo.key_file {
            line(text, format_args!("    key      {}", key.display()));
        }
        if !repo.at_start {
            line(text, format_args!("    waits for its first push: it is not cloned, and initialise is off"));
        }
    }
}

/// The program alone: arguments may be as long as they like, and variables are nobody's business.
fn command(on: &str, hook: &Hook) -> String {
    let program = hook.command.first().map_or("", String::as_str);
    let who = hook.account.as_ref().map_or(String::new(), |account| format!(" as {}", account.name));
    format!("{program}{who}, on {on}, for {} s at most", hook.timeout_ms.div_ceil(1_000))
}

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

fn proof(proof: &Proof) -> String {
    match proof {
        Proof::Unsigned => "none: anybody can start an update".to_owned(),
        Proof::Signed { secrets, sha1 } => {
            let kind = if *sha1 { "SHA-256 or SHA-1" } else { "SHA-256" };
            match secrets.len() {
                1 => kind.to_owned(),
                several => format!("{kind}, any of {several} secrets"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_report_says_what_would_run_and_no_secret() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("c.yaml");
        let tree = directory.path().canonicalize().unwrap().join("tree");
        let text = format!(
            "port: 8080\ninitialise: false\nrepos:\n  - url: https://h/r.git\n    path: /hook\n    directory: {}\n    label: v1\n    labelType: tag\n    trigger: /run/t\n    secret: [canary]\n    hook: {{command: [/bin/true, canary], env: {{A: canary}}, timeout: 90s}}\n",
            tree.display()
        );
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let mut env = Environment::of_process();
        env.uid = if env.is_root() { 1000 } else { env.uid };
        env.variables.clear();
        let text = report(&crate::config::load(Some(&file), &env).unwrap(), &env);
        for wanted in [
            "[::]:8080",
            "/hook",
            "https://h/r.git (tag v1)",
            tree.to_str().unwrap(),
            "/run/t",
            "runs     /bin/true, on success, for 90 s at most",
            "SHA-256",
            "waits for its first push",
            "warning: repos[0].secret",
        ] {
            assert!(text.contains(wanted), "{wanted} is not in:\n{text}");
        }
        assert!(!text.contains("canary"), "{text}");
    }
}
