//! Every route with every kind of client: the status follows from the permission that the route declares in the
//! OpenAPI document. A route that declares none fails. What another operator owns is tried as well, and so is every
//! operation over a session.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

mod certificates;
mod objects;
mod rover;
mod sessions;

use std::net::{IpAddr, Ipv4Addr};

use roverline_tests::http::outside_address;
use roverline_tests::require;

use crate::objects::Objects;
use crate::rover::{FROM, From, Needs, Operation, Rover, SHOWN, Shown};

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

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
        Shown::Observer | Shown::Operator | Shown::Owner | Shown::Jwt if needs == Needs::KnownName => &[],
        Shown::Observer | Shown::ObserverCertificate => &[403],
        Shown::Operator | Shown::Owner | Shown::Jwt | Shown::OperatorCertificate
            if needs == Needs::Operator =>
        {
            &[]
        }
        Shown::Operator | Shown::Owner | Shown::Jwt | Shown::OperatorCertificate => &[403],
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
fn judge_origin(
    rover: &Rover,
    operations: &[Operation],
    objects: &Objects,
    from: From,
    outside: IpAddr,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for owned in objects.operations() {
        for shown in SHOWN {
            let operation = &owned.operation;
            let answer = rover.send(operation, shown, from, outside, &owned.body.to_string());
            let what = format!("{} {} {shown:?} {from:?}", operation.path, owned.body);
            let refusals = expected(operation.needs, shown, from);
            wrong.extend(owned.judge(&what, answer.status, &answer.body, refusals));
        }
    }
    for operation in operations {
        for shown in SHOWN {
            let status = rover.send(operation, shown, from, outside, "{}").status;
            let what = format!("{} {} {shown:?} {from:?}", operation.method, operation.path);
            wrong.extend(judge(&what, status, expected(operation.needs, shown, from)));
        }
    }
    wrong
}

fn assert_matrix(rover: &Rover, places: &[From]) {
    let Ok(outside) = outside_address() else { return };
    let operations = rover.operations();
    let objects = Objects::take(rover);
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let (operations, objects) = (&operations, &objects);
        let start = |from| scope.spawn(move || judge_origin(rover, operations, objects, from, outside));
        let running: Vec<_> = places.iter().map(|&from| start(from)).collect();
        running.into_iter().flat_map(|place| place.join().unwrap()).collect()
    });
    objects.assert_untouched(rover);
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
    let post = |path: &str, body: &str, shown| {
        let operation =
            Operation { method: "POST".to_owned(), path: path.to_owned(), needs: Needs::Operator };
        rover.send(&operation, shown, From::Loopback, LOCAL, body).status
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
