//! A real syslog daemon: Debian's rsyslog with a configuration, a socket and a file of the test's own;
//! and a reader of RFC 5424's structured data that knows nothing of gwg.

use super::need;
use super::processes::Process;
use super::scratch::Scratch;
use super::wait;
use nix::sys::signal::Signal;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A record as rsyslog took it apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Facility times eight, and severity.
    pub priority: u8,
    /// When it was made.
    pub time: String,
    /// APP-NAME.
    pub app: String,
    /// PROCID.
    pub pid: i32,
    /// MSGID.
    pub name: String,
    /// The fields of its one element.
    pub fields: Vec<(String, String)>,
}

impl Record {
    /// The value of a field.
    pub fn get(&self, field: &str) -> Option<&str> {
        self.fields.iter().find(|(name, _)| name == field).map(|(_, value)| value.as_str())
    }

    /// A field that is a number.
    pub fn number(&self, field: &str) -> u64 {
        self.get(field).and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no number {field}: {self:?}"))
    }

    /// Whether it is of this kind with these fields.
    pub fn is(&self, name: &str, fields: &[(&str, &str)]) -> bool {
        self.name == name && fields.iter().all(|(field, value)| self.get(field) == Some(value))
    }
}

/// A running daemon; killed when dropped.
pub struct Syslog {
    scratch: Scratch,
    child: Option<Child>,
}

impl Syslog {
    /// One that does not run yet.
    pub fn new(scratch: &Scratch) -> Option<Self> {
        need::program("rsyslogd", "rsyslog")?;
        Some(Self { scratch: scratch.clone(), child: None })
    }

    /// A running one.
    pub fn start(scratch: &Scratch) -> Option<Self> {
        let mut syslog = Self::new(scratch)?;
        syslog.run();
        Some(syslog)
    }

    /// Starts it and waits until it listens.
    pub fn run(&mut self) {
        let (socket, file) = (self.socket(), self.file());
        let _ = fs::remove_file(&socket);
        let text = format!(
            "module(load=\"imuxsock\" SysSock.Use=\"off\")\n\
             input(type=\"imuxsock\" Socket=\"{}\" UseSpecialParser=\"off\" IgnoreTimestamp=\"off\" RateLimit.Interval=\"0\")\n\
             template(name=\"t\" type=\"string\" string=\"%pri%|%timereported:::date-rfc3339%|%app-name%|%procid%|%msgid%|%structured-data%|%msg%\\n\")\n\
             action(type=\"omfile\" file=\"{}\" template=\"t\" FileCreateMode=\"0644\")\n",
            socket.display(),
            file.display()
        );
        let config = self.scratch.file("rsyslog.conf", &text);
        let mut daemon = Command::new("rsyslogd");
        daemon.arg("-n").arg("-iNONE").arg("-f").arg(config).stdin(Stdio::null());
        self.child = Some(daemon.spawn().unwrap());
        wait::until_true("rsyslog listens", || UnixDatagram::unbound().unwrap().connect(&socket).is_ok());
    }

    /// Ends it.
    pub fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops or continues it.
    pub fn signal(&self, signal: Signal) {
        Process::of(i32::try_from(self.child.as_ref().unwrap().id()).unwrap()).unwrap().signal(signal);
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.scratch.path().join("log.sock")
    }

    fn file(&self) -> PathBuf {
        self.scratch.path().join("syslog")
    }

    /// What it has received.
    pub fn records(&self) -> Vec<Record> {
        read(&self.file())
    }

    /// Waits for a record of this kind with these fields.
    pub fn wait(&self, name: &str, fields: &[(&str, &str)]) -> Record {
        wait::until(&format!("syslog has {name} with {fields:?}"), || self.records().into_iter().find(|record| record.is(name, fields)))
    }
}

impl Drop for Syslog {
    fn drop(&mut self) {
        self.end();
    }
}

fn read(file: &Path) -> Vec<Record> {
    let text = fs::read_to_string(file).unwrap_or_default();
    // The last line may still be on its way.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| parse(line).unwrap_or_else(|| panic!("not what a record looks like: {line:?}"))).collect()
}

fn parse(line: &str) -> Option<Record> {
    assert!(line.bytes().all(|byte| (0x20..=0x7e).contains(&byte)), "a byte that is not printable: {line:?}");
    let [priority, time, app, pid, name, rest] = line.splitn(6, '|').collect::<Vec<_>>().try_into().ok()?;
    let (fields, rest) = element(rest.strip_prefix("[gwg@32473")?)?;
    let message = rest.strip_prefix('|')?;
    assert_eq!(message.trim_start(), name, "another text than the event's name: {line:?}");
    Some(Record { priority: priority.parse().ok()?, time: time.into(), app: app.into(), pid: pid.parse().ok()?, name: name.into(), fields })
}

/// RFC 5424, 6.3: parameters up to the element's end, and what comes after it.
fn element(mut rest: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut fields = Vec::new();
    loop {
        if let Some(after) = rest.strip_prefix(']') {
            return Some((fields, after));
        }
        let (name, after) = rest.strip_prefix(' ')?.split_once("=\"")?;
        let (mut value, mut escaped, mut end) = (String::new(), false, None);
        for (place, letter) in after.char_indices() {
            match (escaped, letter) {
                (true, '"' | '\\' | ']') => value.push(letter),
                (true, _) => value.extend(['\\', letter]),
                (false, '\\') => {}
                (false, '"') => {
                    end = Some(place);
                    break;
                }
                (false, _) => value.push(letter),
            }
            escaped = !escaped && letter == '\\';
        }
        fields.push((name.to_owned(), value));
        rest = &after[end? + 1..];
    }
}
