//! Which member is asked: the leader, as long as there is one and it can be reached. Its end is then
//! seen at once, and nothing is handed on to a leader that is dead.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hyper::header::HeaderValue;
use roverline_protocol::limits;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use crate::store::etcd::config::Place;
use crate::store::etcd::member::{Failed, Member, STATUS};
use crate::store::etcd::proto::{AuthenticateRequest, AuthenticateResponse, StatusRequest, StatusResponse};

/// The members, and the one that is asked now.
pub(super) struct Cluster {
    place: Place,
    known: Mutex<Known>,
    current: watch::Sender<Option<Arc<Member>>>,
    /// One looks for a leader, and the others wait for what it finds.
    search: tokio::sync::Mutex<()>,
}

/// What it takes to be let in.
struct Entrance {
    tls: Option<TlsConnector>,
    /// User and password.
    credentials: Option<(String, String)>,
}

#[derive(Default)]
struct Known {
    /// Read when it is first needed, and until that succeeds: a file that is missing may come.
    entrance: Option<Arc<Entrance>>,
    open: HashMap<usize, Arc<Member>>,
    /// The members' own numbers.
    ids: HashMap<usize, u64>,
    token: Option<HeaderValue>,
    /// Since when no member could be found.
    away: Option<Instant>,
    /// What was wrong when a member was asked last.
    wrong: String,
}

/// What a member says of itself.
struct Said {
    which: usize,
    member: Arc<Member>,
    id: u64,
    leader: u64,
}

impl Cluster {
    /// The cluster there. It is looked after in the background, until the last of these is gone.
    pub(super) fn new(place: Place) -> Arc<Cluster> {
        let cluster = Arc::new(Cluster {
            known: Mutex::default(),
            current: watch::Sender::new(None),
            search: tokio::sync::Mutex::new(()),
            place,
        });
        tokio::spawn(care(Arc::downgrade(&cluster)));
        cluster
    }

    /// With what all keys begin.
    pub(super) fn prefix(&self) -> &str {
        &self.place.prefix
    }

    /// The member that is asked, as it changes.
    pub(super) fn follow(&self) -> watch::Receiver<Option<Arc<Member>>> {
        self.current.subscribe()
    }

    /// The member to ask. If there is none until then: why.
    pub(super) async fn member(&self, until: Instant) -> Result<Arc<Member>, String> {
        let search = async {
            loop {
                if let Some(member) = self.open() {
                    return member;
                }
                let _search = self.search.lock().await;
                if let Some(member) = self.open() {
                    return member;
                }
                match self.survey().await {
                    Some(member) => self.use_from_now_on(&member),
                    None => {
                        let since = *self.lock().away.get_or_insert_with(Instant::now);
                        tokio::time::sleep(pause(since.elapsed())).await;
                    }
                }
            }
        };
        tokio::time::timeout_at(until, search).await.map_err(|_| match self.lock().wrong.as_str() {
            "" => "no member of the cluster answers".to_owned(),
            wrong => wrong.to_owned(),
        })
    }

    /// It is silent or without a leader: nobody waits for its answers any longer.
    fn give_up(&self, member: &Arc<Member>) {
        member.give_up();
        self.leave(member);
    }

    /// The next call looks for another member. Those that it has begun may still be answered.
    pub(super) fn leave(&self, member: &Arc<Member>) {
        self.current.send_if_modified(|current| {
            let is_this = current.as_ref().is_some_and(|current| Arc::ptr_eq(current, member));
            if is_this {
                *current = None;
            }
            is_this
        });
    }

    /// What proves who is asking, where that is needed.
    pub(super) async fn token(&self, member: &Member) -> Result<Option<HeaderValue>, Failed> {
        let entrance = self.entrance().map_err(Failed::NotSent)?;
        let Some((name, password)) = &entrance.credentials else { return Ok(None) };
        if let Some(token) = &self.lock().token {
            return Ok(Some(token.clone()));
        }
        let request = AuthenticateRequest { name: name.clone(), password: password.clone() };
        let within = Duration::from_millis(limits::ETCD_READ_MS);
        let answer = member.call::<AuthenticateResponse>("Auth/Authenticate", &request, None, within).await;
        // Whatever became of it: the call that it was for has not been sent.
        let answer = answer.map_err(|failed| match failed {
            Failed::Lost(why) => Failed::NotSent(why),
            other => other,
        })?;
        let mut token =
            HeaderValue::from_str(&answer.token).map_err(|error| Failed::NotSent(error.to_string()))?;
        token.set_sensitive(true);
        self.lock().token = Some(token.clone());
        Ok(Some(token))
    }

    /// The token is no longer taken.
    pub(super) fn forget_token(&self) {
        self.lock().token = None;
    }

    #[cfg(test)]
    pub(super) fn spoil_token(&self) {
        self.lock().token = Some(HeaderValue::from_static("no.token"));
    }

