//! Every route with every kind of client: the status follows from the permission that the route declares in the
//! OpenAPI document. A route that declares none fails.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use roverline_protocol::native::{ClientMessage, ServerMessage};
use roverline_tests::gateway::{self, Gateway};
use roverline_tests::http::{self, Response, outside_address};
use roverline_tests::native::{NativeClient, Received};
use roverline_tests::require;
use roverline_tests::temp::{self, TempDir};
use roverline_tests::wait::eventually;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(20);
const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// `eve`, an operator until 2099.
const JWT: &str = concat!(
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.",
    "eyJpc3MiOiJodHRwczovL2lkLmV4YW1wbGUiLCJhdWQiOiJyb3ZlciIsInN1YiI6ImV2ZSIsInJvbGUi",
    "OiJvcGVyYXRvciIsImV4cCI6NDA3MDkwODgwMH0.",
    "l3dH1DBEqVTqL226k5mO1bqypct84A4nwyNZeTb27_4"
);
/// The same until 2001.
const EXPIRED_JWT: &str = concat!(
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.",
    "eyJpc3MiOiJodHRwczovL2lkLmV4YW1wbGUiLCJhdWQiOiJyb3ZlciIsInN1YiI6ImV2ZSIsInJvbGUi",
    "OiJvcGVyYXRvciIsImV4cCI6MTAwMDAwMDAwMH0.",
    "RVz3tvEGn5hcqpuILDwUWrLbZ44FAxyN8GwCY6x3u9E"
);
/// The same for another audience.
const OTHER_JWT: &str = concat!(
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.",
    "eyJpc3MiOiJodHRwczovL2lkLmV4YW1wbGUiLCJhdWQiOiJvdGhlciIsInN1YiI6ImV2ZSIsInJvbGUi",
    "OiJvcGVyYXRvciIsImV4cCI6NDA3MDkwODgwMH0.",
    "TKeOd7ASNL3RjlOHaovf8sAML-GIk-wDduz34QLvK1c"
);

/// What a client shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    Nothing,
    Observer,
    Operator,
    Commander,
    Expired,
    Revoked,
    Jwt,
    ExpiredJwt,
    OtherJwt,
}

const SHOWN: [Shown; 9] = [
    Shown::Nothing,
    Shown::Observer,
    Shown::Operator,
    Shown::Commander,
    Shown::Expired,
    Shown::Revoked,
    Shown::Jwt,
    Shown::ExpiredJwt,
    Shown::OtherJwt,
];

/// Where a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Loopback,
    OtherAddress,
    ForeignPage,
    /// A page under a name that its owner has pointed at the rover.
    UnknownName,
    UnknownProxy,
}

const FROM: [From; 5] =
    [From::Loopback, From::OtherAddress, From::ForeignPage, From::UnknownName, From::UnknownProxy];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    Nothing,
    /// Nothing, unless it is a page that may be anybody's.
    KnownName,
    Operator,
    Commander,
}

#[derive(Debug)]
struct Operation {
    method: String,
    path: String,
    needs: Needs,
}

struct Rover {
    gateway: Gateway,
    tokens: Vec<(Shown, String)>,
    _scratch: TempDir,
}

impl Rover {
    fn start() -> Rover {
        let scratch = temp::dir();
        let file = scratch.path().join("tokens");
        let file = file.to_str().unwrap();
        let add = |name: &str, role: &str| {
            let (code, token, why) =
                gateway::run(&["token", "add", "--tokens", file, "--role", role, name], PATIENCE);
            assert_eq!(code, 0, "{why}");
            token.trim().to_owned()
        };
        let mut tokens = vec![
            (Shown::Observer, add("olga", "observer")),
            (Shown::Operator, add("otto", "operator")),
            (Shown::Commander, add("cora", "commander")),
            (Shown::Revoked, add("rosa", "commander")),
            (Shown::Expired, "e".repeat(64)),
            (Shown::Jwt, JWT.to_owned()),
            (Shown::ExpiredJwt, EXPIRED_JWT.to_owned()),
            (Shown::OtherJwt, OTHER_JWT.to_owned()),
        ];
        tokens.sort_by_key(|(shown, _)| *shown as u8);
        let text = std::fs::read_to_string(file).unwrap();
        let expired = format!("commander eric {} expires=2020-01-01T00:00:00Z\n", "e".repeat(64));
        std::fs::write(file, text + &expired).unwrap();
        let key = temp::write(&scratch, "key", SECRET);
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        let config = format!(
            "[gateway]\nhost = \"0.0.0.0\"\nmdns = \"off\"\n[access]\ntokens = {file:?}\n\
             insecure = true\nrelease_stop = \"commander\"\norigins = [\"http://team.example\"]\n\
             [access.jwt]\nissuer = \"https://id.example\"\naudience = \"rover\"\nkey = {key:?}\n"
        );
        let config = temp::write(&scratch, "roverline.toml", &config);
        let gateway = Gateway::serve(&["--source", "sim", "--config", config.to_str().unwrap()]);
        let rover = Rover { gateway, tokens, _scratch: scratch };
        let (code, _, why) = gateway::run(&["token", "revoke", "--tokens", file, "rosa"], PATIENCE);
        assert_eq!(code, 0, "{why}");
        let revoked = || {
            let fields = rover.fields(Shown::Revoked, From::Loopback);
            let body = r#"{"queue_name":"q","message":1}"#;
            http::request(rover.port(), "POST", "/queue/enqueue", &fields, body).status == 401
        };
        eventually("the token is revoked", PATIENCE, revoked);
        rover
    }

