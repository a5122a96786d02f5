//! Requests that wait for their answers, long polls above all: bounded by class and by address, so that
//! observers leave room for operators.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::access::Role;
use crate::connection::client_address::ClientAddress;

/// Waiting requests of all observers.
const OBSERVER_REQUESTS: usize = 96;
/// Waiting requests of observers at one address, other than loopback.
const OBSERVER_REQUESTS_PER_ADDRESS: usize = 32;
/// Waiting requests of all operators and commanders.
const OPERATOR_REQUESTS: usize = 256;

/// Why a request is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooManyRequests {
    /// Observers have reached their limit.
    #[error(
        "limit reached ({OBSERVER_REQUESTS}): requests of observers wait for their answers; retry, or show a token"
    )]
    Observers,
    /// The address has reached its limit.
    #[error(
        "limit reached ({OBSERVER_REQUESTS_PER_ADDRESS}): requests of your address wait; end some, or show a token"
    )]
    Address,
    /// Operators have reached their limit.
    #[error("limit reached ({OPERATOR_REQUESTS}): requests of operators wait for their answers; end some")]
    Operators,
}

#[derive(Default)]
struct Counts {
    operators: usize,
    observers: usize,
    by_address: HashMap<ClientAddress, usize>,
}

/// The waiting requests of an endpoint.
#[derive(Clone, Default)]
pub struct WaitingRequests(Arc<Mutex<Counts>>);

impl WaitingRequests {
    /// Counts a request until the guard is dropped.
    pub fn enter(&self, role: Role, address: ClientAddress) -> Result<WaitingRequest, TooManyRequests> {
        let is_observer = role < Role::Operator;
        let mut counts = self.0.lock();
        if !is_observer {
            if counts.operators >= OPERATOR_REQUESTS {
                return Err(TooManyRequests::Operators);
            }
            counts.operators += 1;
            return Ok(WaitingRequest { all: self.clone(), is_observer, address });
        }
        if counts.observers >= OBSERVER_REQUESTS {
            return Err(TooManyRequests::Observers);
        }
        let own = counts.by_address.get(&address).copied().unwrap_or(0);
        if own >= OBSERVER_REQUESTS_PER_ADDRESS && !address.is_loopback() {
            return Err(TooManyRequests::Address);
        }
        counts.observers += 1;
        counts.by_address.insert(address, own + 1);
        Ok(WaitingRequest { all: self.clone(), is_observer, address })
    }
}

/// A request that waits for its answer.
pub struct WaitingRequest {
    all: WaitingRequests,
    is_observer: bool,
    address: ClientAddress,
}

impl Drop for WaitingRequest {
    fn drop(&mut self) {
        let mut counts = self.all.0.lock();
        if !self.is_observer {
            counts.operators -= 1;
            return;
        }
        counts.observers -= 1;
        if let Some(own) = counts.by_address.get_mut(&self.address) {
            *own -= 1;
            if *own == 0 {
                counts.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_leave_room_for_operators() {
        let at = |text: &str| ClientAddress::of(text.parse().unwrap());
        let all = WaitingRequests::default();
        let far = at("10.0.0.1");
        let mut held: Vec<_> = (0..OBSERVER_REQUESTS_PER_ADDRESS)
            .map(|_| all.enter(Role::Observer, far).ok().unwrap())
            .collect();
        assert_eq!(all.enter(Role::Observer, far).err(), Some(TooManyRequests::Address));
        let here = at("127.0.0.1");
        while let Ok(more) = all.enter(Role::Observer, here) {
            held.push(more);
        }
        assert_eq!(held.len(), OBSERVER_REQUESTS);
        let refused = all.enter(Role::Observer, here).err().unwrap();
        assert!(refused.to_string().contains("(96): requests of observers"), "{refused}");
        held.push(all.enter(Role::Operator, here).ok().unwrap());
        held.clear();
        let counts = all.0.lock();
        assert_eq!((counts.operators, counts.observers, counts.by_address.len()), (0, 0, 0));
    }
}
