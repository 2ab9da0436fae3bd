use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::facts::{EventFacts, Facts, GapFacts, Ref, Word};
use crate::frame::Frame;
use crate::group::{Group, View};
use crate::model::{Context, Decision, Outcome, Party, Target, Token};
use crate::payload::SecretKey;
use crate::time::Time;

const NOW: Time = Time::from_seconds(1_800_000_000);

fn parse(text: &str) -> Result<Query, ParseError> {
    Query::parse(text, NOW)
}

fn word(text: &str) -> Word {
    Word::new(text).unwrap()
}

fn event() -> (Frame, View) {
    let facts = EventFacts {
        action: word("GetBucketAcl"),
        product: Some(word("cloudtrail")),
        event_time: Some(Time::from_seconds(1_799_990_000).0),
        actor: Ref([1; 16]),
        client: None,
        targets: vec![],
        requested: vec![],
        granted: vec![word("s3:Read")],
        used: vec![],
        token: None,
        place: None,
        on_behalf_of: Vec::new(),
        about: Vec::new(),
    };
    let frame = Frame {
        outcome: Some(Outcome::Denied),
        retention: 3,
        log_time: Time::from_seconds(1_799_996_400),
        id: [7; 16],
        producer: Ref([0xab; 16]),
        sequence: 1,
        previous: [0; 32],
        payload: None,
        facts: Facts::Event(facts),
    };
    let view = View {
        actor: Some(Party { name: Some("Alice Example".to_owned()), ..Party::new("user", "alice") }),
        on_behalf_of: vec![Party::new("user", "bob")],
        session: Some("Sess-1".to_owned()),
        targets: vec![Target { kind: "bucket".to_owned(), id: "arn:aws:s3:::logs".to_owned(), name: None }],
        client: Some(Party::new("application", "console")),
        token: Some(Token { id: Some("jti-1".to_owned()), ..Token::default() }),
        context: Context {
            request_id: Some("R1".to_owned()),
            ip: Some("192.0.2.7".to_owned()),
            ..Context::default()
        },
        decision: Decision { policy: Some("no-public-reads".to_owned()), reason: None },
        service: Some("s3.amazonaws.com".to_owned()),
        labels: BTreeMap::from([("env".to_owned(), "Prod".to_owned())]),
        ..View::default()
    };
    (frame, view)
}

#[test]
fn questions_are_answered_as_they_read() {
    let (frame, view) = event();
    for (text, expected) in [
        ("", true),
        ("actor:alice", true),
        ("actor:ALICE", true),
        ("actor:user:alice", true),
        ("actor:\"alice example\"", true),
        ("actor:bob", true),
        ("actor:carol", false),
        ("actor:carol,alice", true),
        ("-actor:carol", true),
        ("-actor:carol,alice", false),
        ("client:console client:application:console", true),
        ("target:arn:aws:s3:::logs", true),
        ("target:\"bucket:arn:aws:s3:::logs\"", true),
        ("token:jti-1 request:R1 session:Sess-1 ip:192.0.2.7", true),
        ("request:r1", false),
        ("action:getbucketacl outcome:denied,failure", true),
        ("action:get*", true),
        ("action:put*", false),
        ("outcome:Success", false),
        ("scope:s3:Read", true),
        ("scope:s3:*", true),
        ("product:cloudtrail kind:event class:3", true),
        ("class:30", false),
        ("producer:ABABABABABABABABABABABABABABABAB", true),
        ("label:env=Prod", true),
        ("label:env=P*", true),
        ("label:env=prod", false),
        ("bucket", true),
        ("acl amazonaws public", true),
        ("\"no public\" buck*", true),
        ("alice", false),
        ("-alice", true),
        ("-bucket", false),
        ("since:1h", true),
        ("since:59m", false),
        ("until:59m", true),
        ("until:1h", false),
        ("since:2027-01-15T07:00:00Z until:2027-01-15T08:00:00Z", true),
        ("happened-since:1d happened-until:1h", true),
        ("happened-since:1h", false),
    ] {
        let query = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(query.matches(&frame, &view), expected, "{text}");
    }
}