    fn port(&self) -> u16 {
        self.gateway.first_port()
    }

    fn bearer(&self, shown: Shown) -> Option<String> {
        let (_, token) = self.tokens.iter().find(|(other, _)| *other == shown)?;
        Some(format!("Bearer {token}"))
    }

    /// The header fields of a client, each ends in CRLF.
    fn fields(&self, shown: Shown, from: From) -> String {
        let mut fields = "Content-Type: application/json\r\n".to_owned();
        if let Some(bearer) = self.bearer(shown) {
            fields += &format!("Authorization: {bearer}\r\n");
        }
        match from {
            From::ForeignPage => fields += "Origin: http://evil.example\r\n",
            From::UnknownProxy => fields += "X-Forwarded-For: 127.0.0.1\r\n",
            From::UnknownName => fields += "User-Agent: Mozilla/5.0\r\n",
            From::Loopback | From::OtherAddress => {}
        }
        fields
    }

    fn send(&self, operation: &Operation, shown: Shown, from: From, outside: IpAddr, body: &str) -> Response {
        let address = if from == From::OtherAddress { outside } else { IpAddr::from([127, 0, 0, 1]) };
        let Operation { method, path, .. } = operation;
        let length =
            if method == "GET" { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let body = if method == "GET" { "" } else { body };
        let fields = self.fields(shown, from);
        let host = if from == From::UnknownName { "evil.example".to_owned() } else { address.to_string() };
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
        let request = format!("{head}{fields}{length}\r\n{body}");
        http::exchange_with(SocketAddr::new(address, self.port()), request.as_bytes())
    }

    /// Every operation of the OpenAPI document, with parameters filled in.
    fn operations(&self) -> Vec<Operation> {
        let document: Value =
            serde_json::from_str(&http::get(self.port(), "/api/v2/openapi.json").body).unwrap();
        let mut all = Vec::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            let filled = match path.split_once('{') {
                Some((before, rest)) => format!("{before}x{}", rest.split_once('}').unwrap().1),
                None => path.clone(),
            };
            for (method, operation) in methods.as_object().unwrap() {
                let needs = match operation["x-roverline-permission"].as_str() {
                    Some("telemetry") => Needs::Nothing,
                    Some("read") => Needs::KnownName,
                    Some("share" | "engage-stop") => Needs::Operator,
                    Some("overrule") => Needs::Commander,
                    other => panic!("{method} {path} declares no known permission: {other:?}"),
                };
                all.push(Operation { method: method.to_uppercase(), path: filled.clone(), needs });
            }
        }
        assert!(all.len() > 40, "{}", all.len());
        all
    }
}

/// What the rule says: allowed, or the statuses of a refusal. Allowed requests may fail for other reasons.
fn expected(needs: Needs, shown: Shown, from: From) -> &'static [u16] {
    if needs == Needs::Nothing || (needs == Needs::KnownName && from != From::UnknownName) {
        return &[];
    }
    if from == From::ForeignPage {
        return &[403];
    }
    match shown {
        Shown::Nothing if from == From::Loopback => &[],
        Shown::Nothing if from == From::UnknownName => &[421],
        Shown::Nothing | Shown::Expired | Shown::ExpiredJwt | Shown::OtherJwt => &[401],
        // It looks like a guess, and an address that guesses has to wait.
        Shown::Revoked => &[401, 429],
        Shown::Observer | Shown::Operator | Shown::Jwt if needs == Needs::KnownName => &[],
        Shown::Observer => &[403],
        Shown::Operator | Shown::Jwt if needs == Needs::Operator => &[],
        Shown::Operator | Shown::Jwt => &[403],
        Shown::Commander => &[],
    }
}

