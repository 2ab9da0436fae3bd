//! AWS CloudTrail, record contents of event versions 1.00 to 1.11.
//!
//! # Who
//! | `userIdentity.type` | actor | on behalf of |
//! |---|---|---|
//! | `IAMUser`, `Root` | `user`, its ARN without a path: names are unique in an account, and targets have no path | |
//! | `AssumedRole` | `role`, the ARN of the session | the role |
//! | the same, where a person is told: `sourceIdentity`, or a session of IAM Identity Center, which bears its user's name | `user`, that name | the session, the role |
//! | `FederatedUser` | `user`, its ARN | who federated it |
//! | `WebIdentityUser`, `SAMLUser`, `IdentityCenterUser`, others | `user`, ARN or else the principal | |
//! | `AWSAccount` | `account`, the principal | the account |
//! | `AWSService`, or none but with `invokedBy` | `service`, that service | |
//! | nothing of all that | `account`, or `system` and the event's source | |
//!
//! A service that calls for somebody (`invokedBy`) is the client. An access key's id is the token's: it opens nothing.
//!
//! # How it ended
//! An `errorCode` that says so is denied, another a failure; so is a sign-in that answers `Failure`, which has no code.

use super::build::{event, long, party, says_denied, short, time, unknown};
use super::json::Json;
use super::{MapError, action};
use crate::model::{Event, Outcome, Party, Token};

/// What stands where a sign-in gave a name that is nobody's.
const HIDDEN: &str = "HIDDEN_DUE_TO_SECURITY_REASONS";
/// What the roles of IAM Identity Center begin with.
const IDENTITY_CENTER_ROLE: &str = "AWSReservedSSO_";

/// Parameters that name one thing, and what kind of thing it is.
const THINGS: [(&str, &str); 40] = [
    ("roleArn", "role"),
    ("policyArn", "policy"),
    ("policyName", "policy"),
    ("instanceProfileName", "instance-profile"),
    ("accessKeyId", "access-key"),
    ("secretId", "secret"),
    ("keyId", "key"),
    ("functionName", "function"),
    ("instanceId", "instance"),
    ("imageId", "image"),
    ("volumeId", "volume"),
    ("snapshotId", "snapshot"),
    ("vpcId", "vpc"),
    ("subnetId", "subnet"),
    ("groupId", "security-group"),
    ("routeTableId", "route-table"),
    ("internetGatewayId", "internet-gateway"),
    ("natGatewayId", "nat-gateway"),
    ("networkInterfaceId", "network-interface"),
    ("allocationId", "address"),
    ("dBInstanceIdentifier", "db-instance"),
    ("dBClusterIdentifier", "db-cluster"),
    ("dBSnapshotIdentifier", "db-snapshot"),
    ("tableName", "table"),
    ("queueUrl", "queue"),
    ("topicArn", "topic"),
    ("repositoryName", "repository"),
    ("trailName", "trail"),
    ("logGroupName", "log-group"),
    ("detectorId", "detector"),
    ("stackName", "stack"),
    ("clusterName", "cluster"),
    ("documentName", "document"),
    ("certificateArn", "certificate"),
    ("resourceArn", "resource"),
    ("resourceId", "resource"),
    ("aliasName", "alias"),
    ("guardrailIdentifier", "guardrail"),
    ("trustAnchorId", "trust-anchor"),
    ("organizationId", "organization"),
];

pub(crate) fn v1(record: &Json) -> Result<Event, MapError> {
    let action = action(record, "eventName")?;
    let identity = record.at("userIdentity");
    let (actor, on_behalf_of) = who(record, identity);
    let mut event = event("cloudtrail", action, actor, outcome(record));
    event.on_behalf_of = on_behalf_of;
    event.time = time(record, &["eventTime"]);
    let service = party("service", identity.word("invokedBy"), None);
    event.client = service.filter(|service| *service != event.actor);
    if identity.text("type") == Some("AssumedRole") {
        event.session = identity.word("principalId");
    }
    event.token = token(record, identity);
    event.decision.reason = reason(record);
    event.context.request_id = record.word("requestID");
    event.context.ip = record.word("sourceIPAddress");
    event.context.user_agent = long(record.at("userAgent"));
    event.source.service = record.word("eventSource");
    event.source.event_id = record.word("eventID");
    event.label("account", record.word("recipientAccountId"));
    event.label("region", record.word("awsRegion"));
    event.label("type", record.word("eventType"));
    event.label("read_only", record.flag("readOnly").map(|value| value.to_string()));
    resources(&mut event, record);
    parameters(&mut event, record);
    results(&mut event, record);
    Ok(event)
}