    fn entrance(&self) -> Result<Arc<Entrance>, String> {
        if let Some(entrance) = &self.lock().entrance {
            return Ok(entrance.clone());
        }
        let entrance = Entrance { tls: self.place.connector()?, credentials: self.place.credentials()? };
        let entrance = Arc::new(entrance);
        self.lock().entrance = Some(entrance.clone());
        Ok(entrance)
    }

    fn open(&self) -> Option<Arc<Member>> {
        self.current.borrow().clone().filter(|member| member.is_open())
    }

    fn use_from_now_on(&self, member: &Arc<Member>) {
        self.lock().away = None;
        self.current.send_if_modified(|current| {
            let is_other = !current.as_ref().is_some_and(|current| Arc::ptr_eq(current, member));
            if is_other {
                tracing::debug!(member = member.address, "this member of etcd is asked");
                *current = Some(member.clone());
            }
            is_other
        });
    }

    /// Asks all members who leads; the one to ask from now on.
    async fn survey(&self) -> Option<Arc<Member>> {
        let mut asked: FuturesUnordered<_> =
            (0..self.place.members.len()).map(|which| self.ask_status(which)).collect();
        let mut said = Vec::new();
        while let Some(answer) = asked.next().await {
            match answer {
                Ok(answer) if answer.leader != 0 && answer.leader == answer.id => return Some(answer.member),
                Ok(answer) => said.push(answer),
                Err(why) => self.lock().wrong = why,
            }
        }
        let ids: HashMap<usize, u64> = self.lock().ids.clone();
        // Nobody who answered leads. A leader that should have answered is dead or not one yet; another
        // one is where we were not told to look, and is reached through those who follow it.
        let unlisted = |leader: u64| leader != 0 && !ids.values().any(|id| *id == leader);
        let found = said.iter().find(|said| unlisted(said.leader));
        if found.is_none() && !said.is_empty() {
            self.lock().wrong = "the cluster has no leader".to_owned();
        }
        found.map(|said| said.member.clone())
    }

    async fn ask_status(&self, which: usize) -> Result<Said, String> {
        let why = |failed: Failed| match failed {
            Failed::NotSent(why) | Failed::Lost(why) | Failed::Status(_, why) => why,
            Failed::TooBig => "its status is too large".to_owned(),
        };
        let entrance = self.entrance()?;
        let open = self.lock().open.get(&which).filter(|member| member.is_open()).cloned();
        let member = match (open, self.place.members.get(which)) {
            (Some(member), _) => member,
            (None, Some(place)) => {
                Arc::new(Member::connect(place, entrance.tls.as_ref()).await.map_err(why)?)
            }
            (None, None) => return Err("there is no such member".to_owned()),
        };
        let within = Duration::from_millis(limits::ETCD_PROBE_MS);
        let said = match status_of(&member, within).await {
            Ok((id, leader)) => Said { which, member, id, leader },
            Err(failed) => {
                // Perhaps the connection is dead, and a new one is not.
                self.lock().open.remove(&which);
                return Err(why(failed));
            }
        };
        let mut known = self.lock();
        known.ids.insert(said.which, said.id);
        known.open.insert(said.which, said.member.clone());
        drop(known);
        Ok(said)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long to wait before members are asked again, of which none could be used for this long: an
/// election is over soon, and a cluster that is away for long is not asked all the time.
fn pause(away: Duration) -> Duration {
    (away / 8)
        .clamp(Duration::from_millis(limits::ETCD_SEARCH_MS), Duration::from_millis(limits::ETCD_AWAY_MS))
}

/// A member's number, and that of who leads it.
async fn status_of(member: &Member, within: Duration) -> Result<(u64, u64), Failed> {
    let status: StatusResponse = member.call(STATUS, &StatusRequest {}, None, within).await?;
    Ok((status.header.map_or(0, |header| header.member_id), status.leader))
}

/// Sees that the member in use is alive and leads; finds another one if not, before it is needed.
async fn care(cluster: Weak<Cluster>) {
    loop {
        tokio::time::sleep(Duration::from_millis(limits::ETCD_CARE_MS)).await;
        let Some(cluster) = cluster.upgrade() else { return };
        let Some(member) = cluster.current.borrow().clone() else { continue };
        match status_of(&member, Duration::from_millis(limits::ETCD_SILENCE_MS)).await {
            Ok((id, leader)) if id == leader => continue,
            // What it was asked before it lost its leader is most likely lost as well.
            Ok((_, 0)) => cluster.give_up(&member),
            // It follows another one, which is better asked itself.
            Ok(_) => {}
            Err(failed) => {
                tracing::warn!(member = member.address, ?failed, "a member of etcd is silent");
                cluster.give_up(&member);
            }
        }
        let _search = cluster.search.lock().await;
        if let Some(member) = cluster.survey().await {
            cluster.use_from_now_on(&member);
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