fn judge(what: &str, status: u16, expected: &[u16]) -> Option<String> {
    let is_right = match expected {
        [] => status >= 200 && !matches!(status, 401 | 403 | 421 | 429),
        refusals => refusals.contains(&status),
    };
    (!is_right).then(|| format!("{what}: {status}, expected {expected:?}"))
}

#[test]
fn every_route_asks_every_client_for_its_permission() {
    let outside = require!(outside_address());
    let rover = Rover::start();
    let mut wrong = Vec::new();
    let mut count = 0;
    for operation in rover.operations() {
        for from in FROM {
            for shown in SHOWN {
                let status = rover.send(&operation, shown, from, outside, "{}").status;
                let what = format!("{} {} {shown:?} {from:?}", operation.method, operation.path);
                wrong.extend(judge(&what, status, expected(operation.needs, shown, from)));
                count += 1;
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn some_bodies_need_more_than_their_route() {
    let rover = Rover::start();
    let local = IpAddr::from([127, 0, 0, 1]);
    let post = |path: &str, body: &str, shown| {
        let operation =
            Operation { method: "POST".to_owned(), path: path.to_owned(), needs: Needs::Operator };
        rover.send(&operation, shown, From::Loopback, local, body).status
    };
    let stop =
        |engage: bool, shown| post("/api/v2/emergency-stop", &format!(r#"{{"engage":{engage}}}"#), shown);
    assert_eq!((stop(true, Shown::Operator), stop(false, Shown::Operator)), (200, 403));
    assert_eq!((stop(true, Shown::Observer), stop(false, Shown::Jwt)), (403, 403));
    assert_eq!(stop(false, Shown::Commander), 200);
    let fail = r#"{"to":"failed","reason":"x"}"#;
    let path = "/api/v2/lifecycle/robots/x/transition";
    let is_route = rover.operations().iter().any(|operation| operation.path == path);
    if is_route {
        assert_eq!(post(path, fail, Shown::Operator), 403);
    }
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
            for shown in [Shown::Nothing, Shown::Observer, Shown::Operator, Shown::Commander, Shown::Jwt] {
                let bearer = rover.bearer(shown);
                let mut fields: Vec<(&'static str, &str)> = Vec::new();
                fields.extend(page.map(|origin| ("origin", origin)));
                fields.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
                fields.extend(proxy.then_some(("via", "1.1 tunnel")));
                let mut native = NativeClient::connect_with(rover.port(), &fields).await;
                let is_confined = page == Some("http://evil.example") && shown == Shown::Nothing;
                for (id, operation) in (1..).zip(&operations) {
                    let refused: &[u16] = match (operation.needs, shown) {
                        _ if is_confined => &[403],
                        (Needs::Nothing | Needs::KnownName, _) | (_, Shown::Commander) => &[],
                        (Needs::Operator, Shown::Operator | Shown::Jwt) => &[],
                        (_, Shown::Nothing) if page.is_none() && !proxy => &[],
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
fn no_session_begins_with_a_token_that_has_ended() {
    let rover = Rover::start();
    for shown in [Shown::Expired, Shown::Revoked, Shown::ExpiredJwt, Shown::OtherJwt] {
        let bearer = rover.bearer(shown).unwrap();
        let field = format!("\r\nAuthorization: {bearer}\r\n\r\n");
        let upgrade = roverline_tests::raw::handshake("/").replace("\r\n\r\n", &field);
        let refused = http::exchange(rover.port(), upgrade.as_bytes());
        assert!(refused.status == 401, "{shown:?} {refused:?}");
        let reason = match shown {
            Shown::Expired => "expired at 2020-01-01T00:00:00Z",
            Shown::ExpiredJwt => "expired at 2001-09-09T01:46:40Z",
            Shown::OtherJwt => "audience",
            _ => "not known",
        };
        assert!(refused.body.contains(reason), "{shown:?} {}", refused.body);
    }
}
