//! Variables of the environment that override the global keys: `GWG_` and the key in capitals.

use super::environment::Environment;
use super::error::{Fault, KeyPath, Notes, Place};
use super::nearest::nearest;
use super::raw::{Raw, RawAudit, RawControl, RawLimits, RawLogging, RawMetrics, SIZE_FORMS, SPAN_FORMS, Size, Span, UserName};

type Set = fn(&mut Raw, &str) -> Result<(), Fault>;

/// Every variable, the key that it overrides, and how.
const VARIABLES: [(&str, &[&str], Set); 33] = [
    ("GWG_LISTEN", &["listen"], |raw, text| set(&mut raw.listen, Ok(text.to_owned()))),
    ("GWG_PORT", &["port"], |raw, text| set(&mut raw.port, number(text))),
    ("GWG_RETRY_COUNT", &["retry_count"], |raw, text| set(&mut raw.retry_count, number(text))),
    ("GWG_RETRY_DELAY", &["retry_delay"], |raw, text| set(&mut raw.retry_delay, span(text))),
    ("GWG_RECONCILE", &["reconcile"], |raw, text| set(&mut raw.reconcile, span(text))),
    ("GWG_THREADS", &["threads"], |raw, text| set(&mut raw.threads, number(text))),
    ("GWG_INITIALISE", &["initialise"], |raw, text| set(&mut raw.initialise, switch(text))),
    ("GWG_USER", &["user"], |raw, text| set(&mut raw.user, Ok(UserName(text.to_owned())))),
    ("GWG_WORKER_USER", &["worker_user"], |raw, text| set(&mut raw.worker_user, Ok(UserName(text.to_owned())))),
    ("GWG_LISTENER_USER", &["listener_user"], |raw, text| set(&mut raw.listener_user, Ok(UserName(text.to_owned())))),
    ("GWG_CONFINEMENT", &["confinement"], |raw, text| set(&mut raw.confinement, Ok(text.to_owned()))),
    ("GWG_CONTROL_GROUP", &["control", "group"], |raw, text| set(&mut control(raw).group, Ok(UserName(text.to_owned())))),
    ("GWG_CONTROL_ACT", &["control", "act"], |raw, text| set(&mut control(raw).act, switch(text))),
    ("GWG_METRICS_LISTEN", &["metrics", "listen"], |raw, text| set(&mut metrics(raw).listen, Ok(text.to_owned()))),
    ("GWG_METRICS_PORT", &["metrics", "port"], |raw, text| set(&mut metrics(raw).port, number(text))),
    ("GWG_ALERT_AFTER", &["alert_after"], |raw, text| set(&mut raw.alert_after, span(text))),
    ("GWG_LOGGING_FORMAT", &["logging", "format"], |raw, text| set(&mut logging(raw).format, Ok(text.to_owned()))),
    ("GWG_LOGGING_OUTPUT", &["logging", "output"], |raw, text| set(&mut logging(raw).output, Ok(text.to_owned()))),
    ("GWG_LOGGING_LEVEL", &["logging", "level"], |raw, text| set(&mut logging(raw).level, Ok(text.to_owned()))),
    ("GWG_LOGGING_TIMESTAMP", &["logging", "timestamp"], |raw, text| set(&mut logging(raw).timestamp, switch(text))),
    ("GWG_TRUSTED_PROXIES", &["trusted_proxies"], |raw, text| {
        set(&mut raw.trusted_proxies, Ok(text.split(',').map(str::to_owned).collect()))
    }),
    ("GWG_PROXY_PROTOCOL", &["proxy_protocol"], |raw, text| set(&mut raw.proxy_protocol, switch(text))),
    ("GWG_AUDIT_SYSLOG", &["audit", "syslog"], |raw, text| set(&mut audit(raw).syslog, switch(text))),
    ("GWG_AUDIT_FACILITY", &["audit", "facility"], |raw, text| set(&mut audit(raw).facility, Ok(text.to_owned()))),
    ("GWG_AUDIT_TAG", &["audit", "tag"], |raw, text| set(&mut audit(raw).tag, Ok(text.to_owned()))),
    ("GWG_AUDIT_FILE", &["audit", "file"], |raw, text| set(&mut audit(raw).file, Ok(text.to_owned()))),
    ("GWG_AUDIT_SOCKET", &["audit", "socket"], |raw, text| set(&mut audit(raw).socket, Ok(text.to_owned()))),
    ("GWG_GC_OBJECTS", &["gc", "objects"], |raw, text| set(&mut raw.gc.get_or_insert_default().objects, Ok(text.to_owned()))),
    ("GWG_LIMITS_PACK", &["limits", "pack"], |raw, text| set(&mut limits(raw).pack, size(text))),
    ("GWG_LIMITS_OBJECT", &["limits", "object"], |raw, text| set(&mut limits(raw).object, size(text))),
    ("GWG_LIMITS_FILES", &["limits", "files"], |raw, text| set(&mut limits(raw).files, number(text))),
    ("GWG_LIMITS_TREE", &["limits", "tree"], |raw, text| set(&mut limits(raw).tree, size(text))),
    ("GWG_LIMITS_DEADLINE", &["limits", "deadline"], |raw, text| set(&mut limits(raw).deadline, span(text))),
];

/// Puts the variables' values in the place of the file's. An empty one counts as not set.
pub fn apply(raw: &mut Raw, env: &Environment, notes: &mut Notes) {
    for (name, value) in env.variables.iter().filter(|(_, value)| !value.is_empty()) {
        let Some((_, path, set)) = VARIABLES.iter().find(|(known, _, _)| known == name) else {
            notes.warnings.push(unknown(name));
            continue;
        };
        if let Err(fault) = set(raw, value) {
            notes.wrong(Place::Variable(name.clone()), fault);
        }
        notes.overridden.push((path.iter().fold(KeyPath::default(), |path, key| path.key(key)), name.clone()));
    }
}

fn unknown(name: &str) -> String {
    match nearest(name, VARIABLES.iter().map(|(known, _, _)| *known)) {
        Some(meant) => format!("{name} (environment) overrides no key: did you mean {meant}?"),
        None => format!("{name} (environment) overrides no key"),
    }
}

fn audit(raw: &mut Raw) -> &mut RawAudit {
    raw.audit.get_or_insert_default()
}

fn logging(raw: &mut Raw) -> &mut RawLogging {
    raw.logging.get_or_insert_default()
}

fn limits(raw: &mut Raw) -> &mut RawLimits {
    raw.limits.get_or_insert_default()
}

fn control(raw: &mut Raw) -> &mut RawControl {
    raw.control.get_or_insert_default()
}

fn metrics(raw: &mut Raw) -> &mut RawMetrics {
    raw.metrics.get_or_insert_default()
}

fn set<T>(place: &mut Option<T>, value: Result<T, Fault>) -> Result<(), Fault> {
    *place = Some(value?);
    Ok(())
}

fn number(text: &str) -> Result<i64, Fault> {
    text.trim().parse().map_err(|_| Fault::new("this is not a whole number", "write digits only"))
}

fn span(text: &str) -> Result<Span, Fault> {
    Span::read(text).ok_or_else(|| Fault::new("this is no time", format!("write {SPAN_FORMS}")))
}

fn size(text: &str) -> Result<Size, Fault> {
    Size::read(text).ok_or_else(|| Fault::new("this is no size", format!("write {SIZE_FORMS}")))
}

fn switch(text: &str) -> Result<bool, Fault> {
    text.trim().parse().map_err(|_| Fault::new("this is neither true nor false", "write true or false"))
}
