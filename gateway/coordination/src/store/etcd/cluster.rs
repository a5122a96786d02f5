//! Selects the cluster member to send requests to: the leader, as long as there is one and it is reachable.
//! Its failure is then noticed at once, and no other member forwards requests to a dead leader.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hyper::header::HeaderValue;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use crate::limits;
use crate::store::etcd::config::{CredentialsError, EtcdConfig};
use crate::store::etcd::member::{Member, STATUS, TransportError};
use crate::store::etcd::proto::{AuthenticateRequest, AuthenticateResponse, StatusRequest, StatusResponse};

/// Interval of health checks of the member in use.
const ETCD_HEALTH_CHECK_MS: u64 = 300;
/// Silence after which a member is abandoned. Longer than the scheduling stalls of a busy computer.
const ETCD_SILENCE_MS: u64 = 1_000;
/// Later interval of the search while there is no leader.
const ETCD_SLOW_SEARCH_MS: u64 = 500;

/// The members, and the one currently in use.
pub(super) struct Cluster {
    config: EtcdConfig,
    state: Mutex<State>,
    current: watch::Sender<Option<Arc<Member>>>,
    /// One task searches for a leader; the others wait for its result.
    search: tokio::sync::Mutex<()>,
}

/// No member of the cluster can be used; the reason that the last attempt gave.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct NoMember(String);

/// The means to connect and authenticate.
struct Credentials {
    tls: Option<TlsConnector>,
    /// User and password.
    login: Option<(String, String)>,
}

#[derive(Default)]
struct State {
    /// Loaded on first use, and retried until it succeeds: a missing file may appear later.
    credentials: Option<Arc<Credentials>>,
    open: HashMap<usize, Arc<Member>>,
    /// The members' own ids.
    ids: HashMap<usize, u64>,
    token: Option<HeaderValue>,
    /// Since when no usable member has been found.
    unavailable_since: Option<Instant>,
    /// The last failure of a member.
    last_error: String,
}

/// A member's status.
struct MemberStatus {
    index: usize,
    member: Arc<Member>,
    id: u64,
    leader: u64,
}

impl Cluster {
    /// Starts a health check in the background, which ends with the last reference to the cluster.
    pub(super) fn new(config: EtcdConfig) -> Arc<Cluster> {
        let cluster = Arc::new(Cluster {
            state: Mutex::default(),
            current: watch::Sender::new(None),
            search: tokio::sync::Mutex::new(()),
            config,
        });
        tokio::spawn(health_check_loop(Arc::downgrade(&cluster)));
        cluster
    }

    /// The prefix of all keys.
    pub(super) fn prefix(&self) -> &str {
        &self.config.prefix
    }

    /// The member in use, as it changes.
    pub(super) fn follow(&self) -> watch::Receiver<Option<Arc<Member>>> {
        self.current.subscribe()
    }

    /// The member to send requests to; an error if none is found before `until`.
    pub(super) async fn member(&self, until: Instant) -> Result<Arc<Member>, NoMember> {
        let search = async {
            loop {
                if let Some(member) = self.open() {
                    return member;
                }
                let _search = self.search.lock().await;
                if let Some(member) = self.open() {
                    return member;
                }
                match self.find_leader().await {
                    Some(member) => self.set_current(&member),
                    None => {
                        let since = *self.state.lock().unavailable_since.get_or_insert_with(Instant::now);
                        tokio::time::sleep(pause(since.elapsed())).await;
                    }
                }
            }
        };
        tokio::time::timeout_at(until, search).await.map_err(|_| {
            match self.state.lock().last_error.as_str() {
                "" => NoMember("no member of the cluster answers".to_owned()),
                last_error => NoMember(last_error.to_owned()),
            }
        })
    }

    /// The member is silent or has no leader: pending calls stop waiting for it.
    fn give_up(&self, member: &Arc<Member>) {
        member.give_up();
        self.abandon_member(member);
    }

    /// The next call selects another member. Pending calls to this one may still be answered.
    pub(super) fn abandon_member(&self, member: &Arc<Member>) {
        self.current.send_if_modified(|current| {
            let is_this = current.as_ref().is_some_and(|current| Arc::ptr_eq(current, member));
            if is_this {
                *current = None;
            }
            is_this
        });
    }

    /// The token of an authenticated session, if the cluster requires one.
    pub(super) async fn token(&self, member: &Member) -> Result<Option<HeaderValue>, TransportError> {
        let credentials = self.credentials().map_err(|error| TransportError::NotSent(error.to_string()))?;
        let Some((name, password)) = &credentials.login else { return Ok(None) };
        if let Some(token) = &self.state.lock().token {
            return Ok(Some(token.clone()));
        }
        let request = AuthenticateRequest { name: name.clone(), password: password.clone() };
        let within = Duration::from_millis(limits::ETCD_READ_MS);
        let answer = member.call::<AuthenticateResponse>("Auth/Authenticate", &request, None, within).await;
        // In any case the call that needs the token has not been sent.
        let answer = answer.map_err(|failed| match failed {
            TransportError::Lost(why) => TransportError::NotSent(why),
            other => other,
        })?;
        let mut token = HeaderValue::from_str(&answer.token)
            .map_err(|error| TransportError::NotSent(error.to_string()))?;
        token.set_sensitive(true);
        self.state.lock().token = Some(token.clone());
        Ok(Some(token))
    }

