//! How the updater logs in: with the one key of its order, once. Runs in the updater, in a callback
//! of libgit2; the server chooses how often it is asked and for what.

use super::failure::Fault;
use crate::audit::{Reason, Step};
use crate::brief::Key;
use git2::{Cred, CredentialType};

/// Answers the remote's questions for one connection.
pub struct Login<'a> {
    user: &'a str,
    key: Option<&'a Key>,
    offered: bool,
}

impl<'a> Login<'a> {
    /// `user` as the URL has it; the forges all say `git`.
    pub fn new(user: Option<&'a str>, key: Option<&'a Key>) -> Self {
        Self { user: user.unwrap_or("git"), key, offered: false }
    }

    /// One question.
    ///
    /// # Errors
    /// [`Reason::Auth`] where there is nothing more to offer: libgit2 asks again after each refusal.
    pub fn answer(&mut self, allowed: CredentialType) -> Result<Cred, Fault> {
        if allowed.contains(CredentialType::USERNAME) {
            return Cred::username(self.user).map_err(|error| refuse(error.message()));
        }
        if !allowed.contains(CredentialType::SSH_MEMORY) {
            return Err(refuse("the remote asks for a login, and there is none but ssh keys: is the repository public?"));
        }
        let Some(key) = self.key else {
            return Err(refuse("the remote asks for an ssh key, and the repository has none (sshPrivKey)"));
        };
        if std::mem::replace(&mut self.offered, true) {
            return Err(refuse(format!(
                "the remote refuses the ssh key for user {}: is it among the repository's deploy keys?",
                self.user
            )));
        }
        let text = |secret: &'a [u8], what: &str| std::str::from_utf8(secret).map_err(|_| refuse(format!("the {what} is not text")));
        let pem = text(key.pem.expose(), "ssh key")?;
        let passphrase = key.passphrase.as_ref().map(|secret| text(secret.expose(), "passphrase")).transpose()?;
        Cred::ssh_key_from_memory(self.user, None, pem, passphrase).map_err(|error| refuse(error.message()))
    }
}

fn refuse(message: impl Into<String>) -> Fault {
    Fault::new(Step::Fetch, Reason::Auth, message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::brief::Secret;

    #[test]
    fn a_key_is_offered_once() {
        let key = Key { pem: Secret::new(b"pem".to_vec()), passphrase: None };
        let mut login = Login::new(None, Some(&key));
        let ssh = CredentialType::SSH_KEY | CredentialType::SSH_MEMORY | CredentialType::SSH_CUSTOM;
        assert!(login.answer(CredentialType::USERNAME).is_ok());
        assert!(login.answer(ssh).is_ok());
        let fault = login.answer(ssh).err().unwrap();
        assert!(fault.message.contains("refuses the ssh key for user git"), "{fault}");
        assert_eq!(fault.reason, Reason::Auth);
    }

    #[test]
    fn without_a_key_nothing_is_offered() {
        let mut login = Login::new(Some("u"), None);
        assert!(login.answer(CredentialType::SSH_MEMORY).err().unwrap().message.contains("sshPrivKey"));
        assert!(login.answer(CredentialType::USER_PASS_PLAINTEXT).err().unwrap().message.contains("asks for a login"));
        assert!(login.answer(CredentialType::DEFAULT).is_err());
    }
}
