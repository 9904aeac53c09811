//! What an authentic delivery of GitHub asks for. Runs in `gwg-listener`; pure.
//!
//! Holds nothing. Reads only what it needs and tolerates the rest, whatever it is: payloads grow
//! fields, and an organisation's ping has no repository. The sender is authentic, and still may speak
//! only about the one repository and ref that its path stands for. Payloads:
//! <https://docs.github.com/en/webhooks/webhook-events-and-payloads#push>.

use super::pusher::Pusher;
use super::route::Route;
use crate::audit::{Claim, Ignored, Rejected};
use crate::brief::RemoteName;
use crate::ids::{CommitId, DeliveryId};
use hyper::HeaderMap;
use hyper::header::{CONTENT_TYPE, HeaderName};
use serde::Deserialize;
use std::borrow::Cow;

const EVENT: HeaderName = HeaderName::from_static("x-github-event");
const DELIVERY: HeaderName = HeaderName::from_static("x-github-delivery");

/// How the payload stands in the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The body is the payload.
    Json,
    /// The body is a form, and its field `payload` the payload: GitHub's default.
    Urlencoded,
}

/// What an authentic delivery asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Intent {
    /// The configured ref has moved.
    Push {
        /// To this commit, where the forge tells one.
        announced: Option<CommitId>,
        /// By whom, where the forge says so.
        pusher: Option<Claim>,
    },
    /// Nothing to do.
    Ignore(Ignored),
}

#[derive(Deserialize)]
struct Push<'a> {
    #[serde(rename = "ref", borrow)]
    ref_name: Option<Text<'a>>,
    #[serde(borrow)]
    after: Option<Text<'a>>,
    deleted: Option<bool>,
    #[serde(borrow)]
    repository: Option<Repository<'a>>,
    #[serde(borrow, default)]
    pusher: Pusher<'a>,
}

#[derive(Deserialize)]
struct Repository<'a> {
    #[serde(borrow)]
    ssh_url: Option<Text<'a>>,
    #[serde(borrow)]
    clone_url: Option<Text<'a>>,
    #[serde(borrow)]
    git_url: Option<Text<'a>>,
    #[serde(borrow)]
    html_url: Option<Text<'a>>,
}

/// A string that is borrowed from the payload where it has no escapes. (serde borrows a `Cow` in a
/// newtype, not in an `Option`.)
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The form that the content type says; `None` for one that GitHub never sends.
pub fn form(headers: &HeaderMap) -> Option<Form> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let kind = value.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case("application/json") {
        Some(Form::Json)
    } else if kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        Some(Form::Urlencoded)
    } else {
        None
    }
}

/// The forge's name for the delivery. It is not signed: for the log only.
pub fn delivery(headers: &HeaderMap) -> Option<DeliveryId> {
    DeliveryId::from_uuid(headers.get(DELIVERY)?.to_str().ok()?)
}

/// Reads an authentic delivery.
///
/// # Errors
/// The event is not named, or a push is not JSON of the right shape, or names no ref.
pub fn read(route: &Route, headers: &HeaderMap, form: Form, body: &[u8]) -> Result<Intent, Rejected> {
    match headers.get(EVENT).map(|event| event.as_bytes()) {
        None | Some(b"") => Err(Rejected::Malformed),
        Some(b"push") => read_push(route, &payload(form, body)?),
        Some(b"ping") => Ok(Intent::Ignore(Ignored::Ping)),
        Some(_) => Ok(Intent::Ignore(Ignored::OtherEvent)),
    }
}

fn payload(form: Form, body: &[u8]) -> Result<Cow<'_, [u8]>, Rejected> {
    match form {
        Form::Json => Ok(Cow::Borrowed(body)),
        Form::Urlencoded => form_urlencoded::parse(body)
            .find(|(name, _)| name == "payload")
            .map(|(_, value)| match value {
                Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                Cow::Owned(text) => Cow::Owned(text.into_bytes()),
            })
            .ok_or(Rejected::Malformed),
    }
}

