//! Our own token at a Vault or OpenBao server: obtained when first needed, renewed before it ends, replaced when the
//! server no longer knows it. One login at a time; failures are spaced out so that a use-limited credential is not burned.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use http::{HeaderMap, HeaderValue};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::login::{Account, Fresh};
use crate::backend::BackendError;

const BACKOFF_FIRST: Duration = Duration::from_millis(500);
const BACKOFF_LONGEST: Duration = Duration::from_secs(60);
/// How long a look-up that found our token valid is believed when calls are denied.
const TRUST: Duration = Duration::from_secs(5);
/// How long to wait after a login or renewal that failed.
const AGAIN: Duration = Duration::from_secs(2);
/// A renewal that gives less is the last one.
pub(super) const SHORTEST: Duration = Duration::from_secs(10);
/// What does not end; also what no lifetime can exceed, whatever a server says.
pub(super) const FOREVER: Duration = Duration::from_secs(365 * 86_400);

/// A token that works, as far as we know. Renewing it keeps the generation; a new login has another one.
#[derive(Clone)]
pub(super) struct Login {
    pub(super) generation: u64,
    pub(super) token: HeaderValue,
    /// When to renew and when it ends.
    pub(super) renew_at: Instant,
    pub(super) ends_at: Instant,
    pub(super) renewable: bool,
}

/// Keeps one token alive.
pub(super) struct Session {
    account: Account,
    login: ArcSwapOption<Login>,
    turn: Mutex<Turn>,
}

/// What only the one who logs in may touch.
#[derive(Default)]
struct Turn {
    generation: u64,
    validated: Option<Instant>,
    not_before: Option<Instant>,
    backoff: Option<Duration>,
    /// The last login failed because the server refused our credential.
    is_refused: bool,
}

impl Session {
    pub(super) fn new(account: Account) -> Self {
        Self { account, login: ArcSwapOption::empty(), turn: Mutex::default() }
    }

    pub(super) const fn account(&self) -> &Account {
        &self.account
    }

    /// The token there is, if any.
    pub(super) fn current(&self) -> Option<Arc<Login>> {
        self.login.load_full()
    }

    /// Headers with a live token, logging in first if there is none.
    pub(super) async fn signed(self: &Arc<Self>) -> Result<(HeaderMap, Arc<Login>), BackendError> {
        let login = match self.login.load_full() {
            Some(login) if Instant::now() < login.ends_at => login,
            _ => self.detached(|session| async move { session.replace(None, false).await }).await?,
        };
        Ok((self.account.headers(Some(&login.token)), login))
    }

    /// Called when the server answered 403 under `login`: finds out whether the token is gone. `true` means there is a new
    /// one and the call may be tried again.
    pub(super) async fn suspect(self: &Arc<Self>, login: &Login) -> Result<bool, BackendError> {
        let generation = login.generation;
        self.detached(move |session| async move { session.revalidate(generation).await }).await
    }

    /// Renews the token ahead of its end, for as long as the backend exists.
    pub(super) async fn tend(self: &Arc<Self>) {
        loop {
            let next = self.keep().await;
            tokio::time::sleep_until(next).await;
        }
    }

    /// Logs in or renews if that is due; yields when to look again.
    pub(super) async fn keep(self: &Arc<Self>) -> Instant {
        let done = match self.login.load_full() {
            None => self.detached(|session| async move { session.replace(None, false).await }).await.map(|_| ()),
            Some(login) if Instant::now() < login.renew_at => Ok(()),
            Some(login) => {
                let generation = login.generation;
                self.detached(move |session| async move { session.renew(generation).await }).await
            }
        };
        let now = Instant::now();
        match (done, self.login.load_full()) {
            (Ok(()), Some(login)) => login.renew_at.max(now + Duration::from_millis(100)),
            _ => now + jitter(AGAIN),
        }
    }

    /// Runs on its own task: a caller that gives up must not cut a login in half.
    async fn detached<T, F, Fut>(self: &Arc<Self>, work: F) -> Result<T, BackendError>
    where
        T: Send + 'static,
        F: FnOnce(Arc<Self>) -> Fut,
        Fut: Future<Output = Result<T, BackendError>> + Send + 'static,
    {
        tokio::spawn(work(self.clone())).await.unwrap_or(Err(BackendError::Login("the login task ended")))
    }

    async fn revalidate(self: Arc<Self>, generation: u64) -> Result<bool, BackendError> {
        {
            let mut turn = self.turn.lock().await;
            let Some(login) = self.login.load_full() else { return Ok(false) };
            if login.generation != generation {
                return Ok(true);
            }
            if turn.validated.is_some_and(|at| at.elapsed() < TRUST) {
                return Ok(false);
            }
            if self.account.knows(&login.token).await? {
                turn.validated = Some(Instant::now());
                return Ok(false);
            }
        }
        self.replace(Some(generation), true).await.map(|_| true)
    }