/// Who did it, and with whose rights.
fn who(record: &Json, identity: &Json) -> (Party, Vec<Party>) {
    let user_name = identity.word("userName").filter(|name| name != HIDDEN);
    let arn = identity.word("arn").map(|arn| without_path(&arn));
    let principal = identity.word("principalId");
    let account = || party("account", identity.word("accountId"), None);
    let service = || party("service", identity.word("invokedBy"), None);
    let issuer = identity.at("sessionContext.sessionIssuer");
    let from = |kind| party(kind, issuer.word("arn").map(|arn| without_path(&arn)), issuer.word("userName"));
    let system = || {
        let source =
            record.word("eventSource").filter(|_| record.text("eventType") == Some("AwsServiceEvent"));
        party("system", source, None).unwrap_or_else(unknown)
    };
    if [identity.text("accountId"), identity.text("principalId")].contains(&Some("ANONYMOUS_PRINCIPAL")) {
        return (unknown(), Vec::new());
    }
    match identity.text("type") {
        Some("AssumedRole") => {
            let session_name = arn.as_deref().or(principal.as_deref()).and_then(last).map(str::to_owned);
            let session = party("role", arn.or(principal), session_name.clone());
            let role = from("role");
            let of_center =
                issuer.text("userName").is_some_and(|name| name.starts_with(IDENTITY_CENTER_ROLE));
            let told = identity.word("sessionContext.sourceIdentity").or(session_name.filter(|_| of_center));
            let chain = [party(Party::USER, told, None), session, role];
            let mut chain = chain.into_iter().flatten();
            (chain.next().or_else(account).unwrap_or_else(system), chain.collect())
        }
        Some("FederatedUser") => {
            let name = arn.as_deref().and_then(last).map(str::to_owned);
            let actor = party(Party::USER, arn.or(principal), name).or_else(account).unwrap_or_else(system);
            (actor, from(Party::USER).into_iter().collect())
        }
        Some("AWSAccount") => {
            let owner = account();
            match party("account", arn.or(principal), None) {
                Some(caller) => (caller, owner.into_iter().collect()),
                None => (owner.unwrap_or_else(system), Vec::new()),
            }
        }
        Some("AWSService") => (service().or_else(account).unwrap_or_else(system), Vec::new()),
        Some(_) => {
            let named = || user_name.as_deref().map(|name| user_arn(record, name));
            let person = identity.word("onBehalfOf.userId");
            let id = arn.or_else(named).or(principal).or(person);
            (party(Party::USER, id, user_name.clone()).or_else(account).unwrap_or_else(system), Vec::new())
        }
        None => {
            let actor = party(Party::USER, arn, user_name).or_else(service).or_else(account);
            (actor.unwrap_or_else(system), Vec::new())
        }
    }
}

/// `arn:aws:iam::1:user/division/alice` as `arn:aws:iam::1:user/alice`: names of users and roles are unique without their paths.
fn without_path(arn: &str) -> String {
    match arn
        .split_once(":user/")
        .map(|split| (":user/", split))
        .or(arn.split_once(":role/").map(|s| (":role/", s)))
    {
        Some((kind, (head, path))) if head.contains(":iam:") => {
            format!("{head}{kind}{}", last(path).unwrap_or(path))
        }
        _ => arn.to_owned(),
    }
}

/// What follows the last slash or, in `AROA…:session`, the colon.
fn last(text: &str) -> Option<&str> {
    text.rsplit(['/', ':']).next().filter(|part| !part.trim().is_empty())
}

fn user_arn(record: &Json, name: &str) -> String {
    iam_arn(record, "user", name)
}

fn iam_arn(record: &Json, kind: &str, name: &str) -> String {
    let account = record.first(&["recipientAccountId", "userIdentity.accountId"]).unwrap_or_default();
    let partition = record.text("userIdentity.arn").and_then(|arn| arn.split(':').nth(1)).unwrap_or("aws");
    short(&format!("arn:{partition}:iam::{account}:{kind}/{name}"))
}

fn outcome(record: &Json) -> Outcome {
    let name = record.text("eventName").unwrap_or_default();
    let failed = |answer: &str| record.at(answer).get(name).as_text() == Some("Failure");
    match record.text("errorCode") {
        Some(code) if says_denied(code) => Outcome::Denied,
        Some(_) => Outcome::Failure,
        None if record.text("errorMessage").is_some() => Outcome::Failure,
        None if failed("responseElements") || failed("serviceEventDetails") => Outcome::Failure,
        None => Outcome::Success,
    }
}

fn reason(record: &Json) -> Option<String> {
    let (code, message) = (record.text("errorCode"), record.text("errorMessage"));
    let both: Vec<&str> = [code, message].into_iter().flatten().collect();
    long(&Json::Text(both.join(": ")))
}

