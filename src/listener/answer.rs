//! What a sender is told: a status and one line of JSON. Runs in `gwg-listener`; pure.
//!
//! "Not for us" is 200, because some forges disable a webhook after a few answers of 4xx. One answer
//! serves every kind of bad signature, and nothing in it is computed from a secret.

use crate::audit::{DeliveryResult, Ignored, Rejected};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};

/// An answer, whole in memory.
pub type Answer = Response<Full<Bytes>>;

/// The answer to a request. `close`: it is the last on its connection.
pub fn answer(result: &DeliveryResult, close: bool) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from_static(line(result).as_bytes())));
    *answer.status_mut() = status(result);
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if close {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if let DeliveryResult::Rejected(rejected) = result
        && let Some((name, value)) = remedy(*rejected)
    {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}

fn status(result: &DeliveryResult) -> StatusCode {
    match result {
        DeliveryResult::Accepted { .. } => StatusCode::ACCEPTED,
        DeliveryResult::Ignored(_) => StatusCode::OK,
        DeliveryResult::Rejected(rejected) => StatusCode::from_u16(rejected.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

const fn line(result: &DeliveryResult) -> &'static str {
    match result {
        DeliveryResult::Accepted { .. } => "{\"status\":\"accepted\"}\n",
        DeliveryResult::Ignored(ignored) => match ignored {
            Ignored::Ping => "{\"status\":\"ignored\",\"reason\":\"ping\"}\n",
            Ignored::OtherEvent => "{\"status\":\"ignored\",\"reason\":\"other_event\"}\n",
            Ignored::OtherRef => "{\"status\":\"ignored\",\"reason\":\"other_ref\"}\n",
            Ignored::OtherRepository => "{\"status\":\"ignored\",\"reason\":\"other_repository\"}\n",
            Ignored::Deleted => "{\"status\":\"ignored\",\"reason\":\"deleted\"}\n",
            Ignored::Gone => "{\"status\":\"ignored\",\"reason\":\"gone\"}\n",
        },
        DeliveryResult::Rejected(rejected) => match rejected {
            Rejected::NoSignature | Rejected::BadSignature => "{\"status\":\"rejected\",\"reason\":\"signature\"}\n",
            Rejected::UnknownPath => "{\"status\":\"rejected\",\"reason\":\"unknown_path\"}\n",
            Rejected::Method => "{\"status\":\"rejected\",\"reason\":\"method\"}\n",
            Rejected::ContentType => "{\"status\":\"rejected\",\"reason\":\"content_type\"}\n",
            Rejected::Malformed => "{\"status\":\"rejected\",\"reason\":\"malformed\"}\n",
            Rejected::TooLarge => "{\"status\":\"rejected\",\"reason\":\"too_large\"}\n",
            Rejected::Timeout => "{\"status\":\"rejected\",\"reason\":\"timeout\"}\n",
            Rejected::Budget => "{\"status\":\"rejected\",\"reason\":\"budget\"}\n",
            Rejected::WorkerUnavailable => "{\"status\":\"rejected\",\"reason\":\"worker_unavailable\"}\n",
        },
    }
}

/// The header that says what would help.
const fn remedy(rejected: Rejected) -> Option<(HeaderName, &'static str)> {
    match rejected {
        // RFC 9110, 15.5.2: a 401 names a scheme; ours is the header that was missing or wrong.
        Rejected::NoSignature | Rejected::BadSignature => Some((WWW_AUTHENTICATE, "X-Hub-Signature-256")),
        Rejected::Method => Some((ALLOW, "POST")),
        Rejected::Budget | Rejected::WorkerUnavailable => Some((RETRY_AFTER, "5")),
        Rejected::UnknownPath | Rejected::ContentType | Rejected::Malformed | Rejected::TooLarge | Rejected::Timeout => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;
    use crate::ids::UpdateId;

    const REJECTED: [Rejected; 10] = [
        Rejected::NoSignature,
        Rejected::BadSignature,
        Rejected::UnknownPath,
        Rejected::Method,
        Rejected::ContentType,
        Rejected::Malformed,
        Rejected::TooLarge,
        Rejected::Timeout,
        Rejected::Budget,
        Rejected::WorkerUnavailable,
    ];

    fn described(result: DeliveryResult) -> (u16, serde_json::Value) {
        let text = line(&result);
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        (answer(&result, false).status().as_u16(), serde_json::from_str(text).unwrap())
    }

    #[test]
    fn every_answer_is_one_line_of_json_with_its_status_and_reason() {
        let accepted = DeliveryResult::Accepted { coalesced: false, announced: None, update: Some(UpdateId::NONE) };
        assert_eq!(described(accepted), (202, serde_json::json!({"status": "accepted"})));
        for ignored in [Ignored::Ping, Ignored::OtherEvent, Ignored::OtherRef, Ignored::OtherRepository, Ignored::Deleted, Ignored::Gone] {
            let expected = serde_json::json!({"status": "ignored", "reason": ignored.word()});
            assert_eq!(described(DeliveryResult::Ignored(ignored)), (200, expected));
        }
        for rejected in REJECTED {
            let reason = if rejected.status() == 401 { "signature" } else { rejected.word() };
            let expected = serde_json::json!({"status": "rejected", "reason": reason});
            assert_eq!(described(DeliveryResult::Rejected(rejected)), (rejected.status(), expected));
        }
    }

    #[test]
    fn answers_say_what_would_help() {
        let header = |rejected, name| answer(&DeliveryResult::Rejected(rejected), false).headers().get(name).cloned();
        assert_eq!(header(Rejected::Method, ALLOW).unwrap(), "POST");
        for rejected in REJECTED {
            assert_eq!(header(rejected, RETRY_AFTER).is_some(), rejected.status() == 503, "{rejected:?}");
            assert_eq!(header(rejected, WWW_AUTHENTICATE).is_some(), rejected.status() == 401, "{rejected:?}");
        }
    }

    #[test]
    fn all_bad_signatures_have_one_answer() {
        let [a, b] = [Rejected::NoSignature, Rejected::BadSignature].map(|r| answer(&DeliveryResult::Rejected(r), false));
        assert_eq!((a.status(), a.headers()), (b.status(), b.headers()));
    }

    #[test]
    fn a_connection_is_closed_where_a_request_was_not_read_whole() {
        let result = DeliveryResult::Rejected(Rejected::TooLarge);
        assert_eq!(answer(&result, true).headers().get(CONNECTION).unwrap(), "close");
        assert!(answer(&result, false).headers().get(CONNECTION).is_none());
    }
}
