//! Traced samples on their way to the screen: when each was decoded, and when the terminal had taken the frame with it.

use std::time::Duration;

use roverline_client::{Link, SampleReceipt};

/// Samples that wait for a frame; the link admits a few a second.
const WAITING_SAMPLES: usize = 16;

/// The samples that are not on the screen yet.
#[derive(Debug, Default)]
pub(super) struct TracedSamples {
    /// Decoded since the last frame was drawn.
    decoded: Vec<(SampleReceipt, Duration)>,
    /// On the frame that the terminal has not taken yet.
    drawn: Vec<(SampleReceipt, Duration)>,
}

impl TracedSamples {
    /// The model has taken a sample.
    pub(super) fn decoded(&mut self, receipt: SampleReceipt) {
        if self.decoded.len() < WAITING_SAMPLES {
            let elapsed = receipt.elapsed();
            self.decoded.push((receipt, elapsed));
        }
    }

    /// A frame was drawn with everything that the model had taken.
    pub(super) fn drawn(&mut self) {
        self.drawn.append(&mut self.decoded);
        self.drawn.truncate(WAITING_SAMPLES);
    }

    /// The terminal has taken the frame: reports its samples.
    pub(super) fn written(&mut self, link: &Link) {
        for (receipt, decoded) in self.drawn.drain(..) {
            link.report_sample(&receipt, Some(decoded), Some(receipt.elapsed()));
        }
    }
}