fn token(record: &Json, identity: &Json) -> Option<Token> {
    let mfa = identity.flag("sessionContext.attributes.mfaAuthenticated") == Some(true)
        || record.text("additionalEventData.MFAUsed") == Some("Yes");
    let provider = ["identityProvider", "sessionContext.webIdFederationData.federatedProvider"];
    let token = Token {
        id: identity.first(&["accessKeyId", "credentialId"]),
        issuer: identity.first(&provider),
        amr: mfa.then(|| "mfa".to_owned()).into_iter().collect(),
        ..Token::default()
    };
    (token != Token::default()).then_some(token)
}

fn resources(event: &mut Event, record: &Json) {
    for resource in record.list("resources") {
        let Some(arn) = resource.first(&["ARN", "ARNPrefix"]).map(|arn| without_path(&arn)) else { continue };
        let typed =
            resource.text("type").and_then(|kind| kind.rsplit("::").next()).map(str::to_ascii_lowercase);
        let kind = typed.unwrap_or_else(|| kind_of(&arn).to_owned());
        event.target(&kind, Some(arn), None);
    }
}

/// The kind of thing that an ARN names: `arn:aws:kms:eu-west-1:1:key/7` is a `key`, and of S3 a `bucket` or an `object`.
fn kind_of(arn: &str) -> &str {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    match parts[..] {
        [_, _, "s3", _, _, path] => {
            if path.contains('/') {
                "object"
            } else {
                "bucket"
            }
        }
        [_, _, "sns", _, _, _] => "topic",
        [_, _, "sqs", _, _, _] => "queue",
        [_, _, _, _, _, rest] => rest.split_once(['/', ':']).map_or("resource", |(kind, _)| kind),
        _ => "resource",
    }
}

fn parameters(event: &mut Event, record: &Json) {
    let parameters = record.at("requestParameters");
    let of_iam = record.text("eventSource") == Some("iam.amazonaws.com");
    if of_iam {
        for member in ["userName", "newUserName"] {
            let name = parameters.word(member).filter(|name| name != HIDDEN);
            event.target(Party::USER, name.as_deref().map(|name| user_arn(record, name)), name);
        }
        let (role, group) = (parameters.word("roleName"), parameters.word("groupName"));
        event.target("role", role.as_deref().map(|name| iam_arn(record, "role", name)), role);
        event.target("group", group.as_deref().map(|name| iam_arn(record, "group", name)), group);
        let renamed = parameters.word("newUserName");
        if renamed.is_some() {
            event.change("userName", parameters.word("userName"), renamed);
        }
    }
    let bucket = parameters.word("bucketName");
    if let (Some(bucket), Some(key)) = (&bucket, parameters.word("key")) {
        event.target("object", Some(short(&format!("{bucket}/{key}"))), None);
    }
    add(event, "bucket", bucket);
    for (member, kind) in THINGS {
        let id = parameters.word(member).map(|id| if kind == "role" { without_path(&id) } else { id });
        add(event, kind, id);
    }
    let instances = parameters.list("instancesSet.items").iter().filter_map(|item| item.word("instanceId"));
    let listed = parameters.list("instanceIds").iter().filter_map(Json::as_word);
    instances.chain(listed).for_each(|id| event.target("instance", Some(id), None));
    let named = parameters.list("names").iter().chain([parameters.at("name")]).filter_map(Json::as_word);
    let kind = match record.text("eventSource") {
        Some("ssm.amazonaws.com") => "parameter",
        Some("cloudtrail.amazonaws.com") => "trail",
        Some("secretsmanager.amazonaws.com") => "secret",
        _ => return,
    };
    named.for_each(|name| add(event, kind, Some(name)));
}

/// Adds what a parameter names; where the record has its ARN too, as the name of that.
fn add(event: &mut Event, kind: &str, id: Option<String>) {
    let is_it = |arn: &str, id: &str| arn.strip_suffix(id).is_some_and(|head| head.ends_with([':', '/']));
    let named = id.as_deref().and_then(|id| {
        event
            .targets
            .iter_mut()
            .find(|target| target.kind == kind && is_it(&target.id, id.trim_start_matches('/')))
    });
    match named {
        Some(target) => target.name = id,
        None => event.target(kind, id, None),
    }
}

/// What the answer adds: keys that were made, and the states that instances left and entered.
fn results(event: &mut Event, record: &Json) {
    let answer = record.at("responseElements");
    let name = answer.word("accessKey.userName");
    event.target(Party::USER, name.as_deref().map(|name| user_arn(record, name)), name);
    for member in ["accessKey.accessKeyId", "credentials.accessKeyId"] {
        event.target("access-key", answer.word(member), None);
    }
    for item in answer.list("instancesSet.items") {
        let Some(id) = item.word("instanceId") else { continue };
        event.target("instance", Some(id.clone()), None);
        let (before, after) = (item.word("previousState.name"), item.word("currentState.name"));
        if before.is_some() || after.is_some() {
            event.change(&format!("{id}.state"), before, after);
        }
    }
}
