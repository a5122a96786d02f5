//! The proof that a peer is an endpoint of this rover: it answers a challenge with the rover's key.
//!
//! The request for `/health` carries `Roverline-Challenge`: a fresh nonce, the address that was connected to, and a
//! tag that only a holder of the key can make, so that strangers get no tags to guess the key from. The
//! response carries `Roverline-Proof`: another fresh nonce, and a tag of both nonces, the endpoint's tier, the address
//! and the body. An endpoint proves itself at its own addresses only: where the connection arrived, or the
//! address that is configured for it. A proof that is recorded or passed on for another endpoint is worth
//! nothing.
//!
//! What is sent is in clear: who controls the network between two endpoints can still hold back answers.

use std::fmt;
use std::net::SocketAddr;

use sha2::{Digest, Sha256};

use roverline_protocol::Tier;

use crate::endpoint::peers::key::{PeerKey, hex, random};

/// The request's header field: `1 NONCE CONNECTED NAME TAG`.
pub(crate) const CHALLENGE: &str = "roverline-challenge";
/// The response's header field: `1 NONCE TAG`, or `refused REASON`.
pub(crate) const PROOF: &str = "roverline-proof";

const VERSION: &str = "1";
const CHALLENGE_CONTEXT: &[u8] = b"roverline peer challenge 1";
const PROOF_CONTEXT: &[u8] = b"roverline peer proof 1";

/// Why a peer has not proven that it belongs to this rover.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// It does not answer challenges.
    #[error("it has not proven the rover's key: it is no endpoint of this rover, or of an older version")]
    NoProof,
    /// The keys differ.
    #[error(
        "it has another key than this endpoint: copy peers.key from one state directory to the other, or \
         configure [peers] key"
    )]
    OtherKey,
    /// It answers in its place, but says that this is not its address.
    #[error(
        "it does not know this address as its own: configure its address there ([endpoints.TIER] address)"
    )]
    OtherAddress,
    /// Its answer does not fit the challenge.
    #[error("its proof of the rover's key is wrong: it was made for something else, or changed on the way")]
    Wrong,
    /// This endpoint has no key to compare with.
    #[error("this endpoint has no key to recognize peers by; its log says why")]
    NoKey,
}

/// A challenge to one peer, good for one answer.
pub struct Challenge {
    key: PeerKey,
    nonce: String,
    connected: String,
    name: String,
}

impl Challenge {
    /// A challenge to the peer that is known as `name` and was connected to at `connected`.
    pub fn new(key: &PeerKey, connected: SocketAddr, name: &str) -> Option<Challenge> {
        let nonce = hex(&random::<16>()?);
        Some(Challenge { key: key.clone(), nonce, connected: canonical(connected), name: name.to_owned() })
    }

    /// The header field's value.
    pub fn header(&self) -> String {
        let Challenge { nonce, connected, name, .. } = self;
        let tag =
            self.key.sign(&[CHALLENGE_CONTEXT, nonce.as_bytes(), connected.as_bytes(), name.as_bytes()]);
        format!("{VERSION} {nonce} {connected} {name} {}", hex(tag.as_ref()))
    }

    /// Whether this answer, with this body, proves that an endpoint of this tier has the key.
    pub fn verify(&self, answer: Option<&str>, tier: Tier, body: &[u8]) -> Result<(), Unproven> {
        let words: Vec<&str> = answer.unwrap_or_default().split(' ').collect();
        let (nonce, tag) = match words[..] {
            [VERSION, nonce, tag] => (nonce, unhex(tag).ok_or(Unproven::Wrong)?),
            ["refused", "key"] => return Err(Unproven::OtherKey),
            ["refused", "address"] => return Err(Unproven::OtherAddress),
            _ => return Err(Unproven::NoProof),
        };
        let digest = Sha256::digest(body);
        let proven = |address: &String| {
            let fields = proof_fields(&self.nonce, nonce, tier, address, &digest);
            self.key.verify(&fields, &tag)
        };
        match [&self.connected, &self.name].into_iter().any(proven) {
            true => Ok(()),
            false => Err(Unproven::Wrong),
        }
    }
}

