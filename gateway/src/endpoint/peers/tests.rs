//! Misbehaving peers: wrong, slow and endless answers are detected in time and delay no other peer.

use std::time::Duration;

use roverline_protocol::Tier;
use roverline_protocol::status::{
    EndpointDocument, HealthDocument, HealthStatus, Origin, PeerProof, SourceDocument,
};
use roverline_source::clock::monotonic;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::endpoint::peers::key::PeerKey;
use crate::endpoint::peers::networks::PeerNetworks;
use crate::endpoint::peers::probe::{ProbeError, ProvenAnswer, probe};
use crate::endpoint::peers::promotion::TierView;
use crate::endpoint::peers::proof::{CHALLENGE, Prover, Unproven};
use crate::endpoint::peers::table::Peers;
use crate::endpoint::peers::{Peer, PeerTrust};
use crate::limits;

fn document(tier: Tier) -> HealthDocument {
    HealthDocument {
        endpoint: EndpointDocument {
            tier,
            port: 1,
            scopes: tier.scopes(),
            status: HealthStatus::Healthy,
            reasons: Vec::new(),
            covers: Vec::new(),
            draining: false,
            warming_up: false,
            address: None,
            clients: 0,
            max_clients: 50,
            started_ns: 7,
            version: "1".to_owned(),
        },
        uptime_s: 1.0,
        source: SourceDocument {
            kind: "sim".to_owned(),
            state: "running".to_owned(),
            topics: 1,
            samples: 1,
            age_s: Some(0.0),
            upstream: Vec::new(),
        },
        freshness_s: Default::default(),
        writers: Vec::new(),
    }
}

fn with_length(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// A peer that answers each connection with `head`, then sends `drip` every few milliseconds forever (if
/// empty, it keeps the connection open and sends nothing).
async fn misbehaving_peer(head: Vec<u8>, drip: &'static [u8]) -> Peer {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let Ok((mut stream, _)) = listener.accept().await else { return };
            let head = head.clone();
            tokio::spawn(async move { misbehave(&mut stream, &head, drip).await });
        }
    });
    Peer { tier: Tier::Primary, address, expected: true }
}

async fn misbehave(stream: &mut TcpStream, head: &[u8], drip: &[u8]) {
    let mut request = [0; 1024];
    let _ = stream.read(&mut request).await;
    if stream.write_all(head).await.is_err() || drip.is_empty() {
        // Says nothing more, for longer than any probe waits.
        tokio::time::sleep(Duration::from_secs(60)).await;
        return;
    }
    // The pace of a drip: whole blocks at once, single bytes slowly.
    while stream.write_all(drip).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(if drip.len() > 16 { 0 } else { 5 })).await;
    }
}

fn trust(secret: &[u8]) -> PeerTrust {
    let prover = Prover { key: Some(PeerKey::new(secret)), tier: Tier::Secondary, address: None };
    PeerTrust { prover, networks: PeerNetworks::default() }
}

/// Probes a configured peer with the key `secret`.
async fn probe_with_key(peer: &Peer, secret: &[u8]) -> Result<ProvenAnswer, ProbeError> {
    probe(peer, Origin::Config, &trust(secret)).await
}

/// A primary endpoint with the key `secret`, which answers with this document. With `via`, it is an impostor
/// that passes challenges on to the endpoint at that address.
async fn proving_peer(secret: &'static [u8], health: &HealthDocument, via: Option<String>) -> Peer {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let body = serde_json::to_string(health).unwrap();
    tokio::spawn(async move {
        let prover = Prover { key: Some(PeerKey::new(secret)), tier: Tier::Primary, address: None };
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4_096];
            let length = stream.read(&mut request).await.unwrap();
            let answer = match &via {
                Some(endpoint) => {
                    let mut other = TcpStream::connect(endpoint).await.unwrap();
                    other.write_all(&request[..length]).await.unwrap();
                    let mut answer = vec![0; 8_192];
                    let length = other.read(&mut answer).await.unwrap();
                    answer[..length].to_vec()
                }
                None => {
                    let head = String::from_utf8_lossy(&request[..length]).into_owned();
                    let field = format!("{CHALLENGE}: ");
                    let challenge = head.lines().find_map(|line| line.strip_prefix(&field)).unwrap();
                    let local = stream.local_addr().ok();
                    let proof = prover.answer(challenge, local, body.as_bytes());
                    let length = body.len();
                    let head = format!("Content-Length: {length}\r\nRoverline-Proof: {proof}\r\n\r\n");
                    format!("HTTP/1.1 200 OK\r\n{head}{body}").into_bytes()
                }
            };
            stream.write_all(&answer).await.unwrap();
        }
    });
    Peer { tier: Tier::Primary, address, expected: true }
}

