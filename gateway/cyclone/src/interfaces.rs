//! The interfaces that are used if none are named: all that can multicast.

use std::ffi::c_void;
use std::net::Ipv4Addr;

use crate::ffi;

/// Interfaces that are used at most: the library has room for four (`MAX_XMIT_CONNS`), and loopback is one of them.
const MAX_INTERFACES: usize = 3;

/// The addresses of all interfaces that are up and can multicast, loopback aside.
pub(crate) fn multicast_interfaces() -> Vec<Ipv4Addr> {
    let mut found: Vec<Ipv4Addr> = Vec::with_capacity(MAX_INTERFACES);
    // SAFETY: the context is the vector, which `roverline_on_address` expects, and is not used elsewhere meanwhile.
    let code = unsafe { ffi::roverline_multicast_interfaces(roverline_on_address, (&raw mut found).cast()) };
    if code < 0 {
        found.clear();
    }
    found
}

extern "C" fn roverline_on_address(context: *mut c_void, address: u32) {
    // SAFETY: called only during `multicast_interfaces`, with its vector as the context.
    let found = unsafe { &mut *context.cast::<Vec<Ipv4Addr>>() };
    if found.len() < MAX_INTERFACES {
        // The number is in network byte order, so its bytes in memory are the address.
        found.push(Ipv4Addr::from(address.to_ne_bytes()));
    }
}
