//! Who commands, who holds an authority, and why somebody else's command is refused.

/// In the name of a claimant that is a session, not a client that gave itself a name.
const SESSION_MARK: &str = " session ";

/// A client that commands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Claimant {
    /// The label of its identity.
    pub identity: String,
    /// The name that tells it from other clients of the identity: what it declares, or that of its session.
    pub name: String,
}

/// The holder of an authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityHolder {
    /// The client.
    pub claimant: Claimant,
    /// Its fencing token.
    pub token: u64,
}

/// What is done with a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It passes, with this fencing token.
    Granted(u64),
    /// The authority is free, and the client is to acquire it; then it passes.
    Acquire,
    /// The client is acquiring it; then it passes.
    Acquiring,
}

/// Why a command of an authority is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityRefused {
    /// Another client holds it.
    #[error("{name} is held by {holder}: request it, or wait until it is free")]
    HeldBy {
        /// The authority.
        name: String,
        /// Its holder.
        holder: String,
    },
    /// Nobody holds it, and a command does not take it.
    #[error(
        "{name} is held by nobody: acquire its lock first, for example with: roverline locks acquire {name}"
    )]
    NotHeld {
        /// The authority.
        name: String,
    },
    /// The fencing token is not the newest.
    #[error("the token {token} of {name} is no longer valid: somebody else has taken it meanwhile")]
    Stale {
        /// The authority.
        name: String,
        /// The given token.
        token: u64,
    },
    /// The endpoint does not know who holds it.
    #[error("it is not known who holds {name}: {problem}; the emergency stop works all the same")]
    Unconfirmed {
        /// The authority.
        name: String,
        /// Why.
        problem: String,
    },
    /// The endpoint stood still, so the command may be old.
    #[error("this endpoint stood still a moment ago, and the command may be old: send it again")]
    Suspended,
}

impl AuthorityRefused {
    /// Whether the same command may pass a moment later.
    pub const fn is_temporary(&self) -> bool {
        matches!(self, AuthorityRefused::Unconfirmed { .. } | AuthorityRefused::Suspended)
    }
}

impl AuthorityHolder {
    /// Whether this client is it, or another client of the identity that shows a token.
    pub(super) fn is(&self, claimant: &Claimant, token: Option<u64>) -> bool {
        self.claimant.identity == claimant.identity
            && (self.claimant.name == claimant.name || token.is_some())
    }
}

impl Claimant {
    /// A client that gives itself no name: its session, which is unique among those of all endpoints.
    pub fn session(identity: String, dialect: &str, tier: &str, id: u64, started_ns: i64) -> Claimant {
        let started = started_ns / 1_000_000;
        Claimant { identity, name: format!("{dialect}{SESSION_MARK}{tier}-{id}-{started:x}") }
    }

    /// Whether it is a session, not a client that gave itself a name.
    pub(super) fn is_session(&self) -> bool {
        self.name.contains(SESSION_MARK)
    }

    /// Both names, for people.
    pub fn label(&self) -> String {
        match self.identity.is_empty() {
            true => self.name.clone(),
            false => format!("{} ({})", self.identity, self.name),
        }
    }
}