    /// The cluster has rejected the token.
    pub(super) fn discard_token(&self) {
        self.state.lock().token = None;
    }

    #[cfg(test)]
    pub(super) fn invalidate_token(&self) {
        self.state.lock().token = Some(HeaderValue::from_static("no.token"));
    }

    fn credentials(&self) -> Result<Arc<Credentials>, CredentialsError> {
        if let Some(credentials) = &self.state.lock().credentials {
            return Ok(credentials.clone());
        }
        let credentials = Credentials { tls: self.config.connector()?, login: self.config.credentials()? };
        let credentials = Arc::new(credentials);
        self.state.lock().credentials = Some(credentials.clone());
        Ok(credentials)
    }

    fn open(&self) -> Option<Arc<Member>> {
        self.current.borrow().clone().filter(|member| member.is_open())
    }

    fn set_current(&self, member: &Arc<Member>) {
        self.state.lock().unavailable_since = None;
        self.current.send_if_modified(|current| {
            let is_other = !current.as_ref().is_some_and(|current| Arc::ptr_eq(current, member));
            if is_other {
                tracing::debug!(member = member.address, "this etcd member is used from now on");
                *current = Some(member.clone());
            }
            is_other
        });
    }

    /// Requests the status of all members and returns the one to use from now on.
    async fn find_leader(&self) -> Option<Arc<Member>> {
        let mut requests: FuturesUnordered<_> =
            (0..self.config.members.len()).map(|index| self.request_status(index)).collect();
        let mut statuses = Vec::new();
        while let Some(answer) = requests.next().await {
            match answer {
                Ok(answer) if answer.leader != 0 && answer.leader == answer.id => return Some(answer.member),
                Ok(answer) => statuses.push(answer),
                Err(error) => self.state.lock().last_error = error.to_string(),
            }
        }
        let ids: HashMap<usize, u64> = self.state.lock().ids.clone();
        // None of the members that answered leads. A leader that should have answered is dead or not elected
        // yet; a leader that is not configured is reached through its followers.
        let unlisted = |leader: u64| leader != 0 && !ids.values().any(|id| *id == leader);
        let found = statuses.iter().find(|status| unlisted(status.leader));
        if found.is_none() && !statuses.is_empty() {
            self.state.lock().last_error = "the cluster has no leader".to_owned();
        }
        found.map(|status| status.member.clone())
    }

    async fn request_status(&self, index: usize) -> Result<MemberStatus, TransportError> {
        let credentials = self.credentials().map_err(|error| TransportError::NotSent(error.to_string()))?;
        let open = self.state.lock().open.get(&index).filter(|member| member.is_open()).cloned();
        let member = match (open, self.config.members.get(index)) {
            (Some(member), _) => member,
            (None, Some(address)) => Arc::new(Member::connect(address, credentials.tls.as_ref()).await?),
            (None, None) => return Err(TransportError::NotSent("there is no such member".to_owned())),
        };
        let within = Duration::from_millis(limits::ETCD_PROBE_MS);
        let status = match status_of(&member, within).await {
            Ok((id, leader)) => MemberStatus { index, member, id, leader },
            Err(failed) => {
                // The connection may be dead, and a new one may work.
                self.state.lock().open.remove(&index);
                return Err(failed);
            }
        };
        let mut state = self.state.lock();
        state.ids.insert(status.index, status.id);
        state.open.insert(status.index, status.member.clone());
        drop(state);
        Ok(status)
    }
}

/// The delay before members are tried again, given for how long none could be used: an election is soon
/// over, and a cluster that has been unavailable for long is not polled all the time.
fn pause(away: Duration) -> Duration {
    (away / 8)
        .clamp(Duration::from_millis(limits::ETCD_SEARCH_MS), Duration::from_millis(ETCD_SLOW_SEARCH_MS))
}

/// The ids of a member and of its leader.
async fn status_of(member: &Member, within: Duration) -> Result<(u64, u64), TransportError> {
    let status: StatusResponse = member.call(STATUS, &StatusRequest {}, None, within).await?;
    Ok((status.header.map_or(0, |header| header.member_id), status.leader))
}

/// Checks that the current member is alive and leads, and switches to another one before it is needed.
async fn health_check_loop(cluster: Weak<Cluster>) {
    loop {
        tokio::time::sleep(Duration::from_millis(ETCD_HEALTH_CHECK_MS)).await;
        let Some(cluster) = cluster.upgrade() else { return };
        let Some(member) = cluster.current.borrow().clone() else { continue };
        match status_of(&member, Duration::from_millis(ETCD_SILENCE_MS)).await {
            Ok((id, leader)) if id == leader => continue,
            // Calls sent before it lost its leader are most likely lost as well.
            Ok((_, 0)) => cluster.give_up(&member),
            // It follows another member, which is better used directly.
            Ok(_) => {}
            Err(failed) => {
                tracing::warn!(member = member.address, ?failed, "a member of etcd is silent");
                cluster.give_up(&member);
            }
        }
        let _search = cluster.search.lock().await;
        if let Some(member) = cluster.find_leader().await {
            cluster.set_current(&member);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_that_is_away_for_long_is_asked_less_often() {
        let paused_ms = |away_ms| pause(Duration::from_millis(away_ms)).as_millis();
        assert_eq!([0, 200, 800, 4_000, 3_600_000].map(paused_ms), [25, 25, 100, 500, 500]);
    }
}
