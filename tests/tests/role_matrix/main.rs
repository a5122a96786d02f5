//! Every route with every kind of client: the status follows from the permission that the route declares in the
//! OpenAPI document. A route that declares none fails.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

mod certificates;
mod rover;

use std::net::IpAddr;

use roverline_protocol::native::{ClientMessage, ServerMessage};
use roverline_tests::http::{self, outside_address};
use roverline_tests::native::{NativeClient, Received};
use roverline_tests::require;

use crate::rover::{FROM, From, Needs, Operation, Rover, SHOWN, Shown};

/// The credentials with which a session begins.
const LASTING: [Shown; 8] = [
    Shown::Nothing,
    Shown::Observer,
    Shown::Operator,
    Shown::Commander,
    Shown::Jwt,
    Shown::ObserverCertificate,
    Shown::OperatorCertificate,
    Shown::CommanderCertificate,
];

/// The expected result: allowed, or the statuses of a refusal. Allowed requests may fail for other reasons.
fn expected(needs: Needs, shown: Shown, from: From) -> &'static [u16] {
    // Its handshake is refused before any request.
    if shown == Shown::ForeignCertificate {
        return &[0];
    }
    if needs == Needs::Nothing || (needs == Needs::KnownName && from != From::UnknownName) {
        return &[];
    }
    if from == From::ForeignPage {
        return &[403];
    }
    let is_proxied = matches!(from, From::UnknownProxy | From::KnownProxy);
    match shown {
        // It is the proxy's.
        _ if is_proxied && shown.is_certificate() => &[401],
        Shown::Nothing if from == From::Loopback => &[],
        // A browser shows its user's certificate for every page.
        _ if from == From::UnknownName && (shown == Shown::Nothing || shown.is_certificate()) => &[421],
        Shown::Nothing | Shown::Expired | Shown::ExpiredJwt | Shown::OtherJwt | Shown::ForeignCertificate => {
            &[401]
        }
        // It looks like a guess, and an address that guesses has to wait.
        Shown::Revoked => &[401, 429],
        Shown::Observer | Shown::Operator | Shown::Jwt if needs == Needs::KnownName => &[],
        Shown::Observer | Shown::ObserverCertificate => &[403],
        Shown::Operator | Shown::Jwt | Shown::OperatorCertificate if needs == Needs::Operator => &[],
        Shown::Operator | Shown::Jwt | Shown::OperatorCertificate => &[403],
        Shown::Commander | Shown::CommanderCertificate => &[],
    }
}

fn judge(what: &str, status: u16, expected: &[u16]) -> Option<String> {
    let is_right = match expected {
        [] => status >= 200 && !matches!(status, 401 | 403 | 421 | 429),
        refusals => refusals.contains(&status),
    };
    (!is_right).then(|| format!("{what}: {status}, expected {expected:?}"))
}

/// Tries every operation with every credential from one place; what is wrong.
fn judge_place(rover: &Rover, operations: &[Operation], from: From, outside: IpAddr) -> Vec<String> {
    let mut wrong = Vec::new();
    for operation in operations {
        for shown in SHOWN {
            let status = rover.send(operation, shown, from, outside, "{}");
            let what = format!("{} {} {shown:?} {from:?}", operation.method, operation.path);
            wrong.extend(judge(&what, status, expected(operation.needs, shown, from)));
        }
    }
    wrong
}