async fn verdict(head: Vec<u8>, drip: &'static [u8]) -> (String, Duration) {
    let peer = misbehaving_peer(head, drip).await;
    let started = monotonic();
    let error = probe_with_key(&peer, b"key").await.err().unwrap().to_string();
    (error, monotonic().saturating_sub(started))
}

const LONG: &[u8] = &[b'x'; 4096];
const FIELD: &[u8] = b"X-Field: abcdefghijklmnopqrstuvwxyz\r\n";

#[tokio::test]
async fn a_misbehaving_peer_is_detected_in_time() {
    let limit = Duration::from_millis(limits::PEER_TIMEOUT_MS + 800);
    let mut other = document(Tier::Secondary);
    other.endpoint.clients = 3;
    let other = serde_json::to_string(&other).unwrap();
    let claim = serde_json::to_string(&document(Tier::Primary)).unwrap();
    let endless = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\n".to_vec();
    let promised = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n".to_vec();
    for (name, head, drip, word) in [
        ("not JSON", with_length("<html>"), &b""[..], "not a health document"),
        ("other JSON", with_length("{}"), b"", "not a health document"),
        ("a claim", with_length(&claim), b"", "has not proven the rover's key"),
        ("deep JSON", with_length(&"[".repeat(60_000)), b"", "not a health document"),
        ("another tier", with_length(&other), b"", "secondary endpoint answers in its place"),
        ("not HTTP", b"SSH-2.0-OpenSSH_9.6\r\n".to_vec(), b"", ""),
        ("a body without end", promised, LONG, "limit"),
        ("chunks without end", endless, LONG, ""),
        ("a head without end", b"HTTP/1.1 200 OK\r\n".to_vec(), FIELD, ""),
        (
            "a slow drip",
            b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n".to_vec(),
            b"x",
            "no answer within",
        ),
        ("a slow head", b"HTTP/1.1 200 OK\r\nX: ".to_vec(), b"x", "no answer within"),
        ("silence", Vec::new(), b"", "no answer within"),
    ] {
        let (error, took) = verdict(head, drip).await;
        assert!(error.contains(word), "{name}: {error}");
        assert!(took < limit, "{name}: {took:?}");
    }
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let nobody = Peer { tier: Tier::Primary, address: closed, expected: true };
    assert!(probe_with_key(&nobody, b"key").await.err().unwrap().to_string().contains("refused"));
}

#[tokio::test]
async fn a_peer_counts_with_the_rovers_key_at_its_own_address_only() {
    let endpoint = proving_peer(b"key", &document(Tier::Primary), None).await;
    assert_eq!(probe_with_key(&endpoint, b"key").await.unwrap().proof, PeerProof::Key);
    let other = probe_with_key(&endpoint, b"another key").await.err().unwrap();
    assert!(matches!(other, ProbeError::Unproven(Unproven::OtherKey)), "{other}");
    let tier = Peer { tier: Tier::Secondary, ..endpoint.clone() };
    let wrong = probe_with_key(&tier, b"key").await.err().unwrap();
    assert!(matches!(wrong, ProbeError::WrongTier(Tier::Primary)), "{wrong}");
    let impostor = proving_peer(b"", &document(Tier::Primary), Some(endpoint.address.clone())).await;
    let passed_on = probe_with_key(&impostor, b"key").await.err().unwrap();
    assert!(matches!(passed_on, ProbeError::Unproven(Unproven::OtherAddress)), "{passed_on}");
    let no_key = PeerTrust { prover: Prover { key: None, ..trust(b"").prover }, ..trust(b"") };
    let unknown = probe(&endpoint, Origin::Config, &no_key).await.err().unwrap();
    assert!(matches!(unknown, ProbeError::Unproven(Unproven::NoKey)), "{unknown}");
}

