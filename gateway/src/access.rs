//! Who may do what: roles, the tokens that prove them, and what each role may publish, call and set.
//!
//! Everybody who reaches a port may look. Everything else takes a role: a token proves it, and without
//! one a client has the role that its computer has by configuration.

mod tokens;

use std::net::IpAddr;

use globset::GlobMatcher;
use roverline_protocol::routing::topic_glob;
use serde::{Deserialize, Serialize};

pub use crate::access::tokens::{Tokens, add_token};

/// What a client may be trusted with; each role has the rights of those before it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// May look.
    #[default]
    Observer,
    /// May drive: publish, call, set, stop.
    Operator,
    /// May overrule operators.
    Commander,
}

impl Role {
    /// The word used in configuration and documents.
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
    /// The role of a client on this computer that shows no token.
    pub loopback: Role,
    /// The role of a client elsewhere that shows no token.
    pub remote: Role,
    /// The file with the tokens, readable by its owner only.
    pub tokens: Option<std::path::PathBuf>,
    /// The least role that may engage the emergency stop.
    pub engage_stop: Role,
    /// The least role that may release it.
    pub release_stop: Role,
    /// Pages of these sites may use the HTTP API from a browser (CORS): `http://192.168.1.5:3000`.
    pub origins: Vec<String>,
    /// What roles may do; with none, operators and commanders may do everything.
    pub allow: Vec<Allow>,
}

impl Default for AccessSettings {
    fn default() -> Self {
        AccessSettings {
            loopback: Role::Commander,
            remote: Role::Observer,
            tokens: None,
            engage_stop: Role::Operator,
            release_stop: Role::Operator,
            origins: Vec::new(),
            allow: Vec::new(),
        }
    }
}

/// What a role, and those above it, may do: globs of names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Allow {
    /// The least role.
    pub role: Role,
    /// Topics it may publish.
    pub publish: Vec<String>,
    /// Services and actions it may call and offer.
    pub call: Vec<String>,
    /// Nodes whose parameters it may set.
    pub set: Vec<String>,
}

