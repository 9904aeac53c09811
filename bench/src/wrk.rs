//! The load: wrk, one thread, keep-alive connections, one delivery again and again.

use crate::Result;
use crate::machine;
use crate::push::{PATH, Push};
use crate::scratch::Scratch;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::Command;

/// Connections, each with one request under way.
const CONNECTIONS: usize = 32;

/// How to get it, where it is missing.
pub fn missing() -> Option<&'static str> {
    machine::program("wrk").is_none().then_some("wrk is missing: apt-get install wrk")
}

/// wrk's script for one delivery.
pub struct Script(PathBuf);

/// What one run did.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    pub requests: f64,
    pub seconds: f64,
}

impl Script {
    /// Writes the script and the body that it reads.
    pub fn write(scratch: &Scratch, push: &Push) -> Result<Self> {
        let body = scratch.file("wrk.body", &push.body)?;
        let mut script = format!("wrk.method = \"POST\"\nwrk.body = io.open({body:?}, \"rb\"):read(\"*a\")\n");
        for (header, value) in &push.headers {
            writeln!(script, "wrk.headers[{header:?}] = {value:?}")?;
        }
        script.push_str(
            "done = function(summary)\n  local e = summary.errors\n  \
             io.write(string.format(\"RESULT %d %d %d\\n\", summary.requests, summary.duration, e.status + e.connect + e.read + e.write + e.timeout))\nend\n",
        );
        Ok(Self(scratch.file("wrk.lua", &script)?))
    }

    /// Sends deliveries for so long. Any answer above 399 and any broken connection is an error.
    pub fn run(&self, port: u16, seconds: u64) -> Result<Run> {
        let mut wrk = Command::new("wrk");
        wrk.args(["-t1", &format!("-c{CONNECTIONS}"), &format!("-d{seconds}s"), "-s"]).arg(&self.0);
        let output = wrk.arg(format!("http://127.0.0.1:{port}{PATH}")).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let result = text.lines().find_map(|line| line.strip_prefix("RESULT "));
        let result = result.ok_or_else(|| format!("wrk: {text}{}", String::from_utf8_lossy(&output.stderr)))?;
        let numbers: Vec<f64> = result.split(' ').map(str::parse).collect::<std::result::Result<_, _>>()?;
        match numbers.as_slice() {
            [requests, micros, 0.0] => Ok(Run { requests: *requests, seconds: micros / 1e6 }),
            _ => Err(format!("some of the deliveries failed: {text}").into()),
        }
    }
}
