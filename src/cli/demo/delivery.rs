//! The demo's deliveries: a true one, and one of somebody who does not know the secret.

use super::remote::Remote;
use crate::cli::delivery::{Delivery, sign};

/// A push of a commit to `main`.
pub fn push(remote: &Remote, commit: &str, secret: &str) -> Delivery {
    let url = remote.url();
    let body = serde_json::json!({
        "ref": "refs/heads/main",
        "after": commit,
        "deleted": false,
        "repository": { "full_name": "demo/remote", "git_url": url },
    });
    signed(body.to_string(), secret)
}

/// Signed by someone who does not know the secret.
pub fn forged() -> Delivery {
    signed("{\"ref\":\"refs/heads/main\"}".to_owned(), "a guess")
}

fn signed(body: String, secret: &str) -> Delivery {
    Delivery { event: "push", signature: Some(sign(secret.as_bytes(), &body)), body, id: None }
}