#[tokio::test]
async fn addresses_that_others_name_are_connected_to_in_the_rovers_networks_only() {
    let endpoint = proving_peer(b"key", &document(Tier::Primary), None).await;
    let elsewhere =
        PeerTrust { networks: PeerNetworks::new(vec!["10.0.0.0/8".parse().unwrap()]), ..trust(b"key") };
    for origin in [Origin::Api, Origin::Mdns] {
        assert!(probe(&endpoint, origin, &trust(b"key")).await.is_ok());
        let error = probe(&endpoint, origin, &elsewhere).await.err().unwrap();
        assert!(matches!(error, ProbeError::OtherNetwork), "{error}");
        // A name is judged by what it stands for.
        let named = Peer { address: endpoint.address.replace("127.0.0.1", "localhost"), ..endpoint.clone() };
        assert!(matches!(probe(&named, origin, &elsewhere).await, Err(ProbeError::OtherNetwork)));
    }
    assert!(probe(&endpoint, Origin::Config, &elsewhere).await.is_ok());
}

#[tokio::test]
async fn oversized_fields_are_truncated() {
    let mut health = document(Tier::Primary);
    health.endpoint.reasons = vec!["r".repeat(3_000); 15];
    health.endpoint.version = "v".repeat(999);
    health.endpoint.covers = vec![Tier::Emergency; 99];
    let peer = proving_peer(b"key", &health, None).await;
    let health = probe_with_key(&peer, b"key").await.unwrap().health;
    assert_eq!((health.endpoint.reasons.len(), health.endpoint.covers.len()), (8, 1));
    assert!(health.endpoint.reasons[0].len() <= limits::EVENT_CHARS && health.endpoint.version.len() <= 32);
}

fn proven(health: HealthDocument) -> ProvenAnswer {
    ProvenAnswer { health, rtt: Duration::from_millis(1), proof: PeerProof::Key }
}

fn refused() -> ProbeError {
    ProbeError::Connect(std::io::Error::other("refused"))
}

fn peer(address: &str) -> Peer {
    Peer { tier: Tier::Primary, address: address.to_owned(), expected: false }
}

#[test]
fn the_table_is_bounded_and_configured_peers_stay() {
    let peers = Peers::new(vec![peer("a:1")]);
    assert!(peers.add(peer("a:1"), Origin::Api).unwrap_err().to_string().contains("already"));
    for at in 1..limits::PEERS {
        peers.add(peer(&format!("b:{at}")), Origin::Mdns).unwrap();
    }
    assert!(peers.add(peer("c:1"), Origin::Api).is_err(), "they may still prove themselves");
    assert!(peers.remove("a:1").unwrap().unwrap_err().to_string().contains("configur"));
    assert_eq!(peers.remove("b:1"), Some(Ok(Tier::Primary)));
    assert_eq!(peers.remove("b:1"), None);
    peers.add(peer("c:1"), Origin::Api).unwrap();
}

#[test]
fn a_change_is_reported_once_with_its_cause() {
    let peers = Peers::new(vec![peer("a:1")]);
    let good = |status, started_ns| {
        let mut health = document(Tier::Primary);
        (health.endpoint.status, health.endpoint.started_ns) = (status, started_ns);
        Ok(proven(health))
    };
    let changed =
        |answer| peers.record("a:1", answer).map(|change| (change.before, change.now, change.cause));
    assert_eq!(changed(Err(refused())), None, "it never was up");
    let up = changed(good(HealthStatus::Healthy, 1)).unwrap();
    assert_eq!((up.0, up.1), (None, HealthStatus::Healthy));
    assert_eq!(changed(good(HealthStatus::Healthy, 1)), None);
    let down = changed(Err(refused())).unwrap();
    assert_eq!(down, (Some(HealthStatus::Healthy), HealthStatus::Down, "refused".to_owned()));
    assert_eq!(changed(Err(refused())), None);
    assert_eq!(changed(good(HealthStatus::Degraded, 1)).unwrap().0, Some(HealthStatus::Down));
    let anew = changed(good(HealthStatus::Degraded, 2)).unwrap();
    assert_eq!((anew.0, anew.2.as_str()), (Some(HealthStatus::Down), "it was started anew"));
    assert_eq!(peers.record("gone:1", good(HealthStatus::Healthy, 1)), None);
}

#[test]
fn a_tier_is_missing_if_it_was_seen_or_is_expected() {
    let now = monotonic();
    let later = now + Duration::from_millis(limits::CHILD_START_MS + 1);
    let peers =
        Peers::new(vec![peer("a:1"), Peer { tier: Tier::Secondary, address: "b:1".into(), expected: true }]);
    assert_eq!(peers.views(now), [TierView::Unknown; 4]);
    assert_eq!(peers.views(later)[..2], [TierView::Unknown, TierView::Missing]);
    peers.record("a:1", Ok(proven(document(Tier::Primary))));
    assert_eq!(peers.views(now)[0], TierView::Living);
    peers.record("a:1", Err(refused()));
    assert_eq!(peers.views(now)[0], TierView::Missing);
    // One serving endpoint of the tier is enough.
    peers.add(peer("c:1"), Origin::Api).unwrap();
    peers.record("c:1", Ok(proven(document(Tier::Primary))));
    assert_eq!(peers.views(now)[0], TierView::Living);
}

