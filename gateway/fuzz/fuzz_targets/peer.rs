//! Input from other endpoints: health documents with and without a proof, challenges, announcements by mDNS.
//! Nothing is proven without the key, and what is kept is bounded.
#![no_main]

mod fuzz_endpoint;
mod structured_json;

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use mdns_sd::ServiceInfo;
use roverline_gateway::endpoint::Endpoint;
use roverline_gateway::endpoint::peers::key::PeerKey;
use roverline_gateway::endpoint::peers::mdns::add_announced;
use roverline_gateway::endpoint::peers::probe::judge;
use roverline_gateway::endpoint::peers::proof::{Challenge, Prover};
use roverline_protocol::{Tier, limits};
use serde_json::{Map, Value};

const ADDRESS: &str = "10.0.0.1:8080";
const HEALTH: &str = r#"{"tier":"primary","port":8080,"scopes":["sensors"],"status":"healthy","clients":1,
    "max_clients":50,"started_ns":1,"version":"1","uptime_s":1.5,"freshness_s":{"sensors":0.5},
    "source":{"kind":"sim","state":"running","topics":1,"samples":2,"age_s":0.1}}"#;
const STATUSES: &[&str] = &["healthy", "degraded", "unhealthy", "down", "starting"];
const FIELDS: &[&str] = &[
    "tier",
    "port",
    "scopes",
    "reasons",
    "covers",
    "draining",
    "address",
    "clients",
    "max_clients",
    "started_ns",
    "version",
    "uptime_s",
    "source",
    "freshness_s",
    "kind",
    "state",
    "upstream",
    "sensors",
];
const TIERS: &[&str] = &["primary", "secondary", "tertiary", "emergency", "Primary", ""];
const IPS: &[&str] = &[
    "127.0.0.1",
    "127.9.9.9",
    "10.0.0.7",
    "fd00::7",
    "169.254.1.1",
    "0.0.0.0",
    "::1",
    "fe80::1",
    "224.0.0.1",
];

static ENDPOINT: LazyLock<Arc<Endpoint>> = LazyLock::new(|| fuzz_endpoint::endpoint(8080));
static RIGHT: LazyLock<PeerKey> = LazyLock::new(|| PeerKey::new(&[b'k'; 32]));
static OTHER: LazyLock<PeerKey> = LazyLock::new(|| PeerKey::new(&[b'o'; 32]));

fuzz_target!(|input: &[u8]| {
    let Some((kind, rest)) = input.split_first() else { return };
    match kind % 3 {
        0 => health(rest),
        1 => challenge(&String::from_utf8_lossy(rest)),
        _ => drop(announcement(&mut Unstructured::new(rest))),
    }
});

fn address() -> SocketAddr {
    ADDRESS.parse().expect("it is an address")
}

/// A document, proven by an endpoint with the key, by one with another key, and by noise.
fn health(noise: &[u8]) {
    let body = document(noise);
    let challenge = Challenge::new(&RIGHT, address(), ADDRESS).expect("no randomness");
    let answer = |key: &PeerKey, tier| {
        let prover = Prover { key: Some(key.clone()), tier, address: None };
        prover.answer(&challenge.header(), Some(address()), &body)
    };
    for (proof, is_proof) in [
        (answer(&RIGHT, Tier::Primary), true),
        (answer(&RIGHT, Tier::Secondary), false),
        (answer(&OTHER, Tier::Primary), false),
        (String::from_utf8_lossy(noise).into_owned(), false),
    ] {
        let Ok(health) = judge(&challenge, Tier::Primary, Some(&proof), &body) else { continue };
        assert!(is_proof, "{proof}");
        let endpoint = health.endpoint;
        assert!(endpoint.tier == Tier::Primary && endpoint.reasons.len() <= 8 && endpoint.covers.len() <= 4);
        assert!(endpoint.reasons.iter().all(|reason| reason.chars().count() <= 256));
        assert!(endpoint.version.chars().count() <= 32);
    }
    assert!(judge(&challenge, Tier::Primary, None, &body).is_err());
    // Changed on the way.
    let mut changed = body.clone();
    changed.push(b' ');
    assert!(judge(&challenge, Tier::Primary, Some(&answer(&RIGHT, Tier::Primary)), &changed).is_err());
}

/// A right document with some fields replaced; or noise.
fn document(noise: &[u8]) -> Vec<u8> {
    if noise.first().is_some_and(|byte| byte % 8 == 0) {
        return noise.to_vec();
    }
    let mut health: Map<String, Value> = serde_json::from_str(HEALTH).expect("it is an object");
    let others = structured_json::structured_json(noise, "status", STATUSES, FIELDS).unwrap_or_default();
    if let Ok(Value::Object(others)) = serde_json::from_str(&others) {
        health.extend(others);
    }
    serde_json::to_vec(&health).expect("it is JSON")
}

/// Strangers get no tags.
fn challenge(text: &str) {
    let prover = Prover { key: Some(RIGHT.clone()), tier: Tier::Primary, address: Some(ADDRESS.to_owned()) };
    let answer = prover.answer(text, Some(address()), b"{}");
    assert!(answer.starts_with("refused "), "{answer}");
}

fn announcement(noise: &mut Unstructured<'_>) -> Result<()> {
    let tier = *noise.choose(TIERS)?;
    let rover = if noise.ratio(7, 8)? { fuzz_endpoint::ROVER } else { noise.arbitrary()? };
    let network: String = noise.arbitrary()?;
    let ips =
        (0..noise.int_in_range(0..=4)?).map(|_| noise.choose(IPS).copied()).collect::<Result<Vec<_>>>()?;
    let (port, host): (u16, String) = (noise.arbitrary()?, noise.arbitrary()?);
    let name: String = noise.arbitrary()?;
    let properties = [("tier", tier), ("rover", rover), ("network", &network), ("version", &host)];
    let info = ServiceInfo::new(
        "_roverline._tcp.local.",
        &name,
        &host,
        ips.join(",").as_str(),
        port,
        &properties[..],
    );
    if let Ok(info) = info {
        add_announced(&ENDPOINT, fuzz_endpoint::ROVER, &info.as_resolved_service());
        let known = ENDPOINT.peers.documents();
        assert!(known.len() <= limits::PEERS);
        for peer in known {
            let address: SocketAddr =
                peer.endpoint.address.unwrap_or_default().parse().expect("it is an address");
            assert!(["10.0.0.7", "fd00::7"].contains(&address.ip().to_string().as_str()), "{address}");
        }
    }
    Ok(())
}
