//! The actions that have a fixed meaning, whoever records them.
//!
//! A producer's own actions begin with `x.`; those of a product that is named in `source.product` are that product's words.

/// What an action's own words begin with.
pub const OWN_PREFIX: &str = "x.";

/// Every action of the catalogue with what it means.
pub const ACTIONS: &[(&str, &str)] = &[
    ("auth.login", "somebody signed in"),
    ("auth.logout", "somebody signed out"),
    ("auth.mfa", "a further factor was asked for"),
    ("auth.password.change", "somebody changed their own password"),
    ("auth.password.reset", "a password was set for somebody"),
    ("oauth.authorize", "an authorization request was answered (RFC 6749 §4.1.2)"),
    ("oauth.consent.grant", "somebody agreed that a client may act for them"),
    ("oauth.consent.revoke", "somebody took that back"),
    ("oauth.token.issue", "a token was issued (RFC 6749 §5)"),
    ("oauth.token.refresh", "a token was issued for a refresh token (RFC 6749 §6)"),
    ("oauth.token.exchange", "a token was issued for another (RFC 8693)"),
    ("oauth.token.introspect", "a token was asked about (RFC 7662)"),
    ("oauth.token.revoke", "a token was revoked (RFC 7009)"),
    ("oauth.token.use", "a token was shown"),
    ("scope.define", "a scope was defined or changed"),
    ("scope.request", "a scope was asked for"),
    ("scope.grant", "a scope was given"),
    ("scope.deny", "a scope was refused"),
    ("scope.narrow", "a grant was narrowed"),
    ("scope.renew", "a grant was prolonged"),
    ("scope.revoke", "a scope was taken away"),
    ("scope.rotate", "tokens for a scope were made worthless"),
    ("scope.token.revoke", "a token was made worthless in a log"),
    ("scope.review.open", "a review of grants was begun"),
    ("scope.review.attest", "a grant was kept or revoked in a review"),
    ("scope.review.close", "a review of grants was ended"),
    ("scope.administrator.appoint", "somebody became an administrator of scopes"),
    ("scope.administrator.dismiss", "somebody is one no longer"),
    ("scope.check", "somebody asked whether a scope is given"),
    ("admin.user.create", "an account was made"),
    ("admin.user.update", "an account was changed"),
    ("admin.user.delete", "an account was removed"),
    ("admin.user.lock", "an account was locked"),
    ("admin.user.unlock", "an account was unlocked"),
    ("admin.role.assign", "a role or permission was given"),
    ("admin.role.remove", "a role or permission was taken away"),
    ("admin.client.create", "an OAuth client was made"),
    ("admin.client.update", "an OAuth client was changed"),
    ("admin.client.delete", "an OAuth client was removed"),
    ("admin.setting.update", "a setting was changed"),
    ("security.policy.update", "a security policy was changed"),
    ("security.key.create", "a key was made"),
    ("security.key.rotate", "a key was replaced"),
    ("security.key.revoke", "a key was withdrawn"),
    ("credential.create", "a credential of an application was made"),
    ("credential.use", "a credential of an application was shown"),
    ("credential.rotate", "a credential of an application was replaced"),
    ("credential.revoke", "a credential of an application was withdrawn"),
    ("data.read", "data were read"),
    ("data.create", "data were made"),
    ("data.update", "data were changed"),
    ("data.delete", "data were removed"),
    ("data.export", "data were taken out"),
    ("graven.query", "a log of events was searched"),
    ("graven.tail.open", "somebody began to follow a log of events"),
    ("graven.tail.close", "somebody stopped following a log of events"),
    ("graven.reveal", "payloads were read or disclosed"),
    ("graven.erase", "keys of a person were destroyed"),
    ("graven.retention", "a retention class was set"),
    ("graven.retention.list", "retention classes and holds were read"),
    ("graven.hold.place", "a legal hold was placed"),
    ("graven.hold.release", "a legal hold was lifted"),
    ("graven.scopes.list", "the scopes of a log and its administrators were read"),
    ("graven.scopes.grants", "grants of a log were read"),
    ("graven.scopes.history", "the history of a grant was read"),
    ("graven.scopes.explain", "the grounds of a decision were read"),
    ("graven.scopes.unused", "grants that nobody uses were looked for"),
    ("graven.scopes.reviews", "reviews of grants were read"),
    ("graven.scopes.watch.open", "somebody began to follow commands about scopes"),
    ("graven.scopes.watch.close", "somebody stopped following commands about scopes"),
    ("graven.rule.define", "a rule began to be applied"),
    ("graven.rule.retire", "a rule ceased to be applied"),
    ("graven.rule.list", "the rules of a log were read"),
    ("graven.rule.test", "a rule was tried on what a log has"),
    ("graven.alerts.watch.open", "somebody began to follow alerts"),
    ("graven.alerts.watch.close", "somebody stopped following alerts"),
    ("graven.admin", "a log was made, ended or given new keys"),
    ("graven.refused", "a known caller asked for what it may not do"),
    ("graven.refusals", "calls of strangers were refused: a sum"),
];

/// Whether an action may stand without a product that it belongs to.
pub fn knows(action: &str) -> bool {
    let own = action.strip_prefix(OWN_PREFIX);
    own.is_some_and(|rest| !rest.trim().is_empty()) || ACTIONS.iter().any(|(known, _)| *known == action)
}

/// What a [command](crate::facts::Command) of this number does, as an action: leaves of commands are found by it.
pub fn of_command(command: u8) -> &'static str {
    const WORDS: [&str; 14] = [
        "scope.define",
        "scope.request",
        "scope.grant",
        "scope.deny",
        "scope.narrow",
        "scope.renew",
        "scope.revoke",
        "scope.token.revoke",
        "scope.rotate",
        "scope.review.open",
        "scope.review.attest",
        "scope.review.close",
        "scope.administrator.appoint",
        "scope.administrator.dismiss",
    ];
    usize::from(command).checked_sub(1).and_then(|at| WORDS.get(at)).copied().unwrap_or("scope")
}