#[test]
fn what_only_claims_counts_for_nothing_and_says_nothing_of_its_address() {
    let now = monotonic() + Duration::from_millis(limits::CHILD_START_MS + 1);
    for (origin, expected) in [(Origin::Api, false), (Origin::Api, true), (Origin::Mdns, false)] {
        let peers = Peers::default();
        peers.add(Peer { expected, ..peer("a:1") }, origin).unwrap();
        let shown = || serde_json::to_string(&peers.documents()).unwrap();
        let before = shown();
        for error in [
            refused(),
            ProbeError::Timeout,
            ProbeError::WrongTier(Tier::Secondary),
            Unproven::NoProof.into(),
            Unproven::OtherKey.into(),
            Unproven::Wrong.into(),
        ] {
            assert_eq!(peers.record("a:1", Err(error)), None);
            assert_eq!(shown(), before, "{origin:?}");
        }
        assert!(before.contains("\"unproven\":\"it has not proven the rover's key"), "{before}");
        assert_eq!(peers.views(now)[0], TierView::Unknown);
        assert!(peers.known_documents().is_empty() && peers.with_capacity().is_empty());
        // What has proven itself once is missed.
        peers.record("a:1", Ok(proven(document(Tier::Primary))));
        peers.record("a:1", Err(refused()));
        assert_eq!(peers.views(now)[0], TierView::Missing);
    }
    let configured = Peers::new(vec![peer("a:1")]);
    configured.record("a:1", Err(Unproven::OtherKey.into()));
    let document = &configured.documents()[0];
    assert!(document.unproven.as_ref().unwrap().contains("another key"), "{document:?}");
    assert_eq!(configured.known_documents().len(), 1, "a person wrote this address");
}

#[test]
fn an_impostor_in_the_place_of_a_dead_primary_does_not_keep_it_from_being_covered() {
    let peers = Peers::new(vec![peer("a:1")]);
    let now = monotonic();
    peers.record("a:1", Ok(proven(document(Tier::Primary))));
    assert_eq!(peers.views(now)[0], TierView::Living);
    peers.add(peer("b:1"), Origin::Mdns).unwrap();
    for _ in 0..2 {
        peers.record("a:1", Err(Unproven::NoProof.into()));
        peers.record("b:1", Err(Unproven::NoProof.into()));
        assert_eq!(peers.views(now)[0], TierView::Missing);
        assert!(peers.with_capacity().is_empty());
    }
    let document = &peers.documents()[0];
    assert!(document.proof.is_none() && document.unproven.is_some() && document.age_s.is_some());
    peers.record("a:1", Ok(proven(self::document(Tier::Primary))));
    let document = &peers.documents()[0];
    assert!(document.proof == Some(PeerProof::Key) && document.unproven.is_none());
}

#[test]
fn registrations_have_a_pace() {
    let (peers, begin) = (Peers::default(), Duration::from_secs(1_000));
    let taken = (0..100).take_while(|_| peers.count_registration(begin).is_ok()).count();
    assert_eq!(taken, 60);
    assert_eq!(peers.count_registration(begin + Duration::from_secs(20)), Err(Duration::from_secs(40)));
    assert_eq!(peers.count_registration(begin + Duration::from_secs(60)), Ok(()));
}

#[test]
fn a_withdrawal_removes_only_what_does_not_answer() {
    let peers = Peers::default();
    peers.add(peer("a:1"), Origin::Mdns).unwrap();
    peers.withdraw("a:1");
    assert!(peers.documents().is_empty(), "it has proven nothing");
    peers.add(peer("a:1"), Origin::Mdns).unwrap();
    assert!(peers.record("a:1", Ok(proven(document(Tier::Primary)))).unwrap().joined);
    peers.withdraw("a:1");
    assert!(!peers.remove_withdrawn("a:1") && peers.documents().len() == 1, "it still serves");
    peers.record("a:1", Err(refused()));
    assert!(peers.remove_withdrawn("a:1") && peers.documents().is_empty());
}
