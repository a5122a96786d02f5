//! The matrix over native sessions: credentials, and where the client is.

use std::net::IpAddr;

use roverline_protocol::native::{ClientMessage, ServerMessage};
use roverline_tests::http::{self, outside_address};
use roverline_tests::native::{NativeClient, Received};
use roverline_tests::require;
use serde_json::{Value, json};

use crate::objects::Objects;
use crate::rover::{FROM, From, Needs, Operation, Rover, Shown};
use crate::{LOCAL, judge};

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

/// Where a session comes from.
#[derive(Clone, Copy, Debug)]
struct Origin {
    address: IpAddr,
    page: Option<&'static str>,
    /// The field of a proxy.
    proxy: Option<(&'static str, &'static str)>,
}

impl Origin {
    fn direct(address: IpAddr) -> Origin {
        Origin { address, page: None, proxy: None }
    }

    fn is_foreign_page(self) -> bool {
        self.page == Some("http://evil.example")
    }

    /// A client that names itself by nothing has the loopback's role only if it is surely of this computer.
    fn is_local(self) -> bool {
        self.address.is_loopback() && self.page.is_none() && self.proxy.is_none()
    }

    /// A browser shows its user's certificate for every page, a proxy its own for every client.
    fn lends_certificates(self) -> bool {
        self.page.is_some() || self.proxy.is_some()
    }

    async fn connect(self, rover: &Rover, shown: Shown) -> NativeClient {
        let bearer = rover.bearer(shown);
        let mut fields: Vec<(&'static str, &str)> = Vec::new();
        fields.extend(self.page.map(|origin| ("origin", origin)));
        fields.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
        fields.extend(self.proxy);
        let server = (self.address, rover.port());
        match rover.certificate(shown) {
            None => NativeClient::over(tokio::net::TcpStream::connect(server).await.unwrap(), &fields).await,
            Some(client) => NativeClient::over(client.connect(server.into()).await, &fields).await,
        }
    }

    /// The statuses of a refusal, or none if it is permitted.
    fn refusals(self, needs: Needs, shown: Shown) -> &'static [u16] {
        let is_unnamed = shown == Shown::Nothing || (shown.is_certificate() && self.lends_certificates());
        match (needs, shown) {
            _ if self.is_foreign_page() && is_unnamed => &[403],
            (Needs::Nothing | Needs::KnownName, _) => &[],
            (_, Shown::Nothing) if self.is_local() => &[],
            _ if is_unnamed => &[403],
            (_, Shown::Commander | Shown::CommanderCertificate) => &[],
            (Needs::Operator, Shown::Operator | Shown::Jwt | Shown::OperatorCertificate) => &[],
            _ => &[403],
        }
    }
}

/// Every place from which a session may come.
fn origins(outside: IpAddr, proxies: &[(&'static str, &'static str)]) -> Vec<Origin> {
    let pages = [None, Some("http://team.example"), Some("http://evil.example")];
    let proxies = || std::iter::once(None).chain(proxies.iter().copied().map(Some));
    let places = pages.into_iter().flat_map(|page| proxies().map(move |proxy| (page, proxy)));
    let at = |address| places.clone().map(move |(page, proxy)| Origin { address, page, proxy });
    // A proxy is known by its address, so what another computer says about proxies counts for nothing.
    let far = pages.map(|page| Origin { page, ..Origin::direct(outside) });
    at(LOCAL).chain(far).collect()
}

async fn call(native: &mut NativeClient, id: u64, operation: &Operation, body: Value) -> (u16, Value) {
    let body = (operation.method != "GET").then_some(body);
    let (method, path) = (operation.method.clone(), operation.path.clone());
    native.send(&ClientMessage::Request { id, method, path, body, traceparent: None }).await;
    loop {
        match native.next().await {
            Received::Text(message) => {
                if let ServerMessage::Response { id: answered, status, body, .. } = *message
                    && answered == id
                {
                    return (status, body);
                }
            }
            Received::Closed(code) => panic!("{operation:?}: closed with {code}"),
            _ => {}
        }
    }
}

/// Tries every operation, and every one on what another operator owns, from these places; what is wrong.
async fn assert_sessions(rover: &Rover, origins: Vec<Origin>) {
    let operations = rover.operations();
    let objects = Objects::take(rover);
    let mut wrong = Vec::new();
    for origin in origins {
        for shown in LASTING {
            let mut native = origin.connect(rover, shown).await;
            for (id, operation) in (1..).zip(&operations) {
                let (status, _) = call(&mut native, id, operation, json!({})).await;
                let what = format!("{operation:?} {shown:?} {origin:?}");
                // `/health` may be unavailable, which is no refusal.
                wrong.extend(judge(&what, status, origin.refusals(operation.needs, shown)));
            }
            for (id, owned) in (1000..).zip(objects.operations()) {
                let (status, body) = call(&mut native, id, &owned.operation, owned.body.clone()).await;
                let refusals = origin.refusals(owned.operation.needs, shown);
                let what = format!("{} {} {shown:?} {origin:?}", owned.operation.path, owned.body);
                wrong.extend(owned.judge(&what, status, &body.to_string(), refusals));
            }
        }
    }
    objects.assert_untouched(rover);
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn a_session_asks_for_the_same_permissions() {
    let outside = require!(outside_address());
    assert_sessions(&Rover::start(), origins(outside, &[("via", "1.1 tunnel")])).await;
}

#[tokio::test]
async fn a_session_behind_a_known_proxy_is_as_far_as_its_client() {
    let rover = Rover::with_proxies("\"127.0.0.1\"");
    let proxy = Some(("x-forwarded-for", "192.0.2.7"));
    let behind = |page| Origin { page, proxy, ..Origin::direct(LOCAL) };
    let pages = [None, Some("http://team.example"), Some("http://evil.example")];
    assert_sessions(&rover, pages.map(behind).to_vec()).await;
}

#[test]
fn no_session_begins_with_a_credential_that_has_ended() {
    let outside = require!(outside_address());
    let rover = Rover::start();
    for shown in [Shown::Expired, Shown::Revoked, Shown::ExpiredJwt, Shown::OtherJwt] {
        for from in FROM {
            let field = format!("\r\n{}\r\n", rover.fields(shown, from));
            let upgrade = roverline_tests::raw::handshake("/").replace("\r\n\r\n", &field);
            let address = if from == From::OtherAddress { outside } else { LOCAL };
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