/// The key and identity with which an endpoint proves itself.
#[derive(Debug)]
pub struct Prover {
    /// The rover's key; without one it proves nothing.
    pub key: Option<PeerKey>,
    /// The endpoint's tier.
    pub tier: Tier,
    /// The address that is configured for it.
    pub address: Option<String>,
}

/// Why a challenge is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    Key,
    Address,
    Form,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::Key => "refused key",
            Refusal::Address => "refused address",
            Refusal::Form => "refused form",
        })
    }
}

impl Prover {
    /// The answer to a challenge that arrived at the address `local`, sent with this body.
    pub fn answer(&self, challenge: &str, local: Option<SocketAddr>, body: &[u8]) -> String {
        self.proof(challenge, local, body).unwrap_or_else(|refusal| refusal.to_string())
    }

    /// Whether a challenge was made with the rover's key.
    pub fn recognizes(&self, challenge: &str) -> bool {
        self.verified(challenge).is_ok()
    }

    /// The nonce, the address and the name of a challenge that was made with the rover's key.
    fn verified<'a>(&self, challenge: &'a str) -> Result<[&'a str; 3], Refusal> {
        let words: Vec<&str> = challenge.split(' ').collect();
        let [VERSION, nonce, connected, name, tag] = words[..] else { return Err(Refusal::Form) };
        let tag = unhex(tag).ok_or(Refusal::Form)?;
        let key = self.key.as_ref().ok_or(Refusal::Key)?;
        let fields = [CHALLENGE_CONTEXT, nonce.as_bytes(), connected.as_bytes(), name.as_bytes()];
        if key.verify(&fields, &tag) { Ok([nonce, connected, name]) } else { Err(Refusal::Key) }
    }

    fn proof(&self, challenge: &str, local: Option<SocketAddr>, body: &[u8]) -> Result<String, Refusal> {
        let [nonce, connected, name] = self.verified(challenge)?;
        let key = self.key.as_ref().ok_or(Refusal::Key)?;
        let address = if local.map(canonical).as_deref() == Some(connected) {
            connected
        } else if self.address.as_deref() == Some(name) {
            name
        } else {
            return Err(Refusal::Address);
        };
        let own = hex(&random::<16>().ok_or(Refusal::Key)?);
        let digest = Sha256::digest(body);
        let tag = key.sign(&proof_fields(nonce, &own, self.tier, address, &digest));
        Ok(format!("{VERSION} {own} {}", hex(tag.as_ref())))
    }
}

fn proof_fields<'a>(
    challenger: &'a str,
    prover: &'a str,
    tier: Tier,
    address: &'a str,
    body: &'a [u8],
) -> [&'a [u8]; 6] {
    let tier = tier.name();
    [PROOF_CONTEXT, challenger.as_bytes(), prover.as_bytes(), tier.as_bytes(), address.as_bytes(), body]
}

