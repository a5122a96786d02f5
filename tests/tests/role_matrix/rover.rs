//! A rover with every kind of credential, and the clients that show them.

use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use roverline_tests::gateway::{self, Gateway};
use roverline_tests::http::{self, Response};
use roverline_tests::temp::{self, TempDir};
use roverline_tests::wait::{eventually, poll};
use serde_json::Value;

use crate::certificates::{Certificates, TlsClient};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
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

/// The credential that a client shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    Nothing,
    Observer,
    Operator,
    Commander,
    Expired,
    Revoked,
    Jwt,
    ExpiredJwt,
    OtherJwt,
    /// A certificate that `[tls.roles]` does not name, of an observer.
    ObserverCertificate,
    /// Certificates of observers to whose names `[tls.roles]` gives more.
    OperatorCertificate,
    CommanderCertificate,
    /// A commander's of another authority.
    ForeignCertificate,
    /// The token of the operator who owns the objects of the matrix.
    Owner,
}

pub(crate) const SHOWN: [Shown; 13] = [
    Shown::Nothing,
    Shown::Observer,
    Shown::Operator,
    Shown::Commander,
    Shown::Expired,
    Shown::Revoked,
    Shown::Jwt,
    Shown::ExpiredJwt,
    Shown::OtherJwt,
    Shown::ObserverCertificate,
    Shown::OperatorCertificate,
    Shown::CommanderCertificate,
    Shown::ForeignCertificate,
];

/// Where a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    Loopback,
    OtherAddress,
    ForeignPage,
    /// A page under a name that its owner has pointed at the rover.
    UnknownName,
    UnknownProxy,
    /// Behind a proxy that `[access] trusted_proxies` lists.
    KnownProxy,
}

/// Where clients of a gateway that knows no proxy are.
pub(crate) const FROM: [From; 5] =
    [From::Loopback, From::OtherAddress, From::ForeignPage, From::UnknownName, From::UnknownProxy];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    Nothing,
    /// Nothing, unless it is a page under a name that others may own.
    KnownName,
    Operator,
    Commander,
}

#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) needs: Needs,
}

pub(crate) struct Rover {
    gateway: Gateway,
    tokens: Vec<(Shown, String)>,
    certificates: Certificates,
    _scratch: TempDir,
}

impl Rover {
    pub(crate) fn start() -> Rover {
        Rover::with_proxies("")
    }

    /// A rover that trusts these proxies, in TOML.
    pub(crate) fn with_proxies(proxies: &str) -> Rover {
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
            (Shown::Owner, add("oscar", "operator")),
        ];
        tokens.sort_by_key(|(shown, _)| *shown as u8);
        let text = std::fs::read_to_string(file).unwrap();
        let expired = format!("commander eric {} expires=2020-01-01T00:00:00Z\n", "e".repeat(64));
        std::fs::write(file, text + &expired).unwrap();
        let key = temp::write(&scratch, "key", SECRET);
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        let certificates = Certificates::make();
        let tls = certificates.settings();
        let config = format!(
            "[gateway]\nhost = \"0.0.0.0\"\nmdns = \"off\"\n[access]\ntokens = {file:?}\n\
             insecure = true\ntrusted_proxies = [{proxies}]\nrelease_stop = \"commander\"\norigins = [\"http://team.example\"]\n\
             [access.jwt]\nissuer = \"https://id.example\"\naudience = \"rover\"\nkey = {key:?}\n{tls}"
        );
        let config = temp::write(&scratch, "roverline.toml", &config);
        let gateway = Gateway::serve(&["--source", "sim", "--config", config.to_str().unwrap()]);
        let rover = Rover { gateway, tokens, certificates, _scratch: scratch };
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

    pub(crate) fn port(&self) -> u16 {
        self.gateway.first_port()
    }

    pub(crate) fn bearer(&self, shown: Shown) -> Option<String> {
        let (_, token) = self.tokens.iter().find(|(other, _)| *other == shown)?;
        Some(format!("Bearer {token}"))
    }

    /// The header fields of a client, each ends in CRLF.
    pub(crate) fn fields(&self, shown: Shown, from: From) -> String {
        let mut fields = "Content-Type: application/json\r\n".to_owned();
        if let Some(bearer) = self.bearer(shown) {
            fields += &format!("Authorization: {bearer}\r\n");
        }
        match from {
            From::ForeignPage => fields += "Origin: http://evil.example\r\n",
            From::UnknownName => fields += "User-Agent: Mozilla/5.0\r\n",
            From::UnknownProxy => fields += "X-Forwarded-For: 127.0.0.1\r\n",
            From::KnownProxy => fields += "X-Forwarded-For: 192.0.2.7\r\n",
            From::Loopback | From::OtherAddress => {}
        }
        fields
    }

    /// The identity that a client proves by TLS, if it has one.
    pub(crate) fn certificate(&self, shown: Shown) -> Option<TlsClient> {
        self.certificates.client(shown)
    }

    /// Sends a request; status 0 if there is no answer.
    pub(crate) fn send(
        &self,
        operation: &Operation,
        shown: Shown,
        from: From,
        outside: IpAddr,
        body: &str,
    ) -> Response {
        let address = if from == From::OtherAddress { outside } else { IpAddr::from([127, 0, 0, 1]) };
        let Operation { method, path, .. } = operation;
        let length =
            if method == "GET" { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let body = if method == "GET" { "" } else { body };
        let fields = self.fields(shown, from);
        let host = if from == From::UnknownName { "evil.example".to_owned() } else { address.to_string() };
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
        let request = format!("{head}{fields}{length}\r\n{body}");
        let server = SocketAddr::new(address, self.port());
        let send = || match self.certificate(shown) {
            None => http::exchange_over(http::connect(server), request.as_bytes()),
            Some(client) => {
                http::exchange_over(client.over(http::connect(server), address), request.as_bytes())
            }
        };
        let first = send();
        let is_known = shown.is_certificate() && shown != Shown::ForeignCertificate;
        if first.status != 0 || !is_known {
            return first;
        }
        // An address may begin only so many TLS handshakes in a second; then none of the request has been read.
        poll(PATIENCE, || Some(send()).filter(|response| response.status != 0)).unwrap_or(first)
    }

    /// Every operation of the OpenAPI document, with parameters filled in.
    pub(crate) fn operations(&self) -> Vec<Operation> {
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
                    Some("share" | "engage-stop" | "command") => Needs::Operator,
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