#[test]
fn what_is_no_question_is_told_where_and_how_to_ask() {
    for (text, at, hint) in [
        ("who:alice", 0, "no such field"),
        ("action:a who:alice", 9, "no such field"),
        ("-who:alice", 0, "no such field"),
        ("actor:", 6, "missing"),
        ("actor:alice,", 12, "missing"),
        ("actor:,alice", 6, "missing"),
        ("actor:\"alice", 6, "not closed"),
        ("actor:\"al\\x\"", 11, "backslash"),
        ("actor:\"alice\"bob", 13, "a space"),
        ("actor:al*", 6, "hashes"),
        ("action:*a", 7, "at the end"),
        ("action:a**", 8, "at the end"),
        ("outcome:ok", 8, "success, failure, denied or unknown"),
        ("kind:thing", 5, "genesis"),
        ("class:300", 6, "0 to 255"),
        ("class:03", 6, "0 to 255"),
        ("producer:12", 9, "32 hexadecimal"),
        ("label:env", 6, "KEY=VALUE"),
        ("label:=a", 6, "KEY=VALUE"),
        ("since:yesterday", 6, "not a time"),
        ("since:24", 6, "not a time"),
        ("since:h", 6, "not a time"),
        ("since:99999999999999999999d", 6, "not a time"),
        ("-since:24h", 0, "not negated"),
        (":a", 0, "before the colon"),
        ("-", 1, "missing"),
        ("...", 0, "a letter or a digit"),
        ("a,b", 1, "comma"),
        ("a.b:c", 3, "colon"),
        ("a\"b\"", 1, "a space"),
    ] {
        let error = parse(text).expect_err(text);
        assert_eq!(error.at, at, "{text}: {error}");
        assert!(error.what.contains(hint), "{text}: {error}");
    }
    let long = "a ".repeat(MAX_QUERY_BYTES / 2 + 1);
    assert!(parse(&long).unwrap_err().what.contains("4096"));
    let most = vec!["a"; MAX_VALUES_OF_QUERY].join(" ");
    assert_eq!(parse(&most).unwrap().clauses.len(), MAX_VALUES_OF_QUERY);
    assert!(parse(&format!("{most} a")).unwrap_err().what.contains("in parts"));
    assert!(parse(&format!("actor:{}", vec!["a"; 65].join(","))).unwrap_err().what.contains("in parts"));
}

#[test]
fn errors_do_not_repeat_what_was_asked() {
    for text in
        ["actor:\"canary", "canary:1", "outcome:canary", "since:canary", "kind:canary", "canary,canary"]
    {
        assert!(!parse(text).unwrap_err().to_string().contains("canary"), "{text}");
    }
}

#[test]
fn other_leaves_are_found_by_what_they_say() {
    let (mut frame, view) = (event().0, View::default());
    frame.outcome = None;
    frame.facts = Facts::Gap(GapFacts { producer: Ref([2; 16]), first: 3, last: 4 });
    assert!(parse("kind:gap -outcome:success -actor:alice").unwrap().matches(&frame, &view));
    assert!(!parse("happened-since:9w").unwrap().matches(&frame, &view));
}

#[test]
fn personal_values_stand_in_terms_as_keyed_hashes_only() {
    let (frame, view) = event();
    let owners = [(Group::Actor, &[Ref([1; 16])][..]), (Group::Raw, &[Ref([9; 16])])];
    let blinder = |byte| Blinder::new(&SecretKey([byte; 32]));
    let found = terms(&frame, &view, owners, &blinder(1));
    let has = |text: &str| {
        found.iter().any(|term| term.as_bytes().windows(text.len()).any(|part| part == text.as_bytes()))
    };
    for personal in ["alice", "bob", "example", "Sess", "sess", "arn:", "console", "jti", "R1", "192"] {
        assert!(!has(personal), "{personal}");
    }
    for clear in ["getbucketacl", "denied", "cloudtrail", "s3:Read", "env=Prod", "bucket", "public"] {
        assert!(has(clear), "{clear}");
    }
    assert!(found.is_sorted() && found.windows(2).all(|two| two[0] != two[1]));
    assert_eq!(found.iter().filter(|term| Term::as_owner(term.as_bytes()).is_some()).count(), 1);
    assert_eq!(Term::as_owner(Term::owner(Group::Actor, Ref([1; 16])).as_bytes()), Some((1, Ref([1; 16]))));

    let other = terms(&frame, &view, owners, &blinder(2));
    let personal =
        |terms: &[Term]| terms.iter().filter(|term| term.as_bytes()[0] < 16).cloned().collect::<Vec<_>>();
    assert!(personal(&found).iter().all(|term| !other.contains(term)), "another key, other hashes");
    let same = "the same";
    let hashes: Vec<_> = Field::ALL.iter().filter(|(field, _)| field.is_personal()).collect();
    let hashes: std::collections::BTreeSet<_> = hashes
        .into_iter()
        .map(|(field, _)| blinder(1).term(*field, field.groups()[0], same).as_bytes()[2..].to_vec())
        .collect();
    assert_eq!(hashes.len(), 7, "another field, another hash");
}