    /// Logs in unless somebody else just did. `stale` is a generation that must not be given back;
    /// `revoked` says that the server no longer knows it.
    async fn replace(self: Arc<Self>, stale: Option<u64>, revoked: bool) -> Result<Arc<Login>, BackendError> {
        let mut turn = self.turn.lock().await;
        if let Some(login) = self.login.load_full()
            && Instant::now() < login.ends_at
            && stale != Some(login.generation)
        {
            return Ok(login);
        }
        let now = Instant::now();
        if turn.not_before.is_some_and(|at| now < at) {
            // who waits is told what is in the way: a server that refuses us is not one that is gone
            let waits = BackendError::Login("the last login failed; the next one waits");
            return Err(if turn.is_refused { BackendError::REFUSED_LOGIN } else { waits });
        }
        match self.account.log_in().await {
            Ok(fresh) => {
                let generation = turn.generation + 1;
                *turn = Turn { generation, ..Turn::default() };
                let login = Arc::new(Login::new(generation, fresh));
                self.login.store(Some(login.clone()));
                Ok(login)
            }
            Err(error) => {
                let wait = turn.backoff.map_or(BACKOFF_FIRST, |last| (last * 2).min(BACKOFF_LONGEST));
                turn.backoff = Some(wait);
                turn.not_before = Some(Instant::now() + jitter(wait));
                turn.is_refused = error.is_refusal();
                // a token that only could not be renewed goes on until it ends
                let gone = |login: &Login| revoked || Instant::now() >= login.ends_at;
                if self.login.load().as_deref().is_none_or(gone) {
                    self.login.store(None);
                }
                tracing::warn!(error = %error, "login at the backend failed");
                Err(error)
            }
        }
    }

    async fn renew(self: Arc<Self>, generation: u64) -> Result<(), BackendError> {
        let Some(login) = self.login.load_full().filter(|login| login.generation == generation) else { return Ok(()) };
        if login.renewable
            && let Ok(fresh) = self.account.renew(&login.token).await
        {
            let _turn = self.turn.lock().await;
            if self.login.load_full().is_none_or(|current| current.generation != generation) {
                return Ok(());
            }
            let renewed = Login::new(generation, fresh);
            // a renewal that no longer gives time is followed by a login before the end
            if renewed.ends_at > login.ends_at || renewed.ends_at > Instant::now() + SHORTEST {
                self.login.store(Some(Arc::new(renewed)));
                return Ok(());
            }
        }
        self.replace(Some(generation), false).await.map(|_| ())
    }
}

impl Login {
    pub(super) fn new(generation: u64, fresh: Fresh) -> Self {
        let ttl = if fresh.ttl.is_zero() { FOREVER } else { fresh.ttl.min(FOREVER) };
        let now = Instant::now();
        let renew_at = now + jitter(ttl * 2 / 3);
        Self { generation, token: fresh.token, renew_at, ends_at: now + ttl, renewable: fresh.renewable }
    }

    /// The same, to be looked at again a little later.
    pub(super) fn postponed(&self) -> Self {
        Self { renew_at: Instant::now() + jitter(AGAIN), ..self.clone() }
    }
}

/// Up to a tenth less, so that many processes do not act in step.
fn jitter(around: Duration) -> Duration {
    let mut byte = [0; 1];
    let _uniform_enough = getrandom::fill(&mut byte);
    around.saturating_sub(around / 10 * u32::from(byte.first().copied().unwrap_or(0)) / 255)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::backend::{HttpClient, HttpSettings, client_config};
    use crate::secret::SecretValue;
    use crate::wire::vault::login::{AuthMethod, CredentialSource};

    fn login(ttl: Duration) -> Login {
        Login::new(1, Fresh { token: HeaderValue::from_static("made-up"), ttl, renewable: true })
    }

    #[tokio::test(start_paused = true)]
    async fn v19_a_token_is_renewed_after_two_thirds_of_its_time_or_a_little_earlier() {
        let now = Instant::now();
        let hour = login(Duration::from_secs(3600));
        assert_eq!(hour.ends_at - now, Duration::from_secs(3600));
        let early = hour.renew_at - now;
        assert!(early <= Duration::from_secs(2400) && early >= Duration::from_secs(2160), "{early:?}");
    }

    /// A session at a server that answers every login so; `None` hangs up.
    async fn session(answer: Option<&'static str>) -> (Arc<Session>, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = url::Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let logins = Arc::new(AtomicUsize::new(0));
        let counted = logins.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let _heard = stream.read(&mut [0; 4096]).await;
                if let Some(status) = answer {
                    let text = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}");
                    let _told = stream.write_all(text.as_bytes()).await;
                }
            }
        });
        let tls = client_config(None, None, false).unwrap();
        let http = HttpClient::new(HttpSettings { tls, connect_timeout: Duration::from_secs(5) }).unwrap();
        let source: CredentialSource = Arc::new(|| Ok(SecretValue::copy_of(br#"{"token":"made-up"}"#)));
        let account = Account::new(http, endpoint, None, AuthMethod::Token(source));
        (Arc::new(Session::new(account)), logins)
    }

    #[tokio::test]
    async fn who_waits_after_a_refused_login_is_told_of_the_refusal() {
        for (answer, is_refusal) in [
            (Some("403 Forbidden"), true),
            (Some("400 Bad Request"), true),
            (Some("429 Too Many Requests"), false),
            (Some("503 Service Unavailable"), false),
            (None, false),
        ] {
            let (session, logins) = session(answer).await;
            let first = session.signed().await.map(drop).unwrap_err();
            let asked = logins.load(Ordering::SeqCst);
            let second = session.signed().await.map(drop).unwrap_err();
            let third = session.signed().await.map(drop).unwrap_err();
            let refusals = [first, second, third].map(|error| error.is_refusal());
            assert_eq!(refusals, [is_refusal; 3], "{answer:?}");
            assert_eq!(logins.load(Ordering::SeqCst), asked, "the server is left alone meanwhile: {answer:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn lifetimes_that_no_clock_can_hold_are_a_year() {
        let now = Instant::now();
        for ttl in [Duration::ZERO, Duration::from_secs(u64::MAX)] {
            assert_eq!(login(ttl).ends_at - now, FOREVER);
        }
    }
}
