//! What each request takes. What is not named here is refused.

use std::collections::{BTreeSet, HashMap};

use graven_event::catalogue;
use http::Method;
use thiserror::Error;

use crate::path;

/// Most scopes that one request takes: as many as one check may name.
const MAX_SCOPES: usize = 64;
/// The longest scope, action or resource, in bytes, as the log takes them.
const MAX_WORD_BYTES: usize = 256;

/// Which requests take which scopes.
#[derive(Clone, Debug, Default)]
pub struct Rules(HashMap<Method, Node>);

/// What a request takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    pub(crate) scopes: Vec<String>,
    pub(crate) action: String,
    pub(crate) resource: Option<String>,
}

/// Why a rule cannot be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RuleError {
    /// Not a method and a path.
    #[error("{0:?} names no request: write it as `POST /docs.v1.Documents/Read` or `GET /documents/{{id}}`")]
    NotARequest(String),
    /// Two rules for the same requests.
    #[error("there is a rule for {0:?} already")]
    Twice(String),
    /// Without any scope the log would always say no.
    #[error("{0:?} has to take 1 to {MAX_SCOPES} scopes: what takes none is declared public")]
    Scopes(String),
    /// A scope or resource that no log takes.
    #[error("{0:?} is no word of 1 to {MAX_WORD_BYTES} visible characters")]
    Word(String),
    /// An action that no log knows.
    #[error("{0:?} is no action of the catalogue: put `x.` before a word of your own")]
    Action(String),
}

/// What is said of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    Needs(Need),
    Public,
}

/// The paths below a segment.
#[derive(Clone, Debug, Default)]
struct Node {
    rule: Option<Rule>,
    named: HashMap<String, Node>,
    any: Option<Box<Node>>,
}

impl Need {
    /// All of these scopes.
    pub fn of<S: Into<String>>(scopes: impl IntoIterator<Item = S>) -> Self {
        let scopes: BTreeSet<String> = scopes.into_iter().map(Into::into).collect();
        Self { scopes: scopes.into_iter().collect(), action: String::new(), resource: None }
    }

    /// What the request does, for whoever reads the log: a word of its catalogue, such as `data.read`, or `x.` and words of your own.
    #[must_use]
    pub fn action(mut self, action: impl Into<String>) -> Self {
        self.action = action.into();
        self
    }

    /// Where: the resource indicator (RFC 8707) of the service, for grants that count somewhere only.
    #[must_use]
    pub fn resource(mut self, resource: impl Into<String>) -> Self {
        self.resource = Some(resource.into());
        self
    }

    fn check(&self, request: &str) -> Result<(), RuleError> {
        if self.scopes.is_empty() || self.scopes.len() > MAX_SCOPES {
            return Err(RuleError::Scopes(request.to_owned()));
        }
        if !self.action.is_empty() && !catalogue::knows(&self.action) {
            return Err(RuleError::Action(self.action.clone()));
        }
        match self.scopes.iter().chain(&self.resource).find(|word| !is_word(word)) {
            Some(word) => Err(RuleError::Word(word.clone())),
            None => Ok(()),
        }
    }
}

impl Rules {
    /// Requests of this method and path take this. A segment in braces stands for any one; of two rules that fit, the one that names
    /// the earlier segment counts. gRPC's requests are `POST /package.Service/Method`.
    ///
    /// # Errors
    /// See [`RuleError`]. Nothing was changed.
    pub fn need(&mut self, request: &str, need: Need) -> Result<&mut Self, RuleError> {
        need.check(request)?;
        self.add(request, Rule::Needs(need))
    }

    /// Requests of this method and path take nothing, and are not recorded.
    ///
    /// # Errors
    /// See [`RuleError`]. Nothing was changed.
    pub fn public(&mut self, request: &str) -> Result<&mut Self, RuleError> {
        self.add(request, Rule::Public)
    }

    fn add(&mut self, request: &str, rule: Rule) -> Result<&mut Self, RuleError> {
        let not_a_request = || RuleError::NotARequest(request.to_owned());
        let (method, path) = request.split_once(' ').ok_or_else(not_a_request)?;
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| not_a_request())?;
        let segments = path::segments(path).ok_or_else(not_a_request)?;
        let any: Vec<_> = segments.iter().map(|it| is_placeholder(it)).collect();
        if any.iter().zip(&segments).any(|(any, segment)| !any && segment.contains(['{', '}', '*'])) {
            return Err(not_a_request());
        }
        let mut node = self.0.entry(method).or_default();
        for (any, segment) in any.into_iter().zip(segments) {
            node = if any {
                node.any.get_or_insert_default()
            } else {
                node.named.entry(segment.to_owned()).or_default()
            };
        }
        if node.rule.is_some() {
            return Err(RuleError::Twice(request.to_owned()));
        }
        node.rule = Some(rule);
        Ok(self)
    }

    pub(crate) fn of(&self, method: &Method, path: &str) -> Option<&Rule> {
        self.0.get(method)?.find(&path::segments(path)?)
    }
}