#[test]
fn plans_find_what_the_terms_of_an_event_say() {
    let (frame, view) = event();
    let blinder = Blinder::new(&SecretKey([1; 32]));
    let found = terms(&frame, &view, [], &blinder);
    let is_there = |lookup: &Lookup| match lookup {
        Lookup::Term(term) => found.contains(term),
        Lookup::Prefix(term) => found.iter().any(|found| found.as_bytes().starts_with(term.as_bytes())),
    };
    for text in [
        "actor:alice,x action:get* bucket",
        "label:env=Prod acl -token:x -\"acl zebra\"",
        "actor:carol",
        "-buck*",
    ] {
        let query = parse(text).unwrap();
        let plan = query.plan(&blinder);
        let any = |any: &AnyOf| any.iter().any(is_there);
        let holds = plan.all.iter().all(any) && !plan.none.iter().any(|all| all.iter().all(any));
        assert_eq!(holds, query.matches(&frame, &view), "{text}");
    }
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{1,8}", "[ -~äß日]{1,12}", "[a\"\\\\:, *-]{1,6}"]
}

fn pattern(begins: bool) -> impl Strategy<Value = Pattern> {
    (value(), any::<bool>()).prop_map(move |(value, prefix)| match prefix && begins {
        true => Pattern::Prefix(value),
        false => Pattern::Exact(value),
    })
}

fn what() -> impl Strategy<Value = What> {
    let time = || any::<u64>().prop_map(Time);
    let when = || prop_oneof![Just(When::Logged), Just(When::Happened)];
    let field = |field: Field| {
        prop::collection::vec(pattern(!field.is_personal()), 1..4)
            .prop_map(move |patterns| What::Is(field, patterns))
    };
    prop_oneof![
        field(Field::Actor),
        field(Field::Target),
        field(Field::Request),
        field(Field::Action),
        field(Field::Scope),
        field(Field::Product),
        pattern(true)
            .prop_filter("a text has words", |pattern| pattern.as_str().contains(char::is_alphanumeric))
            .prop_map(What::Text),
        (when(), time()).prop_map(|(when, time)| What::Since(when, time)),
        (when(), time()).prop_map(|(when, time)| What::Until(when, time)),
    ]
}

fn clause() -> impl Strategy<Value = Clause> {
    (what(), any::<bool>()).prop_map(|(what, negated)| {
        let is_time = matches!(what, What::Since(..) | What::Until(..));
        Clause { is_negated: negated && !is_time, what }
    })
}

proptest! {
    #[test]
    fn what_is_shown_is_read_again(clauses in prop::collection::vec(clause(), 0..8)) {
        let query = Query { clauses };
        prop_assert_eq!(parse(&query.to_string()), Ok(query));
    }

    #[test]
    fn any_text_is_read_or_refused_at_a_place_in_it(text in r#"([a-z:,*"\\ -]|actor:|since:|label:|[0-9=hé日\n]){0,24}"#) {
        match parse(&text) {
            Ok(query) => prop_assert_eq!(parse(&query.to_string()), Ok(query)),
            Err(error) => prop_assert!(error.at <= text.len() && text.is_char_boundary(error.at)),
        }
    }
}
