//! Data quality by age: not whether a link is up, but how old the displayed value is.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Trustworthiness of a value by its age.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quality {
    /// No value has ever arrived. Unknown is not fresh.
    #[default]
    Never,
    /// As young as its rate leads one to expect.
    Fresh,
    /// Late, but not yet alarming.
    Ageing,
    /// Too old to act on; shown with its age.
    Stale,
    /// It could not be decoded, or its source reports that it is not valid.
    Invalid,
}

impl Quality {
    /// The word shown beside glyph and colour.
    pub const fn word(self) -> &'static str {
        match self {
            Quality::Never => "never",
            Quality::Fresh => "fresh",
            Quality::Ageing => "ageing",
            Quality::Stale => "stale",
            Quality::Invalid => "invalid",
        }
    }
}

/// The ages at which a value becomes ageing and stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgeThresholds {
    /// Older than this: ageing.
    pub ageing: Duration,
    /// Older than this: stale.
    pub stale: Duration,
}

impl AgeThresholds {
    /// Thresholds from the period at which values arrive: three missed are ageing, ten are stale;
    /// never below 0.5 s and 2 s, because a person cannot react faster. Latched values do not age:
    /// pass `None`.
    pub fn from_period(period: Option<Duration>) -> AgeThresholds {
        match period {
            None => AgeThresholds { ageing: Duration::MAX, stale: Duration::MAX },
            Some(period) => AgeThresholds {
                ageing: (period.saturating_mul(3)).max(Duration::from_millis(500)),
                stale: (period.saturating_mul(10)).max(Duration::from_secs(2)),
            },
        }
    }

    /// The quality of a value of this age.
    pub fn quality(self, age: Option<Duration>) -> Quality {
        match age {
            None => Quality::Never,
            Some(age) if age > self.stale => Quality::Stale,
            Some(age) if age > self.ageing => Quality::Ageing,
            Some(_) => Quality::Fresh,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_is_not_fresh_and_latched_does_not_age() {
        let horizon = AgeThresholds::from_period(Some(Duration::from_secs(1)));
        assert_eq!(horizon.quality(None), Quality::Never);
        assert_eq!(horizon.quality(Some(Duration::from_secs(3))), Quality::Fresh);
        assert_eq!(horizon.quality(Some(Duration::from_secs(4))), Quality::Ageing);
        assert_eq!(horizon.quality(Some(Duration::from_secs(11))), Quality::Stale);
        let latched = AgeThresholds::from_period(None);
        assert_eq!(latched.quality(Some(Duration::from_secs(1 << 40))), Quality::Fresh);
    }
}
