//! The keys that a client proved to hold with a request: a DPoP key (RFC 9449).

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use domain::{KeyThumbprint, Timestamp, TokenWish};
use token::claims::Confirmation;
use token::dpop::{Proof, ProofExpected, verify_proof};

use super::error::OAuthError;
use crate::app::App;
use crate::http::client_certificate::Shown;

/// The key that the caller proves to hold with a question, and binds the token that is wished for
/// with it to that key (L6). A gateway that binds it to its own client's key says so in the
/// question instead.
///
/// # Errors
/// `invalid_dpop_proof` when the proof does not hold, `invalid_request` when there are two keys.
pub(crate) fn bind(
    app: &App,
    (headers, shown): (&HeaderMap, Option<&Shown>),
    path: &str,
    wish: Option<&mut TokenWish>,
) -> Result<Option<KeyThumbprint>, OAuthError> {
    // Then the proof is of the key that the caller's own credential is bound to.
    let is_credential = headers.get(AUTHORIZATION).is_some_and(|value| {
        let scheme = value.as_bytes().split(|byte| *byte == b' ').next();
        scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"dpop"))
    });
    if is_credential || !headers.contains_key("dpop") {
        let certificate = shown.map(|Shown(certificate)| certificate.thumbprint.clone());
        let own = certificate.map(KeyThumbprint::Certificate);
        if let Some(wish) = wish {
            wish.confirmation = wish.confirmation.take().or_else(|| own.clone());
        }
        return Ok(own);
    }
    if wish
        .as_ref()
        .is_some_and(|wish| wish.confirmation.is_some())
    {
        return Err(OAuthError::invalid_request(
            "the token is to be bound to `context.token.cnf` and to the key of the `DPoP` header; \
             send one of them",
        ));
    }
    let now = app.inputs.clock.now();
    let proven = Proven::read(app, headers, path, now)?;
    proven.spend(app, now)?;
    let own = proven.proof.map(|proof| KeyThumbprint::Jkt(proof.jkt));
    if let Some(wish) = wish {
        wish.confirmation.clone_from(&own);
    }
    Ok(own)
}

/// What was proven.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proven {
    proof: Option<Proof>,
    /// SHA-256 thumbprint of the client's certificate, where it came with one.
    certificate: Option<String>,
}

impl Proven {
    /// Reads the proof that came with a `POST` to this path, if one did. It is not spent yet.
    ///
    /// # Errors
    /// `invalid_dpop_proof`: a proof that does not hold is worse than none.
    pub(crate) fn read(
        app: &App,
        headers: &HeaderMap,
        path: &str,
        now: Timestamp,
    ) -> Result<Self, OAuthError> {
        let mut sent = headers.get_all("dpop").iter();
        let Some(header) = sent.next() else {
            return Ok(Self::default());
        };
        if sent.next().is_some() {
            return Err(OAuthError::invalid_dpop_proof(
                "there is more than one `DPoP` header; send one",
            ));
        }
        let url = format!("{}{path}", app.public_url());
        let expected = ProofExpected {
            method: "POST",
            url: &url,
            access_token: None,
        };
        let proof = verify_proof(header.to_str().unwrap_or_default(), &expected, now)
            .map_err(|why| OAuthError::invalid_dpop_proof(format!("the DPoP proof: {why}")))?;
        Ok(Self {
            proof: Some(proof),
            certificate: None,
        })
    }

    /// With the certificate that the client showed, if it showed one.
    pub(crate) fn with_certificate(mut self, shown: Option<&Shown>) -> Self {
        self.certificate = shown.map(|Shown(certificate)| certificate.thumbprint.clone());
        self
    }

    /// Takes the proof, once. To be called when everything else about the request is right, and
    /// before anything is spent or granted for it.
    ///
    /// # Errors
    /// `invalid_dpop_proof` when it was taken before.
    pub(crate) fn spend(&self, app: &App, now: Timestamp) -> Result<(), OAuthError> {
        match &self.proof {
            Some(proof) => app
                .proofs
                .spend(proof, now)
                .map_err(|why| OAuthError::invalid_dpop_proof(format!("the DPoP proof: {why}"))),
            None => Ok(()),
        }
    }

    /// The claim of a token that is bound to what was proven. None when nothing was.
    pub(crate) fn confirmation(&self) -> Option<Confirmation> {
        let confirmation = Confirmation {
            jkt: self.proof.as_ref().map(|proof| proof.jkt.clone()),
            x5t_s256: self.certificate.clone(),
        };
        (confirmation != Confirmation::default()).then_some(confirmation)
    }

    /// Whether every key that a token is bound to was proven.
    pub(crate) fn holds(&self, bound_to: &Confirmation) -> bool {
        let proven = self.confirmation().unwrap_or_default();
        let is_proven =
            |bound: &Option<String>, proven: &Option<String>| bound.is_none() || bound == proven;
        is_proven(&bound_to.jkt, &proven.jkt) && is_proven(&bound_to.x5t_s256, &proven.x5t_s256)
    }
}