impl Node {
    fn find(&self, segments: &[&str]) -> Option<&Rule> {
        let Some((first, rest)) = segments.split_first() else { return self.rule.as_ref() };
        let named = self.named.get(*first).and_then(|node| node.find(rest));
        named.or_else(|| self.any.as_ref().and_then(|node| node.find(rest)))
    }
}

fn is_placeholder(segment: &str) -> bool {
    let name = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    name.is_some_and(|name| {
        !name.is_empty() && name.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_')
    })
}

fn is_word(word: &str) -> bool {
    (1..=MAX_WORD_BYTES).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(scope: &str) -> Need {
        Need::of([scope])
    }

    fn find(rules: &Rules, method: &str, path: &str) -> Option<String> {
        let request = http::Request::builder().method(method).uri(path).body(()).unwrap();
        rules.of(request.method(), request.uri().path()).map(|rule| match rule {
            Rule::Needs(need) => need.scopes.join(" "),
            Rule::Public => "public".to_owned(),
        })
    }

    #[test]
    fn the_rule_that_names_more_counts_and_what_is_not_named_has_none() {
        let mut rules = Rules::default();
        rules.need("GET /documents/{id}", need("read")).unwrap();
        rules.need("GET /documents/export", need("admin")).unwrap();
        rules.need("GET /documents/{id}/pages/{page}", need("pages")).unwrap();
        rules.need("GET /documents/export/{id}", need("exported")).unwrap();
        rules.need("POST /docs.v1.Documents/Read", need("call")).unwrap();
        rules.public("GET /").unwrap();

        let found = |method, path| find(&rules, method, path);
        assert_eq!(found("GET", "/documents/7?as=text").as_deref(), Some("read"));
        assert_eq!(found("GET", "/documents/export").as_deref(), Some("admin"));
        assert_eq!(found("GET", "/documents/7/pages/1").as_deref(), Some("pages"));
        // A named segment that leads nowhere is no dead end: routers go back too.
        assert_eq!(found("GET", "/documents/export/pages/1").as_deref(), Some("pages"));
        assert_eq!(found("POST", "/docs.v1.Documents/Read").as_deref(), Some("call"));
        assert_eq!(found("GET", "/").as_deref(), Some("public"));
        for (method, path) in [
            ("HEAD", "/documents/7"),
            ("DELETE", "/documents/7"),
            ("GET", "/documents"),
            ("GET", "/documents/7/"),
            ("GET", "/documents/%65xport"),
            ("GET", "/documents/a%2Fb"),
            ("GET", "/documents//"),
            ("GET", "/Documents/7"),
            ("GET", "/docs.v1.Documents/Read"),
            ("POST", "/docs.v1.Documents/read"),
            ("GET", "/documents/.."),
        ] {
            assert_eq!(found(method, path), None, "{method} {path}");
        }
        assert_eq!(find(&Rules::default(), "GET", "/"), None);
    }

    #[test]
    fn what_is_no_rule_is_not_taken() {
        let mut rules = Rules::default();
        for request in [
            "",
            "GET",
            "/a",
            "GET a",
            "GET /a//b",
            "GET  /a",
            "GET /a/{}",
            "GET /a/{b",
            "GET /{*rest}",
            "GET /a/*",
            "G<>T /a",
        ] {
            assert_eq!(rules.public(request).unwrap_err(), RuleError::NotARequest(request.to_owned()));
        }
        rules.need("GET /a/{id}", need("read")).unwrap();
        assert_eq!(
            rules.public("GET /a/{other}").unwrap_err(),
            RuleError::Twice("GET /a/{other}".to_owned())
        );
        assert_eq!(find(&rules, "GET", "/a/1").as_deref(), Some("read"));

        let none = Need::of(Vec::<String>::new());
        assert!(matches!(rules.need("GET /b", none).unwrap_err(), RuleError::Scopes(_)));
        let many = Need::of((0..65).map(|n| n.to_string()));
        assert!(matches!(rules.need("GET /b", many).unwrap_err(), RuleError::Scopes(_)));
        for wrong in [need("a b"), need(""), need("a").resource("x".repeat(257))] {
            assert!(matches!(rules.need("GET /b", wrong).unwrap_err(), RuleError::Word(_)));
        }
        let strange = need("a").action("read the data");
        assert!(matches!(rules.need("GET /b", strange).unwrap_err(), RuleError::Action(_)));
        assert_eq!(find(&rules, "GET", "/b"), None);
    }
}
