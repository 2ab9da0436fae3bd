//! A real OpenID provider: discovery, keys, tokens of both kinds, proofs, introspection, revocation and new keys.

use std::{thread, time::Duration};

use crate::{
    desk::{Desk, End, bearer, dpop, entry},
    provider::Provider,
    tokens::SigningKey,
    until,
};

const APPEND: &str = "graven:append:audit";

fn desk(provider: &Provider, more: &str) -> Desk {
    let introspection =
        "[issuer.introspection]\nclient_id = \"graven\"\nclient_secret_file = \"id.secret\"\nmax_age_s = 2\n";
    let desk = Desk::trusting("");
    desk.house.secret("id.secret", "graven-secret\n");
    desk.know(&entry(&provider.url, &format!("{more}{introspection}")));
    let (token, _) = provider.token("es256", APPEND, None);
    until(|| desk.append(&token) != End::Invalid);
    desk
}

#[test]
#[ignore = "needs node"]
fn tokens_of_a_real_provider_open_what_their_scopes_say() {
    let provider = Provider::start();
    let desk = desk(&provider, "");
    for kind in ["es256", "rs256", "opaque"] {
        let (token, _) = provider.token(kind, APPEND, None);
        assert_eq!(token.contains('.'), kind != "opaque");
        for _ in 0..2 {
            assert_eq!((desk.append(&token), desk.head(&token)), (End::LetIn, End::Forbidden), "{kind}");
        }
        let (token, _) = provider.token(kind, "graven:read:* graven:append:open", None);
        assert_eq!((desk.append(&token), desk.head(&token)), (End::Forbidden, End::LetIn), "{kind}");
        // A scope that the provider does not know gives a token without one, which opens nothing.
        let (token, answer) = provider.token(kind, "graven:erase:audit unknown", None);
        assert!(answer.get("scope").is_none(), "{answer}");
        assert_eq!((desk.append(&token), desk.head(&token)), (End::Forbidden, End::Forbidden), "{kind}");
    }
}

#[test]
#[ignore = "needs node"]
fn proofs_that_a_real_provider_bound_its_tokens_to_are_demanded() {
    let provider = Provider::start();
    let desk = desk(&provider, "dpop = \"optional\"\n");
    for (kind, key) in
        [("es256", SigningKey::es256("")), ("opaque", SigningKey::es256("")), ("rs256", SigningKey::rsa(""))]
    {
        let (token, answer) = provider.token(kind, APPEND, Some(&key));
        assert_eq!(answer["token_type"], "DPoP");
        assert_eq!(desk.append(&token), End::Invalid, "{kind}: as a bearer token");
        let proof = desk.proof(&key, &token, "Append");
        assert_eq!(desk.call("Append", &dpop(&token, proof.clone())), End::LetIn, "{kind}");
        assert_eq!(desk.call("Append", &dpop(&token, proof)), End::Invalid, "{kind}: again");
        let other = desk.proof(&SigningKey::es256(""), &token, "Append");
        assert_eq!(desk.call("Append", &dpop(&token, other)), End::Invalid, "{kind}: by another key");
    }
}

#[test]
#[ignore = "needs node"]
fn a_token_that_a_real_provider_took_back_ends_within_the_named_time() {
    let provider = Provider::start();
    let desk = desk(&provider, "");
    let (token, _) = provider.token("opaque", APPEND, None);
    assert_eq!(desk.append(&token), End::LetIn);
    provider.revoke(&token);
    thread::sleep(Duration::from_secs(3));
    assert_eq!(desk.append(&token), End::Invalid);
}

#[test]
#[ignore = "needs node"]
fn a_real_providers_new_key_takes_the_place_of_the_old_one() {
    let provider = Provider::start();
    let desk = desk(&provider, "");
    let (old, _) = provider.token("es256", APPEND, None);
    assert_eq!(desk.append(&old), End::LetIn);
    provider.rotate();
    let (new, _) = provider.token("es256", APPEND, None);
    // Keys are fetched once in ten seconds.
    until(|| desk.call("Append", &bearer(&new)) == End::LetIn);
    assert_eq!(desk.append(&old), End::Invalid, "the key that signed it is gone");
}
