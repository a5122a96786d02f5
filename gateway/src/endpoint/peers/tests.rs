//! Misbehaving peers: wrong, slow and endless answers are detected in time and delay no other peer.

use std::time::Duration;

use roverline_protocol::Tier;
use roverline_protocol::status::{EndpointDocument, HealthDocument, HealthStatus, Origin, SourceDocument};
use roverline_source::clock::monotonic;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::endpoint::peers::Peer;
use crate::endpoint::peers::probe::{ProbeError, probe};
use crate::endpoint::peers::promotion::TierView;
use crate::endpoint::peers::table::Peers;
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
        tokio::time::sleep(Duration::from_secs(60)).await;
        return;
    }
    while stream.write_all(drip).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(if drip.len() > 16 { 0 } else { 5 })).await;
    }
}

async fn verdict(head: Vec<u8>, drip: &'static [u8]) -> (String, Duration) {
    let peer = misbehaving_peer(head, drip).await;
    let started = monotonic();
    let error = probe(&peer).await.unwrap_err().to_string();
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
    let endless = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\n".to_vec();
    let promised = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n".to_vec();
    for (name, head, drip, word) in [
        ("not JSON", with_length("<html>"), &b""[..], "not a health document"),
        ("other JSON", with_length("{}"), b"", "not a health document"),
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
    assert!(probe(&nobody).await.unwrap_err().to_string().contains("refused"));
}

#[tokio::test]
async fn oversized_fields_are_truncated() {
    let mut health = document(Tier::Primary);
    health.endpoint.reasons = vec!["r".repeat(3_000); 15];
    health.endpoint.version = "v".repeat(999);
    health.endpoint.covers = vec![Tier::Emergency; 99];
    let peer = misbehaving_peer(with_length(&serde_json::to_string(&health).unwrap()), b"").await;
    let (health, _) = probe(&peer).await.unwrap();
    assert_eq!((health.endpoint.reasons.len(), health.endpoint.covers.len()), (8, 1));
    assert!(health.endpoint.reasons[0].len() <= limits::EVENT_CHARS && health.endpoint.version.len() <= 32);
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
    assert!(peers.add(peer("c:1"), Origin::Api).is_err());
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
        Ok((health, Duration::from_millis(1)))
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
    peers.record("a:1", Ok((document(Tier::Primary), Duration::ZERO)));
    assert_eq!(peers.views(now)[0], TierView::Living);
    peers.record("a:1", Err(refused()));
    assert_eq!(peers.views(now)[0], TierView::Missing);
    // One serving endpoint of the tier is enough.
    peers.add(peer("c:1"), Origin::Api).unwrap();
    peers.record("c:1", Ok((document(Tier::Primary), Duration::ZERO)));
    assert_eq!(peers.views(now)[0], TierView::Living);
}
