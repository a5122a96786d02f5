//! Scopes (the subject of a topic) and tiers (the scopes an endpoint serves).

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// The subject of a topic. A topic has one or more scopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Scope {
    /// Raw sensor streams: IMU, joints, lidar, cameras.
    Sensors = 0,
    /// Requests to the rover: velocity commands, goals.
    Commands = 1,
    /// What the rover is doing: autonomy mode, indicator colour, odometry.
    State = 2,
    /// The mission: name, status, samples collected, way-points.
    Mission = 3,
    /// Protection of people and rover: boundary, proximity.
    Safety = 4,
    /// The emergency stop and related topics.
    Emergency = 5,
    /// Where the rover is.
    Location = 6,
    /// Condition of the rover: diagnostics, temperatures, heartbeats.
    Health = 7,
    /// The battery.
    Battery = 8,
}

impl Scope {
    /// Every scope, in declaration order.
    pub const ALL: [Scope; 9] = [
        Scope::Sensors,
        Scope::Commands,
        Scope::State,
        Scope::Mission,
        Scope::Safety,
        Scope::Emergency,
        Scope::Location,
        Scope::Health,
        Scope::Battery,
    ];

    /// The lower-case name used on the wire and in configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Scope::Sensors => "sensors",
            Scope::Commands => "commands",
            Scope::State => "state",
            Scope::Mission => "mission",
            Scope::Safety => "safety",
            Scope::Emergency => "emergency",
            Scope::Location => "location",
            Scope::Health => "health",
            Scope::Battery => "battery",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// An unknown name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} '{got}': use one of {allowed}")]
pub struct UnknownName {
    what: &'static str,
    got: String,
    allowed: String,
}

impl FromStr for Scope {
    type Err = UnknownName;
    fn from_str(s: &str) -> Result<Self, UnknownName> {
        Scope::ALL.into_iter().find(|scope| scope.name() == s).ok_or_else(|| UnknownName {
            what: "scope",
            got: s.to_owned(),
            allowed: Scope::ALL.map(Scope::name).join(", "),
        })
    }
}

/// A set of scopes; one machine word, listed in declaration order.
///
/// ```
/// use roverline_protocol::{Scope, ScopeSet, Tier};
/// let topic = ScopeSet::of(&[Scope::State, Scope::Location]);
/// assert!(Tier::Secondary.scopes().intersects(topic));
/// assert!(ScopeSet::ALL.covers(topic));
/// assert_eq!(serde_json::to_string(&topic).unwrap(), r#"["state","location"]"#);
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct ScopeSet(u16);

impl ScopeSet {
    /// No scope.
    pub const EMPTY: ScopeSet = ScopeSet(0);
    /// All nine.
    pub const ALL: ScopeSet = ScopeSet(0x1ff);

    /// The set of the given scopes.
    pub const fn of(scopes: &[Scope]) -> ScopeSet {
        let mut bits = 0;
        let mut i = 0;
        while i < scopes.len() {
            bits |= 1 << scopes[i] as u8;
            i += 1;
        }
        ScopeSet(bits)
    }

    /// Whether `scope` is in the set.
    pub const fn contains(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u8) != 0
    }

    /// Whether the two sets share a scope: whether an endpoint serves a topic.
    pub const fn intersects(self, other: ScopeSet) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether every scope of `other` is in this set.
    pub const fn covers(self, other: ScopeSet) -> bool {
        self.0 & other.0 == other.0
    }

    /// Scopes in either set.
    #[must_use]
    pub const fn union(self, other: ScopeSet) -> ScopeSet {
        ScopeSet(self.0 | other.0)
    }

    /// Scopes in both sets.
    #[must_use]
    pub const fn intersection(self, other: ScopeSet) -> ScopeSet {
        ScopeSet(self.0 & other.0)
    }

    /// Number of scopes.
    pub const fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// Whether the set is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The scopes in declaration order.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |&scope| self.contains(scope))
    }
}

impl FromIterator<Scope> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        scopes.into_iter().fold(ScopeSet::EMPTY, |set, scope| set.union(ScopeSet::of(&[scope])))
    }
}

impl fmt::Debug for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.iter().map(Scope::name).collect::<Vec<_>>().join(" "))
    }
}

impl Serialize for ScopeSet {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for ScopeSet {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::<Scope>::deserialize(deserializer)?.into_iter().collect())
    }
}

impl JsonSchema for ScopeSet {
    fn schema_name() -> Cow<'static, str> {
        "ScopeSet".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "array", "items": generator.subschema_for::<Scope>(), "uniqueItems": true,
            "description": "A set of scopes.",
        })
    }
}

/// The four endpoints of a gateway, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Full telemetry and commands (port 8080).
    Primary,
    /// Enough to continue the mission (port 8081).
    Secondary,
    /// Enough to keep people and rover safe (port 8082).
    Tertiary,
    /// Enough to find the rover and stop it (port 8083).
    Emergency,
}

impl Tier {
    /// The four tiers, best first.
    pub const ALL: [Tier; 4] = [Tier::Primary, Tier::Secondary, Tier::Tertiary, Tier::Emergency];

    /// The lower-case name used on the wire and in configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Tier::Primary => "primary",
            Tier::Secondary => "secondary",
            Tier::Tertiary => "tertiary",
            Tier::Emergency => "emergency",
        }
    }

    /// Offset from the base port: the primary is at the base itself.
    pub const fn port_offset(self) -> u16 {
        self as u16
    }

    /// Default scopes of the tier.
    pub const fn scopes(self) -> ScopeSet {
        match self {
            Tier::Primary => ScopeSet::ALL,
            Tier::Secondary => ScopeSet::of(&[Scope::State, Scope::Mission, Scope::Emergency]),
            Tier::Tertiary => {
                ScopeSet::of(&[Scope::Safety, Scope::Location, Scope::Health, Scope::Emergency])
            }
            Tier::Emergency => ScopeSet::of(&[Scope::Emergency, Scope::Location, Scope::Battery]),
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Tier {
    type Err = UnknownName;
    fn from_str(s: &str) -> Result<Self, UnknownName> {
        Tier::ALL.into_iter().find(|tier| tier.name() == s).ok_or_else(|| UnknownName {
            what: "tier",
            got: s.to_owned(),
            allowed: Tier::ALL.map(Tier::name).join(", "),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for scope in Scope::ALL {
            assert_eq!(scope.name().parse(), Ok(scope));
        }
        for tier in Tier::ALL {
            assert_eq!(tier.name().parse(), Ok(tier));
        }
        assert_eq!("speed".parse::<Scope>().unwrap_err().to_string().matches("sensors").count(), 1);
    }

    #[test]
    fn sets_are_sets() {
        assert_eq!(ScopeSet::of(&Scope::ALL), ScopeSet::ALL);
        assert_eq!(ScopeSet::ALL.len(), 9);
        assert!(Tier::Primary.scopes().covers(Tier::Secondary.scopes()));
        assert!(!Tier::Secondary.scopes().intersects(ScopeSet::of(&[Scope::Battery])));
        let json = serde_json::to_string(&Tier::Emergency.scopes()).unwrap();
        assert_eq!(json, r#"["emergency","location","battery"]"#);
        assert_eq!(serde_json::from_str::<ScopeSet>(&json).unwrap(), Tier::Emergency.scopes());
    }
}
