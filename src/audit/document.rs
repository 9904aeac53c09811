//! docs/audit-events.md, made from the table. Renew it with
//! `GWG_RENEW_DOCS=1 cargo test --lib audit::document`.
#![allow(clippy::unwrap_used)]

use super::fields::VALUE;
use super::flood::{MOST, WINDOW};
use super::render::{ELEMENT, RECORD};
use super::schema::{ALL, Facility, STAMPS, Severity};
use super::syslog::ROOM;
use std::fmt::Write;
use std::fs;
use std::path::Path;

fn document() -> String {
    let mut text = format!(
        "<!-- Made by src/audit/document.rs from src/audit/schema.rs: `GWG_RENEW_DOCS=1 cargo test --lib audit::document` -->

# Audit events

Everything that gwg does, and everybody who tries to make it do something, is an event. Each is one line of the log and one audit record, with the same
number; the supervisor alone writes both. Records go to syslog and, where `audit.file` names one, to a file with a hash chain.

## To syslog

RFC 5424 with structured data, one datagram for each record, to `/dev/log` (`audit.socket`). As in:

    <86>1 2026-11-22T12:00:00.000000Z web1 gwg 4711 delivery.accepted [{ELEMENT} seq=\"12\" by=\"gwg-listener\" by_pid=\"4713\" src=\"192.0.2.7\"
    repo=\"/hooks/site\" event=\"push\" delivery=\"72d3162e-cc78-11e3-81ab-4c9367dc0958\" bytes=\"7423\" us=\"811\" coalesced=\"false\"] delivery.accepted

- MSGID is the event's name. `{ELEMENT}` has the fields; the number is the one that RFC 5612 sets aside for those who have none.
- A value is printable ASCII. Any other byte is written `\\xNN` and a backslash is doubled; then `\"`, `\\` and `]` get the backslash of RFC 5424. A value longer than {VALUE}
  bytes ends with `...`; a record is at most {RECORD} bytes, and one without room for all of its fields ends with `cut=\"true\"`.
- `audit.facility` puts all records into one facility, `audit.tag` replaces `gwg` as APP-NAME.
- Nothing waits for syslog. Where it is missing, restarted or stuck, {ROOM} records wait for it, in order; what comes on top is lost and counted
  in a `log.gap` when it is back. So `seq` has a hole for each lost record, and the `log.gap` records (causes `syslog` and `queue`) add up to the holes.

rsyslog takes these records apart where its special parser for local messages is off (lines of the old form are read all the same); with it, a record is
the text of a message, whole:

    module(load=\"imuxsock\" SysSock.UseSpecialParser=\"off\" SysSock.IgnoreTimestamp=\"off\")
    template(name=\"gwg\" type=\"string\" string=\"%timereported:::date-rfc3339% %msgid% %structured-data%\\n\")
    if $app-name == \"gwg\" then action(type=\"omfile\" file=\"/var/log/gwg-audit.log\" template=\"gwg\")

journald keeps each record as the text of a message.

## To a file

`audit.file` is appended to, a JSON object a line: `prev`, `time`, `seq`, `name` (the event's), `by`, `by_pid`, the fields, `hash`. `hash` is the SHA-256 of the line's bytes up to
`,\"hash\"`, and `prev` the `hash` of the line before: 64 zeros in the very first. The chain goes on over restarts and, in the same process, over renames.
`gwg audit verify FILE...` says which record was changed, removed or moved. Someone who may write the file can make the chain anew, or cut off its end;
that shows beside syslog: `service.start` carries the last hash, and each record its number. `gwg audit verify` tells the `seq` and the hash with
which a file ends: where syslog has a later record from before the copy was made, the end is cut off.

## From a delivery to what it changed

`delivery.accepted` has the number of the `update` that serves it; `update.*`, `trigger.touched` and `hook.*` have the number that they belong to. Deliveries that come together
have one number, and so have the tries of one update. Numbers grow, over restarts too where the clock was not set back, and an update serves all marks that were set
before it began: the first `update.ok` or `update.noop` of the repository with a number not below the delivery's is the one that answers it. An `update.noop` says that its
`new` was there already: the last `update.ok` with that commit brought it. `gwg log --delivery ID` follows the same rule, as far back as the history goes.
Records of different processes may stand in another order than things happened: the numbers count. `claimed_pusher` is what the payload says, and nothing that gwg knows.

## Requests

requests = `delivery.accepted` + `delivery.ignored` + `delivery.rejected` + the counts of `reject.summary` + what `log.gap` counts with the cause `listener`.
In any second at most {MOST} rejections have a record (and a line of the log) of their own; the others are summed up every {} seconds, and when gwg ends.
No other event is ever held back. Where gwg makes more than it can write, requests leave a quarter of the room to all else.

## Every record begins with

| field | meaning |
|---|---|
",
        WINDOW.as_secs()
    );
    for (name, meaning) in STAMPS {
        writeln!(text, "| `{name}` | {meaning} |").unwrap();
    }
    text.push_str("\n## Events\n");
    for schema in ALL {
        let (facility, severity) = (Facility::word(schema.facility), Severity::word(schema.severity));
        write!(text, "\n### `{}` ({facility}.{severity})\n\n{}\n\n| field | meaning |\n|---|---|\n", schema.name, schema.when).unwrap();
        for (name, meaning) in schema.fields {
            writeln!(text, "| `{name}` | {meaning} |").unwrap();
        }
    }
    text
}

#[test]
fn the_page_says_what_the_table_says() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/audit-events.md");
    if std::env::var_os("GWG_RENEW_DOCS").is_some() {
        fs::write(&page, document()).unwrap();
    }
    let found = fs::read_to_string(&page).unwrap_or_default();
    assert!(
        found == document(),
        "docs/audit-events.md is not what src/audit/schema.rs says: GWG_RENEW_DOCS=1 cargo test --lib audit::document"
    );
}
