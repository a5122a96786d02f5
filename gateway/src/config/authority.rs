//! Settings of authorities: what only one client may command at a time, and what happens when it falls silent.

use roverline_protocol::routing::topic_glob;
use serde::{Deserialize, Serialize};

/// Configured authorities.
const AUTHORITY_ENTRIES: usize = 16;
/// Names and patterns of one authority.
const TARGET_ENTRIES: usize = 64;
/// Bytes of a name, which is the name of a lock as well.
const NAME_BYTES: usize = 64;
/// Bounds of the time that a holder may be silent.
const TIMEOUT_MS: std::ops::RangeInclusive<u64> = 100..=60_000;

/// What happens when the holder of an authority falls silent while it moves something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkLoss {
    /// Nothing: the last command stands.
    #[default]
    None,
    /// Every endpoint publishes the zero value of the topics that were commanded.
    Zero,
    /// The emergency stop is engaged.
    LatchStop,
}

impl LinkLoss {
    /// The word used in the configuration and in documents.
    pub const fn word(self) -> &'static str {
        match self {
            LinkLoss::None => "none",
            LinkLoss::Zero => "zero",
            LinkLoss::LatchStop => "latch_stop",
        }
    }
}

/// What happens to a velocity above the limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OverLimit {
    /// It is reduced to the limit; all axes by the same factor, so that the direction stays.
    #[default]
    Clamp,
    /// The command is refused.
    Refuse,
}

/// One authority.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthoritySettings {
    /// Its name, which is that of its lock as well.
    pub name: String,
    /// Patterns of the topics that only its holder may publish.
    pub topics: Vec<String>,
    /// Patterns of the services that only its holder may call.
    pub services: Vec<String>,
    /// Patterns of the actions to which only its holder may send goals.
    pub actions: Vec<String>,
    /// What happens when its holder falls silent.
    pub link_loss: LinkLoss,
    /// How long its holder may be silent, milliseconds.
    pub timeout_ms: u64,
    /// Whether a client takes the free authority by its first command.
    pub implicit: bool,
    /// The largest linear velocity of a Twist, metres per second; absent: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_linear_m_s: Option<f64>,
    /// The largest angular velocity of a Twist, radians per second; absent: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_angular_rad_s: Option<f64>,
    /// What happens to a velocity above the limit.
    pub over_limit: OverLimit,
}

impl Default for AuthoritySettings {
    fn default() -> Self {
        AuthoritySettings {
            name: String::new(),
            topics: Vec::new(),
            services: Vec::new(),
            actions: Vec::new(),
            link_loss: LinkLoss::None,
            timeout_ms: 500,
            implicit: true,
            max_linear_m_s: None,
            max_angular_rad_s: None,
            over_limit: OverLimit::Clamp,
        }
    }
}

/// All authorities. Those of the configuration file replace the built-in ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Authorities(pub Vec<AuthoritySettings>);

impl Default for Authorities {
    fn default() -> Self {
        let texts = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let drive = AuthoritySettings {
            name: "drive".to_owned(),
            topics: texts(&["/cmd_vel"]),
            link_loss: LinkLoss::Zero,
            ..AuthoritySettings::default()
        };
        let arm = AuthoritySettings {
            name: "arm".to_owned(),
            topics: texts(&[
                "/arm/cmd_vel",
                "/arm/joint_trajectory",
                "/arm_controller/joint_trajectory",
                "/servo_node/delta_twist_cmds",
                "/servo_node/delta_joint_cmds",
            ]),
            actions: texts(&["/arm_controller/follow_joint_trajectory", "/gripper_controller/gripper_cmd"]),
            ..AuthoritySettings::default()
        };
        Authorities(vec![drive, arm])
    }
}

impl Authorities {
    /// Checks what the types cannot express; an error is a key and a message.
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        let Authorities(all) = self;
        if all.len() > AUTHORITY_ENTRIES {
            return Err(("authority", format!("there are at most {AUTHORITY_ENTRIES}")));
        }
        for (n, authority) in all.iter().enumerate() {
            authority.check()?;
            if all[..n].iter().any(|other| other.name == authority.name) {
                return Err(("name", format!("two authorities have the name '{}'", authority.name)));
            }
        }
        Ok(())
    }
}

impl AuthoritySettings {
    fn check(&self) -> Result<(), (&'static str, String)> {
        let is_name_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if self.name.is_empty() || self.name.len() > NAME_BYTES || !self.name.chars().all(is_name_char) {
            let why = format!("write 1 to {NAME_BYTES} letters, digits, _, - or . such as \"drive\"");
            return Err(("name", why));
        }
        for (key, patterns) in
            [("topics", &self.topics), ("services", &self.services), ("actions", &self.actions)]
        {
            if patterns.len() > TARGET_ENTRIES {
                return Err((key, format!("there are at most {TARGET_ENTRIES}")));
            }
            for pattern in patterns {
                topic_glob(pattern).map_err(|why| (key, format!("'{pattern}': {why}")))?;
            }
        }
        if !TIMEOUT_MS.contains(&self.timeout_ms) {
            let (least, most) = (TIMEOUT_MS.start(), TIMEOUT_MS.end());
            return Err(("timeout_ms", format!("write milliseconds from {least} to {most}")));
        }
        for (key, limit) in
            [("max_linear_m_s", self.max_linear_m_s), ("max_angular_rad_s", self.max_angular_rad_s)]
        {
            if limit.is_some_and(|limit| !limit.is_finite() || limit <= 0.0) {
                return Err((key, "write a number above 0".to_owned()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_checked() {
        let checked = |change: fn(&mut AuthoritySettings)| {
            let mut all = Authorities::default();
            change(&mut all.0[0]);
            all.check().map_err(|(key, _)| key)
        };
        assert_eq!(checked(|_| ()), Ok(()));
        assert_eq!(checked(|drive| drive.name.clear()), Err("name"));
        assert_eq!(checked(|drive| drive.name = "a b".to_owned()), Err("name"));
        assert_eq!(checked(|drive| drive.name = "arm".to_owned()), Err("name"));
        assert_eq!(checked(|drive| drive.topics.push("/a[".to_owned())), Err("topics"));
        assert_eq!(checked(|drive| drive.timeout_ms = 20), Err("timeout_ms"));
        assert_eq!(checked(|drive| drive.max_linear_m_s = Some(f64::NAN)), Err("max_linear_m_s"));
        assert_eq!(checked(|drive| drive.max_angular_rad_s = Some(-1.0)), Err("max_angular_rad_s"));
    }
}
