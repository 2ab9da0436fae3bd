//! All issuers together: whose a token is, whether it counts, and whether it is shown by whom it was made for.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::issuer::{Clock, Issuer, IssuerSettings, Proofs, SettingsError, seconds};
use crate::jws::Jws;
use crate::memory::{Recent, Replays};
use crate::proof::{Call, ServerUrl, verify_proof};
use crate::{AccessToken, Binding, Examined, MAX_TOKEN_BYTES, TokenError};

/// Good tokens that are remembered, twice over: about 1 KiB each.
const MAX_GOOD: usize = 8 << 10;
/// Bad ones: their hash, and why.
const MAX_BAD: usize = 8 << 10;
/// How long it is remembered that an issuer does not know a token. Nobody gets one that is not valid yet.
const BAD_FOR_S: u64 = 10;

/// A token as it was shown. See [`into_owned`](Self::into_owned).
#[derive(Clone)]
pub struct Shown<'a> {
    /// The token. Never longer than [`MAX_TOKEN_BYTES`].
    pub token: Cow<'a, str>,
    /// SHA-256 of it.
    pub token_hash: [u8; 32],
    /// How.
    pub scheme: Scheme,
    /// The proof beside it.
    pub proof: Option<Cow<'a, str>>,
    /// The method that is called, `POST` for gRPC, and the path without its query.
    pub method: Cow<'a, str>,
    /// See `method`.
    pub path: Cow<'a, str>,
    /// SHA-256 of the client certificate of the connection.
    pub certificate: Option<[u8; 32]>,
}

/// The scheme of an `Authorization` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// RFC 6750 §2.1.
    Bearer,
    /// RFC 9449 §7.1.
    Dpop,
}

/// Checks tokens of some issuers. Clones share what they know.
#[derive(Clone)]
pub struct Validator(Arc<Inner>);

struct Inner {
    issuers: Vec<Arc<Issuer>>,
    servers: Vec<ServerUrl>,
    clock: Clock,
    replays: Arc<Replays>,
    good: Recent<Good>,
    bad: Recent<(TokenError, u64)>,
}

/// A token that counts, and who issued it.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The token.
    pub token: Arc<AccessToken>,
    /// Its issuer.
    pub issuer: Arc<Issuer>,
}

#[derive(Clone)]
struct Good {
    accepted: Accepted,
    /// Which of the issuer's keys it was verified by; `None` where it was not by keys.
    generation: Option<u64>,
    /// Until when its issuer's word counts, its end included.
    until: u64,
}

impl Shown<'_> {
    /// As it was shown, but of nobody else's memory.
    pub fn into_owned(self) -> Shown<'static> {
        Shown {
            token: self.token.into_owned().into(),
            proof: self.proof.map(|proof| proof.into_owned().into()),
            method: self.method.into_owned().into(),
            path: self.path.into_owned().into(),
            ..self
        }
    }
}

impl Validator {
    /// Checks tokens of these issuers, where this server is reached at one of these addresses. Nothing is fetched yet.
    ///
    /// # Errors
    /// Settings that cannot work, with the name of their issuer.
    pub fn new(
        issuers: Vec<IssuerSettings>,
        servers: Vec<ServerUrl>,
        clock: Clock,
    ) -> Result<Self, (String, SettingsError)> {
        Self::build(issuers, servers, clock, None)
    }

