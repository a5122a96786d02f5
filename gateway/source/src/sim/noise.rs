//! Stateless noise: a value is a hash of seed, channel and tick. Skipping a tick's messages therefore
//! does not change later ones, and every process computes the same values.

/// The purpose of a random number; each has a stream of its own.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub(super) enum Channel {
    Route = 1,
    Rocks,
    ImuGyro,
    ImuAccel,
    ImuAttitude,
    Gps,
    Battery,
    Motor,
    Joint,
    Scan,
    Camera,
}

/// A seeded source of noise.
#[derive(Clone, Copy, Debug)]
pub(super) struct Noise {
    seed: u64,
}

impl Noise {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed: mix(seed ^ 0x526f_7665_726c_696e) }
    }

    /// 64 random bits for the `lane`-th value of a channel at a tick.
    pub(super) fn bits(self, channel: Channel, lane: u32, tick: u64) -> u64 {
        let key = (channel as u64) << 32 | u64::from(lane);
        mix(self.seed ^ mix(key).wrapping_add(tick.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    /// Uniform in `[0, 1)`.
    pub(super) fn uniform(self, channel: Channel, lane: u32, tick: u64) -> f64 {
        (self.bits(channel, lane, tick) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Approximately normal with standard deviation 1: the sum of four uniform values, which needs no
    /// logarithm.
    pub(super) fn normal(self, channel: Channel, lane: u32, tick: u64) -> f64 {
        let bits = self.bits(channel, lane, tick);
        let sum: u64 = (0..4).map(|i| (bits >> (16 * i)) & 0xffff).sum();
        (sum as f64 / 65_536.0 - 2.0 + 2.0 / 65_536.0) * 3_f64.sqrt()
    }
}

/// The finalizer of SplitMix64.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_centred_and_has_unit_deviation() {
        let noise = Noise::new(7);
        let values: Vec<f64> = (0..20_000).map(|n| noise.normal(Channel::Gps, 0, n)).collect();
        let mean = values.iter().sum::<f64>() / 20_000.0;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 20_000.0;
        assert!(mean.abs() < 0.03, "{mean}");
        assert!((variance - 1.0).abs() < 0.05, "{variance}");
    }

    #[test]
    fn differs_by_seed_channel_lane_and_tick() {
        let all = [
            Noise::new(1).bits(Channel::Gps, 0, 0),
            Noise::new(2).bits(Channel::Gps, 0, 0),
            Noise::new(1).bits(Channel::Scan, 0, 0),
            Noise::new(1).bits(Channel::Gps, 1, 0),
            Noise::new(1).bits(Channel::Gps, 0, 1),
        ];
        let distinct: std::collections::BTreeSet<u64> = all.into_iter().collect();
        assert_eq!(distinct.len(), all.len());
    }
}
