//! Access control: roles, the tokens that authenticate them, and what each role may publish, call and set.
//!
//! Anyone who can reach a port may read. Everything else requires a role: a token grants it, and without a
//! token the configured role of the client's computer applies.

mod attempts;
mod credential;
pub mod credentials;
mod error;
pub mod forwarded;
mod holder_name;
pub mod jwt;
pub mod jwt_keys;
pub mod known_tokens;
mod last_use;
mod own_names;
mod page;
mod peer;
mod settings_error;
mod token_file;
pub mod tokens;
pub mod transport;
mod utc;
mod watched_file;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::header::HeaderMap;
use roverline_protocol::routing::topic_glob;
use roverline_protocol::topic_pattern::TopicPattern;
use serde::{Deserialize, Serialize};

pub use crate::access::attempts::Attempts;
pub use crate::access::credential::{CertificateSerial, Credential};
pub use crate::access::error::{AuthenticationError, PermissionDenied};
use crate::access::forwarded::{TRUSTED_PROXY_ENTRIES, TrustedProxies, Via, proxy_network};
pub use crate::access::holder_name::{NameError, check_name};
use crate::access::jwt::JwtSettings;
use crate::access::known_tokens::KnownTokens;
pub use crate::access::last_use::{LastUses, read_last_uses};
pub use crate::access::own_names::HostError;
use crate::access::own_names::{HOST_ENTRIES, OwnNames};
pub use crate::access::page::Page;
pub use crate::access::peer::Peer;
pub use crate::access::settings_error::AccessError;
pub use crate::access::token_file::{TokenHolder, add_token, revoke_token, rotate_token, token_holders};
pub use crate::access::tokens::TokenError;
pub use crate::access::utc::{format_utc, parse_utc};

/// A client's level of trust; each role includes the permissions of those before it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// May read.
    #[default]
    Observer,
    /// May drive: publish, call, set, stop.
    Operator,
    /// May overrule operators.
    Commander,
}

impl Role {
    /// The name used in configuration and documents.
    pub const fn name(self) -> &'static str {
        match self {
            Role::Observer => "observer",
            Role::Operator => "operator",
            Role::Commander => "commander",
        }
    }
}

/// The `[access]` section of the configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccessSettings {
    /// The role of a client on this computer without a token.
    pub loopback: Role,
    /// The role of a client on another computer without a token.
    pub remote: Role,
    /// The token file, readable by its owner only.
    pub tokens: Option<std::path::PathBuf>,
    /// The minimum role to engage the emergency stop.
    pub engage_stop: Role,
    /// The minimum role to release it.
    pub release_stop: Role,
    /// Whether tokens may come from other computers without TLS, where others on the network can read them.
    pub insecure: bool,
    /// Origins whose pages may use the API from a browser (CORS, and over a WebSocket):
    /// `http://192.168.1.5:3000`.
    pub origins: Vec<String>,
    /// Names in the public DNS under which pages of this gateway are opened: `rover.lab.example`.
    pub hosts: Vec<String>,
    /// Addresses and networks of proxies whose word on a client's address is taken.
    pub trusted_proxies: Vec<String>,
    /// JSON Web Tokens as a second kind of token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwt: Option<JwtSettings>,
    /// Permissions by role; if empty, operators and commanders may do everything.
    pub allow: Vec<AllowRule>,
}

impl Default for AccessSettings {
    fn default() -> Self {
        AccessSettings {
            loopback: Role::Commander,
            remote: Role::Observer,
            tokens: None,
            engage_stop: Role::Operator,
            release_stop: Role::Operator,
            insecure: false,
            origins: Vec::new(),
            hosts: Vec::new(),
            trusted_proxies: Vec::new(),
            jwt: None,
            allow: Vec::new(),
        }
    }
}