/// What a client wants to do, and to what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed<'a> {
    /// Publish this topic.
    Publish(&'a str),
    /// Call or offer this service or action.
    Call(&'a str),
    /// Set parameters of this node.
    Set(&'a str),
    /// Engage the emergency stop.
    EngageStop,
    /// Release it.
    ReleaseStop,
    /// Change what the team shares: locks, queues, values, the directory.
    Share(&'a str),
    /// Overrule others of the team: take their lock, throw away their work.
    Overrule(&'a str),
}

/// Who a client is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// What it may be trusted with.
    pub role: Role,
    /// The name that belongs to its token; empty without one.
    pub name: String,
}

/// Why somebody may not do something; the text says what would help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Denied(pub String);

struct Rule {
    role: Role,
    publish: Vec<GlobMatcher>,
    call: Vec<GlobMatcher>,
    set: Vec<GlobMatcher>,
}

/// Who may do what.
pub struct Access {
    loopback: Role,
    remote: Role,
    engage_stop: Role,
    release_stop: Role,
    origins: Vec<String>,
    rules: Option<Vec<Rule>>,
    tokens: Tokens,
}

impl Access {
    /// From settings; reads the tokens' file. An error is a sentence.
    pub fn new(settings: &AccessSettings) -> Result<Access, String> {
        let globs = |patterns: &[String]| {
            let compile = |text: &String| topic_glob(text).map_err(|why| format!("'{text}': {why}"));
            patterns.iter().map(compile).collect::<Result<Vec<_>, _>>()
        };
        let rule = |allow: &Allow| {
            let (publish, call, set) = (globs(&allow.publish)?, globs(&allow.call)?, globs(&allow.set)?);
            Ok::<_, String>(Rule { role: allow.role, publish, call, set })
        };
        let rules = settings.allow.iter().map(rule).collect::<Result<Vec<_>, _>>()?;
        let tokens = settings.tokens.as_deref().map(Tokens::read).transpose()?.unwrap_or_default();
        Ok(Access {
            loopback: settings.loopback,
            remote: settings.remote,
            engage_stop: settings.engage_stop,
            release_stop: settings.release_stop,
            origins: settings.origins.clone(),
            rules: (!rules.is_empty()).then_some(rules),
            tokens,
        })
    }

    /// Who comes from this address without a token; `foreign_page`: by way of another site's page in
    /// somebody's browser, which may only look.
    pub fn guest(&self, peer: IpAddr, foreign_page: bool) -> Identity {
        let role = match peer.to_canonical().is_loopback() {
            _ if foreign_page => Role::Observer,
            true => self.loopback,
            false => self.remote,
        };
        Identity { role, name: String::new() }
    }

    /// Whose token it is.
    pub fn holder(&self, token: &str) -> Result<Identity, Denied> {
        let unknown = || Denied("this token is not known; ask whoever runs the gateway for one".to_owned());
        self.tokens.holder(token).ok_or_else(unknown)
    }

    /// Whether a page of this site may use the HTTP API from a browser.
    pub fn allows_origin(&self, origin: &str) -> bool {
        self.origins.iter().any(|allowed| allowed == origin)
    }

    /// Whether somebody of this role may do this.
    pub fn may(&self, role: Role, deed: Deed<'_>) -> Result<(), Denied> {
        let matches = |globs: &[GlobMatcher], name: &str| globs.iter().any(|glob| glob.is_match(name));
        let allowed = |pick: fn(&Rule) -> &Vec<GlobMatcher>, name: &str| match &self.rules {
            None => role >= Role::Operator,
            Some(rules) => rules.iter().any(|rule| role >= rule.role && matches(pick(rule), name)),
        };
        let (may, what) = match deed {
            Deed::Publish(topic) => (allowed(|rule| &rule.publish, topic), format!("publish {topic}")),
            Deed::Call(service) => {
                let set = sets_parameters_of(service).is_none_or(|node| allowed(|rule| &rule.set, node));
                (set && allowed(|rule| &rule.call, service), format!("call {service}"))
            }
            Deed::Set(node) => (allowed(|rule| &rule.set, node), format!("set parameters of {node}")),
            Deed::EngageStop => (role >= self.engage_stop, "engage the emergency stop".to_owned()),
            Deed::ReleaseStop => (role >= self.release_stop, "release the emergency stop".to_owned()),
            Deed::Share(what) => (role >= Role::Operator, format!("change {what}")),
            Deed::Overrule(what) => (role >= Role::Commander, format!("overrule {what}")),
        };
        let what = what.chars().take(300).collect::<String>();
        let advice = match role {
            Role::Observer => "an observer may not; show a token",
            Role::Operator | Role::Commander => "your role has no such right",
        };
        if may { Ok(()) } else { Err(Denied(format!("you may not {what}: {advice}"))) }
    }
}

/// The node whose parameters a call of this service sets: every node serves its own.
fn sets_parameters_of(service: &str) -> Option<&str> {
    let (node, own) = service.rsplit_once('/')?;
    matches!(own, "set_parameters" | "set_parameters_atomically").then_some(node)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_is_what_its_computer_is() {
        let access = Access::new(&AccessSettings::default()).unwrap();
        let role = |peer: &str, foreign| access.guest(peer.parse().unwrap(), foreign).role;
        assert_eq!(role("127.0.0.1", false), Role::Commander);
        assert_eq!(role("::ffff:127.0.0.1", false), Role::Commander);
        assert_eq!(role("127.0.0.1", true), Role::Observer);
        assert_eq!(role("10.0.0.2", false), Role::Observer);
        assert!(access.holder("").is_err() && access.holder("guess").is_err());
    }

    #[test]
    fn rights_are_per_role_and_name() {
        let access = Access::new(&AccessSettings::default()).unwrap();
        assert!(access.may(Role::Operator, Deed::Publish("/cmd_vel")).is_ok());
        let denied = access.may(Role::Observer, Deed::Publish("/cmd_vel")).unwrap_err();
        assert_eq!(denied.0, "you may not publish /cmd_vel: an observer may not; show a token");
        assert!(access.may(Role::Observer, Deed::EngageStop).is_err());
        let allow = |role, publish: &str| Allow { role, publish: vec![publish.into()], ..Allow::default() };
        let access = Access::new(&AccessSettings {
            allow: vec![allow(Role::Observer, "/chat"), allow(Role::Operator, "/cmd_*")],
            ..AccessSettings::default()
        })
        .unwrap();
        assert!(access.may(Role::Observer, Deed::Publish("/chat")).is_ok());
        assert!(access.may(Role::Observer, Deed::Publish("/cmd_vel")).is_err());
        assert!(access.may(Role::Commander, Deed::Publish("/cmd_vel")).is_ok());
        assert!(access.may(Role::Commander, Deed::Publish("/arm")).is_err());
        assert!(access.may(Role::Commander, Deed::Call("/chat")).is_err());
    }

    #[test]
    fn calling_a_nodes_own_service_sets_its_parameters_too() {
        let (call, set) = (vec!["/**".to_owned()], vec!["/camera".to_owned()]);
        let allow = vec![Allow { role: Role::Operator, call, set, ..Allow::default() }];
        let access = Access::new(&AccessSettings { allow, ..AccessSettings::default() }).unwrap();
        let may = |service: &str| access.may(Role::Operator, Deed::Call(service)).is_ok();
        assert!(may("/arm/home") && may("/camera/set_parameters") && may("/arm/get_parameters"));
        assert!(!may("/arm/set_parameters") && !may("/arm/set_parameters_atomically"));
    }
}
