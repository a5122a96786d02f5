//! Labels of clients' identities: the owner of locks and of messages in work, and the `by` of events; and ids that
//! each identity has for itself.

use roverline_protocol::limits;

use crate::access::{Identity, Peer};

/// The label of every client on this computer without a token, for all of its addresses.
const THIS_COMPUTER: &str = "127.0.0.1";

/// The label of a client at this address: the name that belongs to its token; without one, its address. It is
/// the same at every endpoint. No token's name is an address ([`crate::access::check_name`]).
pub fn label(identity: &Identity, peer: Peer) -> String {
    match (identity.name.as_str(), peer.ip().to_canonical()) {
        ("", _) if peer.is_local() => THIS_COMPUTER.to_owned(),
        // Whom a proxy calls so is not on this computer.
        ("", address) if address.is_loopback() => format!("proxy {address}"),
        ("", address) => address.to_string(),
        (name, _) => name.to_owned(),
    }
}

/// A client's id as an id of its identity: no other identity's id is equal to it.
pub fn own_id(label: &str, id: &str) -> String {
    format!("{}/{id}", label.replace('%', "%25").replace('/', "%2F"))
}

/// A client's text as a name in the event log, which takes no control characters; `None` if nothing is left.
pub fn log_name(text: &str) -> Option<String> {
    let mut bytes = 0;
    let fits = |c: &char| {
        bytes += c.len_utf8();
        bytes <= limits::EVENT_NAME_BYTES
    };
    let name: String = text.chars().filter(|c| !c.is_control()).take_while(fits).collect();
    Some(name).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_its_client_and_an_address_the_others() {
        let of = |name: &str, peer: &str| {
            let identity = Identity { name: name.to_owned(), ..Identity::default() };
            label(&identity, Peer::direct(std::net::SocketAddr::new(peer.parse().unwrap(), 1)))
        };
        for here in ["127.0.0.1", "127.8.0.1", "::1", "::ffff:127.0.0.1", "::ffff:127.0.0.9"] {
            assert_eq!((of("", here), of("ada", here)), ("127.0.0.1".to_owned(), "ada".to_owned()), "{here}");
        }
        assert_eq!((of("", "::ffff:10.0.0.5"), of("", "10.0.0.5")), ("10.0.0.5".into(), "10.0.0.5".into()));
        assert_eq!(of("", "2001:db8:0::1"), "2001:db8::1");
    }

    #[test]
    fn ids_of_two_identities_are_never_equal() {
        let ids = [("a", "b/c"), ("a/b", "c"), ("a%2Fb", "c"), ("a", "c"), ("", "a/c")];
        let own: std::collections::BTreeSet<_> = ids.iter().map(|(label, id)| own_id(label, id)).collect();
        assert_eq!(own.len(), ids.len(), "{own:?}");
        let longest = own_id(&"/".repeat(limits::IDENTITY_BYTES), &"x".repeat(limits::EVENT_NAME_BYTES));
        assert!(longest.len() + 8 <= limits::EVENT_ID_BYTES);
    }

    #[test]
    fn any_text_becomes_a_name_in_the_log() {
        assert_eq!(log_name("a\u{1b}[2Jb\n").as_deref(), Some("a[2Jb"));
        assert_eq!((log_name(""), log_name("\n")), (None, None));
        let long = log_name(&"é".repeat(limits::EVENT_NAME_BYTES)).unwrap();
        assert_eq!(long.len(), limits::EVENT_NAME_BYTES);
    }
}
