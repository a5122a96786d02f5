//! Fuzz target: any bytes as a submessage whose inline QoS names a related sample.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roverline_cyclone::submessage::related_in;

fuzz_target!(|input: &[u8]| {
    // A copy of exactly this length, so that a read beyond it is found.
    let submessage = input.to_vec().into_boxed_slice();
    if let Some(related) = related_in(&submessage) {
        assert_ne!(related.writer, [0; 16]);
    }
});
