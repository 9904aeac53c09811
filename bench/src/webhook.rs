//! The peer that administrators have today: adnanh/webhook, as Debian packages it.

use crate::Result;
use crate::machine;
use crate::push::{PATH, SECRET};
use crate::running::{self, Running};
use crate::scratch::Scratch;
use serde_json::json;
use std::path::Path;
use std::process::Command;

/// How to get it, where it is missing.
pub fn missing() -> Option<&'static str> {
    machine::program("webhook").is_none().then_some("webhook is missing: apt-get install webhook")
}

/// Starts it. It runs `command` for each delivery with a right signature; without a command it
/// verifies the signature and then refuses, since its rules want another branch. It logs nothing.
pub fn start(scratch: &Scratch, command: Option<&Path>) -> Result<Running> {
    let parameter = |source, name| json!({"source": source, "name": name});
    let signed =
        json!({"match": {"type": "payload-hmac-sha256", "secret": SECRET, "parameter": parameter("header", "X-Hub-Signature-256")}});
    let elsewhere = json!({"match": {"type": "value", "value": "refs/heads/elsewhere", "parameter": parameter("payload", "ref")}});
    let rule = if command.is_some() { signed } else { json!({"and": [signed, elsewhere]}) };
    let command = command.unwrap_or(Path::new("/bin/false"));
    let hooks = json!([{"id": PATH.trim_start_matches("/hooks/"), "execute-command": command, "trigger-rule": rule}]);
    let hooks = scratch.file("hooks.json", &hooks.to_string())?;
    let port = running::free_port()?;
    let mut webhook = Command::new("webhook");
    webhook.arg("-hooks").arg(hooks).args(["-ip", "127.0.0.1", "-urlprefix", "hooks", "-port", &port.to_string()]);
    Running::start(&mut webhook, port)
}
