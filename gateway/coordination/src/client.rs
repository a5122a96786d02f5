//! The client of an operation: its identity, established by the caller of this crate, and the name it gives itself.

use crate::limits;

/// A client. What it takes belongs to its identity; the name tells the clients of one identity apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Client<'a> {
    /// The label of its identity: who it proved to be. `None` if that is not known, as in records of
    /// earlier versions: there the name alone decides.
    pub identity: Option<&'a str>,
    /// The unverified name that the client declares.
    pub name: &'a str,
}

impl<'a> Client<'a> {
    /// A client of a known identity.
    pub fn of(identity: &'a str, name: &'a str) -> Client<'a> {
        Client { identity: Some(identity), name }
    }

    /// The label shown to people: the identity, else the name.
    pub fn label(self) -> &'a str {
        self.identity.unwrap_or(self.name)
    }
}

/// A client whose identity is not known.
impl<'a> From<&'a str> for Client<'a> {
    fn from(name: &'a str) -> Client<'a> {
        Client { identity: None, name }
    }
}

impl<'a> From<&'a String> for Client<'a> {
    fn from(name: &'a String) -> Client<'a> {
        Client::from(name.as_str())
    }
}

/// An owned [`Client`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ClientId {
    pub(crate) identity: Option<String>,
    pub(crate) name: String,
}

impl ClientId {
    pub(crate) fn as_client(&self) -> Client<'_> {
        Client { identity: self.identity.as_deref(), name: &self.name }
    }
}

impl From<Client<'_>> for ClientId {
    fn from(client: Client<'_>) -> ClientId {
        ClientId { identity: client.identity.map(str::to_owned), name: client.name.to_owned() }
    }
}

/// Whether a text can be an identity, which is part of keys.
pub(crate) fn is_identity(identity: &str) -> bool {
    (1..=limits::IDENTITY_BYTES).contains(&identity.len()) && !identity.contains(char::is_control)
}

/// The end of a key that belongs to an identity. Keys of earlier versions have none.
pub(crate) fn key_suffix(identity: Option<&str>) -> String {
    identity.map_or(String::new(), |identity| format!("/@{identity}"))
}