fn read_push(route: &Route, payload: &[u8]) -> Result<Intent, Rejected> {
    let push: Push<'_> = serde_json::from_slice(payload).map_err(|_| Rejected::Malformed)?;
    let ref_name = push.ref_name.ok_or(Rejected::Malformed)?.0;
    let after = push.after.as_ref().map_or("", |text| &text.0);
    Ok(if !push.repository.is_some_and(|repository| repository.is(&route.remote)) {
        Intent::Ignore(Ignored::OtherRepository)
    } else if ref_name != route.ref_name {
        Intent::Ignore(Ignored::OtherRef)
    } else if push.deleted == Some(true) || is_zero(after) {
        Intent::Ignore(Ignored::Deleted)
    } else {
        Intent::Push { announced: CommitId::from_hex(after), pusher: push.pusher.claim() }
    })
}

impl Repository<'_> {
    /// Whether any of its URLs, in whatever form, names this repository.
    fn is(&self, remote: &RemoteName) -> bool {
        [&self.ssh_url, &self.clone_url, &self.git_url, &self.html_url]
            .into_iter()
            .flatten()
            .any(|url| RemoteName::from_url(&url.0).as_ref() == Some(remote))
    }
}

/// "No commit", in any object format.
fn is_zero(commit: &str) -> bool {
    !commit.is_empty() && commit.bytes().all(|digit| digit == b'0')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;
    use crate::brief::listener::Proof;
    use crate::ids::RepoId;
    use crate::listener::signature::Verifier;
    use serde_json::{Value, json};

    const FIXTURE: &str = include_str!("../../tests/fixtures/github-push.json");
    const AFTER: &str = "8d1f0a6b3c5e72941f6be0c4a7d25f3be9186c70";

    fn route(url: &str, ref_name: &str) -> Route {
        let remote = RemoteName::from_url(url).unwrap();
        Route { repo: RepoId::new(1), verifier: Verifier::new(&Proof::Unsigned), ref_name: ref_name.into(), remote }
    }

    fn main_route() -> Route {
        route("git@github.com:lantern-works/harbour.git", "refs/heads/main")
    }

    fn read_event(route: &Route, event: &str, form: Form, body: &str) -> Result<Intent, Rejected> {
        let mut headers = HeaderMap::new();
        headers.insert(EVENT, event.parse().unwrap());
        read(route, &headers, form, body.as_bytes())
    }

    fn with(change: impl FnOnce(&mut Value)) -> String {
        let mut payload: Value = serde_json::from_str(FIXTURE).unwrap();
        change(&mut payload);
        payload.to_string()
    }

    /// By whom the fixture says.
    fn pushed(announced: Option<CommitId>) -> Intent {
        Intent::Push { announced, pusher: Claim::of("ada-f") }
    }

    fn ignored(reason: Ignored) -> Result<Intent, Rejected> {
        Ok(Intent::Ignore(reason))
    }

    #[test]
    fn a_push_to_the_configured_ref_announces_its_commit() {
        let announced = Ok(pushed(CommitId::from_hex(AFTER)));
        assert_eq!(read_event(&main_route(), "push", Form::Json, FIXTURE), announced);
        let form: String = form_urlencoded::Serializer::new(String::new()).append_pair("a", "b").append_pair("payload", FIXTURE).finish();
        assert_eq!(read_event(&main_route(), "push", Form::Urlencoded, &form), announced);
    }

    #[test]
    fn any_url_of_the_payload_in_any_form_may_name_the_repository() {
        for url in ["https://github.com/Lantern-Works/harbour", "ssh://git@github.com:22/lantern-works/harbour.git"] {
            for kept in ["ssh_url", "clone_url", "git_url", "html_url"] {
                let body = with(|payload| {
                    let repository = payload["repository"].as_object_mut().unwrap();
                    repository.retain(|name, _| name == kept);
                    assert_eq!(repository.len(), 1, "the fixture has no {kept}");
                });
                let route = route(url, "refs/heads/main");
                assert!(matches!(read_event(&route, "push", Form::Json, &body), Ok(Intent::Push { .. })), "{url} by {kept}");
            }
        }
    }

    #[test]
    fn another_repository_ref_or_event_is_ignored_and_said() {
        let other = route("git@github.com:lantern-works/lighthouse.git", "refs/heads/main");
        assert_eq!(read_event(&other, "push", Form::Json, FIXTURE), ignored(Ignored::OtherRepository));
        let none = with(|payload| drop(payload.as_object_mut().unwrap().remove("repository")));
        assert_eq!(read_event(&main_route(), "push", Form::Json, &none), ignored(Ignored::OtherRepository));
        // A branch is never a tag, also where they share a name.
        for name in ["refs/heads/main2", "refs/heads/mai", "refs/tags/main", "main", "refs/heads/Main"] {
            let body = with(|payload| payload["ref"] = json!(name));
            assert_eq!(read_event(&main_route(), "push", Form::Json, &body), ignored(Ignored::OtherRef), "{name}");
        }
        assert_eq!(read_event(&main_route(), "issues", Form::Json, FIXTURE), ignored(Ignored::OtherEvent));
        assert_eq!(read_event(&main_route(), "ping", Form::Json, r#"{"zen":"Keep it small.","hook_id":7}"#), ignored(Ignored::Ping));
    }

    #[test]
    fn a_tag_push_is_for_who_follows_the_tag() {
        let body = with(|payload| payload["ref"] = json!("refs/tags/v1.4"));
        let tag = route("https://github.com/lantern-works/harbour.git", "refs/tags/v1.4");
        assert_eq!(read_event(&tag, "push", Form::Json, &body), Ok(pushed(CommitId::from_hex(AFTER))));
    }

    #[test]
    fn a_deletion_is_ignored_by_either_sign() {
        let said = with(|payload| payload["deleted"] = json!(true));
        let zeros = with(|payload| payload["after"] = json!("0".repeat(40)));
        for body in [said, zeros] {
            assert_eq!(read_event(&main_route(), "push", Form::Json, &body), ignored(Ignored::Deleted));
        }
    }

    #[test]
    fn fields_may_be_missing_or_null_or_escaped() {
        let bare = r#"{"ref":"refs\/heads\/main","repository":{"ssh_url":null,"html_url":"https:\/\/github.com\/lantern-works\/harbour"}}"#;
        assert_eq!(read_event(&main_route(), "push", Form::Json, bare), Ok(Intent::Push { announced: None, pusher: None }));
        let odd = with(|payload| payload["after"] = json!("not a commit"));
        assert_eq!(read_event(&main_route(), "push", Form::Json, &odd), Ok(pushed(None)));
    }

    #[test]
    fn a_pusher_that_is_none_spoils_no_delivery() {
        for odd in [json!(null), json!("ada"), json!([{"name": "ada"}]), json!({"name": 7})] {
            let body = with(|payload| payload["pusher"] = odd);
            let announced = CommitId::from_hex(AFTER);
            assert_eq!(read_event(&main_route(), "push", Form::Json, &body), Ok(Intent::Push { announced, pusher: None }), "{body}");
        }
    }

    #[test]
    fn what_is_no_push_payload_is_malformed() {
        let no_ref = with(|payload| drop(payload.as_object_mut().unwrap().remove("ref")));
        let deep = "[".repeat(100_000);
        for body in ["", "{", "null", "[]", "7", "{}", r#"{"ref":7}"#, "ref=main", &no_ref, &deep, &format!("{FIXTURE}x"), &FIXTURE[..4000]]
        {
            assert_eq!(read_event(&main_route(), "push", Form::Json, body), Err(Rejected::Malformed), "{body:.60}");
        }
        for body in ["", "payload", "other=1", "payload=%7B"] {
            assert_eq!(read_event(&main_route(), "push", Form::Urlencoded, body), Err(Rejected::Malformed), "{body}");
        }
        assert_eq!(read(&main_route(), &HeaderMap::new(), Form::Json, FIXTURE.as_bytes()), Err(Rejected::Malformed));
    }

    #[test]
    fn the_content_type_is_read_as_rfc_9110_says() {
        let form_of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, value.parse().unwrap());
            form(&headers)
        };
        for json in ["application/json", "Application/JSON; charset=utf-8", "application/json;charset=utf-8"] {
            assert_eq!(form_of(json), Some(Form::Json), "{json}");
        }
        assert_eq!(form_of("application/x-www-form-urlencoded"), Some(Form::Urlencoded));
        for other in ["", "text/plain", "application/jsonp", "multipart/form-data"] {
            assert_eq!(form_of(other), None, "{other}");
        }
        assert_eq!(form(&HeaderMap::new()), None);
    }

    #[test]
    fn the_fixture_is_as_large_as_a_typical_push() {
        assert!((7_000..9_000).contains(&FIXTURE.len()), "{}", FIXTURE.len());
    }
}