/// Permissions of a role and the roles above it, as globs of names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AllowRule {
    /// The minimum role.
    pub role: Role,
    /// Topics it may publish.
    pub publish: Vec<String>,
    /// Services and actions it may call and advertise.
    pub call: Vec<String>,
    /// Nodes whose parameters it may set.
    pub set: Vec<String>,
}

/// A permission, with the name of its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission<'a> {
    /// Publish this topic.
    Publish(&'a str),
    /// Call or advertise this service or action.
    Call(&'a str),
    /// Set parameters of this node.
    Set(&'a str),
    /// Engage the emergency stop.
    EngageStop,
    /// Release it.
    ReleaseStop,
    /// Change shared coordination state: locks, queues, values, the directory.
    Share(&'a str),
    /// Overrule other clients: release their locks, discard their work.
    Overrule(&'a str),
}

/// An authenticated or anonymous client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The client's role.
    pub role: Role,
    /// The name that belongs to its token; empty without a token.
    pub name: String,
    /// The credential that proved it.
    pub credential: Credential,
}

struct Rule {
    role: Role,
    publish: Vec<TopicPattern>,
    call: Vec<TopicPattern>,
    set: Vec<TopicPattern>,
}

/// The access rules.
pub struct Access {
    loopback: Role,
    remote: Role,
    engage_stop: Role,
    release_stop: Role,
    insecure: bool,
    origins: Vec<String>,
    names: OwnNames,
    rules: Option<Vec<Rule>>,
    tokens: KnownTokens,
    attempts: Attempts,
    proxies: TrustedProxies,
}

impl Access {
    /// Builds the rules from settings and reads the token file.
    pub fn new(settings: &AccessSettings) -> Result<Access, AccessError> {
        let globs = |patterns: &[String]| {
            let compile = |text: &String| {
                topic_glob(text)
                    .map_err(|error| AccessError::Glob { glob: text.clone(), reason: error.to_string() })
            };
            patterns.iter().map(compile).collect::<Result<Vec<_>, _>>()
        };
        let rule = |allow: &AllowRule| {
            let (publish, call, set) = (globs(&allow.publish)?, globs(&allow.call)?, globs(&allow.set)?);
            Ok::<_, AccessError>(Rule { role: allow.role, publish, call, set })
        };
        let rules = settings.allow.iter().map(rule).collect::<Result<Vec<_>, _>>()?;
        Ok(Access {
            loopback: settings.loopback,
            remote: settings.remote,
            engage_stop: settings.engage_stop,
            release_stop: settings.release_stop,
            insecure: settings.insecure,
            origins: settings.origins.clone(),
            names: own_names(&settings.hosts)?,
            rules: (!rules.is_empty()).then_some(rules),
            tokens: KnownTokens::open(settings)?,
            attempts: Attempts::default(),
            proxies: trusted_proxies(&settings.trusted_proxies)?,
        })
    }

    /// The client of a request with these header fields from this socket, at `now` (monotonic). The names of the
    /// gateway's certificate are names of this rover.
    pub fn peer(
        &self,
        socket: SocketAddr,
        headers: &HeaderMap,
        certificate_names: &[String],
        now: Duration,
    ) -> Peer {
        let (address, via) = self.proxies.resolve(socket, headers, now);
        let is_own = |host: &str| self.names.has(host, certificate_names);
        let page = page::page(headers, is_own, |origin| self.allows_origin(origin));
        Peer::new(address, via, page)
    }

    /// The trusted proxies, and what came through others.
    pub fn proxies(&self) -> &TrustedProxies {
        &self.proxies
    }

    /// The identity of a client without a token. One that another site's page connected in a browser may only
    /// read, and so may one behind a proxy that is not trusted.
    pub fn anonymous_identity(&self, peer: Peer) -> Identity {
        let role = match peer.is_local() {
            _ if peer.page() != Page::Own || peer.via() == Via::UnknownProxy => Role::Observer,
            true => self.loopback,
            false => self.remote,
        };
        Identity { role, ..Identity::default() }
    }

    /// Identifies the holder of a token that a client at this address shows, at `now` (monotonic). Wrong ones
    /// are counted.
    pub fn authenticate(
        &self,
        token: &str,
        peer: IpAddr,
        now: Duration,
    ) -> Result<Identity, AuthenticationError> {
        let error = match self.tokens.identify(token) {
            Ok(identity) => return Ok(identity),
            Err(error) => error,
        };
        let is_attempt = match &error {
            AuthenticationError::UnknownToken => true,
            AuthenticationError::Jwt(error) => error.is_attempt(),
            _ => false,
        };
        let wait = is_attempt.then(|| self.attempts.record(peer, now)).flatten();
        Err(wait.map_or(error, AuthenticationError::TooManyAttempts))
    }

    /// The wrong tokens that were shown.
    pub fn attempts(&self) -> &Attempts {
        &self.attempts
    }

    /// Identifies the holder of a token, for the log.
    pub fn identify(&self, token: &str) -> Result<Identity, AuthenticationError> {
        self.tokens.identify(token)
    }

    /// The tokens that are known now.
    pub fn tokens(&self) -> &KnownTokens {
        &self.tokens
    }

    /// Whether pages of this origin may use the HTTP API from a browser.
    pub fn allows_origin(&self, origin: &str) -> bool {
        self.origins.iter().any(|allowed| allowed == origin)
    }

    /// Checks whether a role has a permission.
    pub fn authorize(&self, role: Role, permission: Permission<'_>) -> Result<(), PermissionDenied> {
        let matches = |globs: &[TopicPattern], name: &str| globs.iter().any(|glob| glob.is_match(name));
        let matches_rule = |pick: fn(&Rule) -> &Vec<TopicPattern>, name: &str| match &self.rules {
            None => role >= Role::Operator,
            Some(rules) => rules.iter().any(|rule| role >= rule.role && matches(pick(rule), name)),
        };
        let (allowed, what) = match permission {
            Permission::Publish(topic) => {
                (matches_rule(|rule| &rule.publish, topic), format!("publish {topic}"))
            }
            Permission::Call(service) => {
                let set = sets_parameters_of(service).is_none_or(|node| matches_rule(|rule| &rule.set, node));
                (set && matches_rule(|rule| &rule.call, service), format!("call {service}"))
            }
            Permission::Set(node) => {
                (matches_rule(|rule| &rule.set, node), format!("set parameters of {node}"))
            }
            Permission::EngageStop => (role >= self.engage_stop, "engage the emergency stop".to_owned()),
            Permission::ReleaseStop => (role >= self.release_stop, "release the emergency stop".to_owned()),
            Permission::Share(what) => (role >= Role::Operator, format!("change {what}")),
            Permission::Overrule(what) => (role >= Role::Commander, format!("overrule {what}")),
        };
        let what = what.chars().take(300).collect::<String>();
        let advice = match role {
            Role::Observer => "an observer may not; show a token",
            Role::Operator | Role::Commander => "your role has no such right",
        };
        if allowed { Ok(()) } else { Err(PermissionDenied(format!("you may not {what}: {advice}"))) }
    }
}

/// The configured names of this rover, and its computer's.
fn own_names(hosts: &[String]) -> Result<OwnNames, AccessError> {
    if hosts.len() > HOST_ENTRIES {
        return Err(AccessError::Hosts);
    }
    let computer = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Ok(OwnNames::new(hosts, &computer)?)
}

/// The configured proxies.
fn trusted_proxies(texts: &[String]) -> Result<TrustedProxies, AccessError> {
    if texts.len() > TRUSTED_PROXY_ENTRIES {
        return Err(AccessError::Proxies);
    }
    let network = |text: &String| proxy_network(text).ok_or_else(|| AccessError::Proxy(text.clone()));
    Ok(TrustedProxies::new(texts.iter().map(network).collect::<Result<_, _>>()?))
}

/// The node whose parameters are set by a call of this service: every node serves its own.
fn sets_parameters_of(service: &str) -> Option<&str> {
    let (node, own) = service.rsplit_once('/')?;
    matches!(own, "set_parameters" | "set_parameters_atomically").then_some(node)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_anonymous_client_has_the_role_of_its_computer() {
        let access = Access::new(&AccessSettings::default()).unwrap();
        let role = |access: &Access, socket: &str, fields: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.insert(*name, value.parse().unwrap());
            }
            let socket = SocketAddr::new(socket.parse().unwrap(), 5);
            access.anonymous_identity(access.peer(socket, &headers, &[], Duration::ZERO)).role
        };
        assert_eq!(role(&access, "127.0.0.1", &[]), Role::Commander);
        assert_eq!(role(&access, "::ffff:127.0.0.1", &[]), Role::Commander);
        assert_eq!(role(&access, "127.0.0.1", &[("origin", "http://evil.example")]), Role::Observer);
        assert_eq!(role(&access, "10.0.0.2", &[]), Role::Observer);
        // A proxy or a tunnel on this computer forwards unknown clients.
        assert_eq!(role(&access, "127.0.0.1", &[("via", "1.1 x")]), Role::Observer);
        let (remote, proxy) = (Role::Operator, vec!["127.0.0.1".to_owned()]);
        let trusting = AccessSettings { remote, trusted_proxies: proxy, ..AccessSettings::default() };
        let trusting = Access::new(&trusting).unwrap();
        for client in ["10.0.0.5", "127.0.0.1"] {
            assert_eq!(role(&trusting, "127.0.0.1", &[("x-forwarded-for", client)]), Role::Operator);
        }
        assert_eq!(role(&trusting, "127.0.0.1", &[("via", "1.1 x")]), Role::Observer);
        assert!(access.identify("").is_err() && access.identify("guess").is_err());
    }

    #[test]
    fn permissions_depend_on_role_and_name() {
        let access = Access::new(&AccessSettings::default()).unwrap();
        assert!(access.authorize(Role::Operator, Permission::Publish("/cmd_vel")).is_ok());
        let denied = access.authorize(Role::Observer, Permission::Publish("/cmd_vel")).unwrap_err();
        assert_eq!(denied.0, "you may not publish /cmd_vel: an observer may not; show a token");
        assert!(access.authorize(Role::Observer, Permission::EngageStop).is_err());
        let allow =
            |role, publish: &str| AllowRule { role, publish: vec![publish.into()], ..AllowRule::default() };
        let access = Access::new(&AccessSettings {
            allow: vec![allow(Role::Observer, "/chat"), allow(Role::Operator, "/cmd_*")],
            ..AccessSettings::default()
        })
        .unwrap();
        assert!(access.authorize(Role::Observer, Permission::Publish("/chat")).is_ok());
        assert!(access.authorize(Role::Observer, Permission::Publish("/cmd_vel")).is_err());
        assert!(access.authorize(Role::Commander, Permission::Publish("/cmd_vel")).is_ok());
        assert!(access.authorize(Role::Commander, Permission::Publish("/arm")).is_err());
        assert!(access.authorize(Role::Commander, Permission::Call("/chat")).is_err());
    }

    #[test]
    fn calling_a_nodes_parameter_service_requires_the_set_permission() {
        let (call, set) = (vec!["/**".to_owned()], vec!["/camera".to_owned()]);
        let allow = vec![AllowRule { role: Role::Operator, call, set, ..AllowRule::default() }];
        let access = Access::new(&AccessSettings { allow, ..AccessSettings::default() }).unwrap();
        let may = |service: &str| access.authorize(Role::Operator, Permission::Call(service)).is_ok();
        assert!(may("/arm/home") && may("/camera/set_parameters") && may("/arm/get_parameters"));
        assert!(!may("/arm/set_parameters") && !may("/arm/set_parameters_atomically"));
    }
}