    /// One with other settings that goes on where this one is: issuers that stay as they are keep their keys, and no proof counts a
    /// second time.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn renewed(
        &self,
        issuers: Vec<IssuerSettings>,
        servers: Vec<ServerUrl>,
    ) -> Result<Self, (String, SettingsError)> {
        Self::build(issuers, servers, self.0.clock.clone(), Some(&self.0))
    }

    fn build(
        issuers: Vec<IssuerSettings>,
        servers: Vec<ServerUrl>,
        clock: Clock,
        before: Option<&Inner>,
    ) -> Result<Self, (String, SettingsError)> {
        let issuers = issuers.into_iter().map(|settings| {
            let kept = before.and_then(|it| it.issuers.iter().find(|issuer| *issuer.settings() == settings));
            if let Some(kept) = kept {
                return Ok(kept.clone());
            }
            let name = settings.name.clone();
            Issuer::new(settings, clock.clone()).map(Arc::new).map_err(|error| (name, error))
        });
        Ok(Self(Arc::new(Inner {
            issuers: issuers.collect::<Result<_, _>>()?,
            servers,
            replays: before.map_or_else(Arc::default, |it| it.replays.clone()),
            clock,
            good: Recent::new(MAX_GOOD),
            bad: Recent::new(MAX_BAD),
        })))
    }

    /// The issuers.
    pub fn issuers(&self) -> impl Iterator<Item = &IssuerSettings> {
        self.0.issuers.iter().map(|issuer| issuer.settings())
    }

    /// What is known of a token without asking anybody; `None`: [`accept`](Self::accept) finds out.
    ///
    /// # Errors
    /// It is known not to count.
    pub fn recall(&self, shown: &Shown<'_>) -> Option<Result<Accepted, TokenError>> {
        let now = self.now();
        if shown.token.len() > MAX_TOKEN_BYTES {
            return Some(Err(TokenError::TooLong));
        }
        if let Some((error, _)) = self.0.bad.get(&shown.token_hash).filter(|(_, until)| now < *until) {
            return Some(Err(error));
        }
        let Good { accepted, generation, until } = self.0.good.get(&shown.token_hash)?;
        if now >= accepted.token.expires {
            return Some(Err(TokenError::Expired));
        }
        if let Some(generation) = generation {
            let keys = accepted.issuer.keys();
            if keys.generation(now) != Some(generation) {
                return None;
            }
            keys.refresh_if_old(&accepted.issuer, now);
        }
        (now < until).then(|| self.check_binding(&accepted, shown, now).map(|()| accepted))
    }

    /// Whether a token counts, and is shown as it has to be. Its issuer is asked where that is necessary.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub async fn accept(&self, shown: &Shown<'_>) -> Result<Accepted, TokenError> {
        let (issuer, is_signed) = self.whose(&shown.token)?;
        let asked = self.now();
        let word = issuer.asked_about(is_signed);
        let found = if is_signed {
            issuer.verify(&shown.token).await
        } else {
            issuer.ask(&shown.token).await.map(|token| (token, None))
        };
        let (token, generation) = found.inspect_err(|error| {
            if word.is_some() && !error.is_outage() {
                self.0.bad.keep(shown.token_hash, (*error, asked + BAD_FOR_S));
            }
        })?;
        let until = word.map_or(u64::MAX, |word| asked.saturating_add(word.as_secs())).min(token.expires);
        let accepted = Accepted { token: Arc::new(token), issuer: issuer.clone() };
        self.0.good.keep(shown.token_hash, Good { accepted: accepted.clone(), generation, until });
        self.check_binding(&accepted, shown, self.now())?;
        Ok(accepted)
    }

    /// What a token says that was shown to somebody else, who asks about it. It is not remembered: what is good for others may not be for
    /// this server. Whom it is for, and what it is bound to, is for that one to look at.
    ///
    /// # Errors
    /// It does not count, or whether it does cannot be told now.
    pub async fn examine(&self, token: &str) -> Result<Examined, TokenError> {
        let (issuer, is_signed) = self.whose(token)?;
        issuer.examine(token, is_signed).await
    }

    /// The issuer that a signed token names, or the one that is asked about all others.
    fn whose(&self, token: &str) -> Result<(&Arc<Issuer>, bool), TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong);
        }
        let mut issuers = self.0.issuers.iter();
        if token.bytes().filter(|byte| *byte == b'.').count() != 2 {
            let asked = issuers.find(|issuer| issuer.asked_about(false).is_some());
            return asked.map(|issuer| (issuer, false)).ok_or(TokenError::Opaque);
        }
        let jws = Jws::parse(token)?;
        let named = issuers.find(|issuer| jws.claimed_issuer() == Some(&issuer.settings().rules.issuer));
        named.map(|issuer| (issuer, true)).ok_or(TokenError::Issuer)
    }

    fn check_binding(&self, accepted: &Accepted, shown: &Shown<'_>, now: u64) -> Result<(), TokenError> {
        let (bound_to, proofs) = (accepted.token.bound_to, accepted.issuer.settings().proofs);
        let refused = |binding| Err(TokenError::Binding(binding));
        if bound_to.certificate.is_some() && bound_to.certificate != shown.certificate {
            return refused(Binding::Certificate);
        }
        match (bound_to.key, shown.scheme, &shown.proof) {
            (Some(_), ..) if proofs == Proofs::Never => refused(Binding::Unknown),
            (Some(key), Scheme::Dpop, Some(proof)) => self.check_proof(key, proof, shown, now),
            (Some(_), ..) => refused(Binding::ProofMissing),
            (None, Scheme::Dpop, _) | (None, _, Some(_)) => refused(Binding::Unbound),
            (None, ..) if proofs == Proofs::Required && bound_to.certificate.is_none() => {
                refused(Binding::Demanded)
            }
            (None, ..) => Ok(()),
        }
    }

    fn check_proof(&self, key: [u8; 32], proof: &str, shown: &Shown<'_>, now: u64) -> Result<(), TokenError> {
        let call = Call { method: &shown.method, path: &shown.path, token_hash: shown.token_hash };
        let proven = verify_proof(proof, &call, &self.0.servers, now).map_err(TokenError::Proof)?;
        if proven.key != key {
            return Err(TokenError::Binding(Binding::OtherKey));
        }
        // Last, so that only those who hold a good token and its key are remembered.
        self.0.replays.note(&proven, now)
    }

    fn now(&self) -> u64 {
        seconds((self.0.clock)())
    }
}

impl fmt::Debug for Validator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Validator").field("issuers", &self.0.issuers).finish_non_exhaustive()
    }
}