/// The same text at both ends of a connection.
fn canonical(address: SocketAddr) -> String {
    SocketAddr::new(address.ip().to_canonical(), address.port()).to_string()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let is_hex = text.len().is_multiple_of(2) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| text.as_bytes().chunks(2).map(byte).collect()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = b"{\"status\":\"healthy\"}";
    const NAME: &str = "rover:8080";

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn prover(secret: &[u8], tier: Tier) -> Prover {
        Prover { key: Some(PeerKey::new(secret)), tier, address: None }
    }

    fn challenge() -> Challenge {
        Challenge::new(&PeerKey::new(b"secret"), at("10.0.0.1:8080"), NAME).unwrap()
    }

    #[test]
    fn an_endpoint_with_the_key_proves_itself_at_its_address() {
        let (challenge, endpoint) = (challenge(), prover(b"secret", Tier::Primary));
        for local in ["10.0.0.1:8080", "[::ffff:10.0.0.1]:8080"] {
            let proof = endpoint.answer(&challenge.header(), Some(at(local)), BODY);
            assert_eq!(challenge.verify(Some(&proof), Tier::Primary, BODY), Ok(()), "{proof}");
        }
        // Behind a forwarded port it knows the address from its configuration only.
        let configured = Prover { address: Some(NAME.to_owned()), ..prover(b"secret", Tier::Primary) };
        let proof = configured.answer(&challenge.header(), Some(at("172.17.0.2:8080")), BODY);
        assert_eq!(challenge.verify(Some(&proof), Tier::Primary, BODY), Ok(()));
    }

    #[test]
    fn a_proof_is_good_for_one_challenge_tier_and_body() {
        let (challenge, endpoint) = (challenge(), prover(b"secret", Tier::Secondary));
        let proof = endpoint.answer(&challenge.header(), Some(at("10.0.0.1:8080")), BODY);
        assert_eq!(challenge.verify(Some(&proof), Tier::Secondary, BODY), Ok(()));
        assert_eq!(challenge.verify(Some(&proof), Tier::Primary, BODY), Err(Unproven::Wrong), "another tier");
        assert_eq!(challenge.verify(Some(&proof), Tier::Secondary, b"{}"), Err(Unproven::Wrong), "changed");
        let later = self::challenge();
        assert_eq!(later.verify(Some(&proof), Tier::Secondary, BODY), Err(Unproven::Wrong), "replayed");
        let other = Challenge::new(&PeerKey::new(b"secret"), at("10.0.0.9:8080"), "impostor:8080").unwrap();
        let elsewhere = Challenge { nonce: challenge.nonce, ..other };
        assert_eq!(elsewhere.verify(Some(&proof), Tier::Secondary, BODY), Err(Unproven::Wrong), "elsewhere");
    }

    #[test]
    fn a_challenge_that_is_passed_on_is_refused() {
        let impostor =
            Challenge::new(&PeerKey::new(b"secret"), at("10.0.0.9:8080"), "10.0.0.9:8080").unwrap();
        let endpoint = Prover { address: Some(NAME.to_owned()), ..prover(b"secret", Tier::Primary) };
        let answer = endpoint.answer(&impostor.header(), Some(at("10.0.0.1:8080")), BODY);
        assert_eq!(answer, "refused address");
        assert_eq!(impostor.verify(Some(&answer), Tier::Primary, BODY), Err(Unproven::OtherAddress));
        // The impostor cannot name the other address either.
        let bent = impostor.header().replacen("10.0.0.9:8080", "10.0.0.1:8080", 1);
        assert_eq!(endpoint.answer(&bent, Some(at("10.0.0.1:8080")), BODY), "refused key");
    }

    #[test]
    fn strangers_get_no_tags_and_prove_nothing() {
        let (challenge, local) = (challenge(), Some(at("10.0.0.1:8080")));
        let stranger = prover(b"guess", Tier::Primary).answer(&challenge.header(), local, BODY);
        assert_eq!(challenge.verify(Some(&stranger), Tier::Primary, BODY), Err(Unproven::OtherKey));
        let without = Prover { key: None, tier: Tier::Primary, address: None };
        assert_eq!(without.answer(&challenge.header(), local, BODY), "refused key");
        for noise in ["", "1", "1 a b c", "1 a b c zz", "2 a b c 00", "1 a b c d e", "1 a b c é"] {
            assert_eq!(
                prover(b"secret", Tier::Primary).answer(noise, local, BODY),
                "refused form",
                "{noise}"
            );
        }
        let verify = |answer| challenge.verify(answer, Tier::Primary, BODY);
        assert_eq!((verify(None), verify(Some("x"))), (Err(Unproven::NoProof), Err(Unproven::NoProof)));
        assert_eq!(
            (verify(Some("1 a 0")), verify(Some("1 a 00"))),
            (Err(Unproven::Wrong), Err(Unproven::Wrong))
        );
    }
}