fn assert_matrix(rover: &Rover, places: &[From]) {
    let Ok(outside) = outside_address() else { return };
    let operations = rover.operations();
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let operations = &operations;
        let start = |from| scope.spawn(move || judge_place(rover, operations, from, outside));
        let running: Vec<_> = places.iter().map(|&from| start(from)).collect();
        running.into_iter().flat_map(|place| place.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_route_asks_every_client_for_its_permission() {
    require!(outside_address());
    assert_matrix(&Rover::start(), &FROM);
}

#[test]
fn a_known_proxy_is_as_far_as_its_client() {
    require!(outside_address());
    assert_matrix(&Rover::with_proxies("\"127.0.0.1\""), &[From::KnownProxy]);
}

#[test]
fn some_bodies_need_more_than_their_route() {
    let rover = Rover::start();
    let local = IpAddr::from([127, 0, 0, 1]);
    let post = |path: &str, body: &str, shown| {
        let operation =
            Operation { method: "POST".to_owned(), path: path.to_owned(), needs: Needs::Operator };
        rover.send(&operation, shown, From::Loopback, local, body)
    };
    let stop =
        |engage: bool, shown| post("/api/v2/emergency-stop", &format!(r#"{{"engage":{engage}}}"#), shown);
    assert_eq!((stop(true, Shown::Operator), stop(false, Shown::Operator)), (200, 403));
    assert_eq!((stop(true, Shown::Observer), stop(false, Shown::Jwt)), (403, 403));
    assert_eq!(stop(false, Shown::Commander), 200);
    let lead = |to: &str, shown| {
        post("/api/v2/robots/x/transition", &format!(r#"{{"to":"{to}","reason":"test"}}"#), shown)
    };
    // Only a commander takes a robot away from its user. There is none of this name.
    assert_eq!((lead("failed", Shown::Operator), lead("failed", Shown::Commander)), (403, 404));
    assert_eq!((lead("active", Shown::Operator), lead("active", Shown::Observer)), (404, 403));
}

async fn ask(native: &mut NativeClient, id: u64, operation: &Operation) -> u16 {
    let body = (operation.method != "GET").then(|| serde_json::json!({}));
    let (method, path) = (operation.method.clone(), operation.path.clone());
    native.send(&ClientMessage::Request { id, method, path, body }).await;
    loop {
        match native.next().await {
            Received::Text(message) => {
                if let ServerMessage::Response { id: answered, status, .. } = *message
                    && answered == id
                {
                    return status;
                }
            }
            Received::Closed(code) => panic!("{operation:?}: closed with {code}"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_session_asks_for_the_same_permissions() {
    let rover = Rover::start();
    let operations = rover.operations();
    let mut wrong = Vec::new();
    for page in [None, Some("http://team.example"), Some("http://evil.example")] {
        for proxy in [false, true] {
            for shown in LASTING {
                let bearer = rover.bearer(shown);
                let mut fields: Vec<(&'static str, &str)> = Vec::new();
                fields.extend(page.map(|origin| ("origin", origin)));
                fields.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
                fields.extend(proxy.then_some(("via", "1.1 tunnel")));
                let mut native = match rover.certificate(shown) {
                    None => NativeClient::connect_with(rover.port(), &fields).await,
                    Some(client) => {
                        let stream = client.connect(rover.port()).await;
                        NativeClient::over(stream, &fields).await
                    }
                };
                // A browser shows its user's certificate for every page, a proxy its own for every client.
                let is_lent = shown.is_certificate() && (page.is_some() || proxy);
                let is_unnamed = shown == Shown::Nothing || is_lent;
                let is_confined = page == Some("http://evil.example") && is_unnamed;
                for (id, operation) in (1..).zip(&operations) {
                    let refused: &[u16] = match (operation.needs, shown) {
                        _ if is_confined => &[403],
                        (Needs::Nothing | Needs::KnownName, _) => &[],
                        (_, Shown::Nothing) if page.is_none() && !proxy => &[],
                        _ if is_unnamed => &[403],
                        (_, Shown::Commander | Shown::CommanderCertificate) => &[],
                        (Needs::Operator, Shown::Operator | Shown::Jwt | Shown::OperatorCertificate) => &[],
                        _ => &[403],
                    };
                    let status = ask(&mut native, id, operation).await;
                    let what = format!("{operation:?} {shown:?} {page:?} proxy: {proxy}");
                    // `/health` may be unavailable, which is no refusal.
                    wrong.extend(judge(&what, status, refused));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn no_session_begins_with_a_credential_that_has_ended() {
    let outside = require!(outside_address());
    let rover = Rover::start();
    for shown in [Shown::Expired, Shown::Revoked, Shown::ExpiredJwt, Shown::OtherJwt] {
        for from in FROM {
            let field = format!("\r\n{}\r\n", rover.fields(shown, from));
            let upgrade = roverline_tests::raw::handshake("/").replace("\r\n\r\n", &field);
            let address = if from == From::OtherAddress { outside } else { IpAddr::from([127, 0, 0, 1]) };
            let refused =
                http::exchange_over(http::connect((address, rover.port()).into()), upgrade.as_bytes());
            let reason = match shown {
                Shown::Expired => "expired at 2020-01-01T00:00:00Z",
                Shown::ExpiredJwt => "expired at 2001-09-09T01:46:40Z",
                Shown::OtherJwt => "audience",
                _ => "not known",
            };
            let is_refused = refused.status == 401 && refused.body.contains(reason);
            assert!(is_refused, "{shown:?} {from:?} {refused:?}");
        }
    }
}
