//! What each row holds, and how it is made and read.

use std::collections::{BTreeMap, BTreeSet};

use super::{NONE, rising};
use crate::codec::{Malformed, Value, tagged};
use crate::facts::{Ref, Word};
use crate::scopes::grant::{Attested, Definition, Grant, Review, Status, Use};
use crate::scopes::{MAX_APPROVALS, MAX_APPROVERS, MAX_GRANT_SCOPES, MAX_REVIEW_ITEMS};
use crate::time::Time;

tagged! {
    pub(super) struct AllRow {
        1 put appointments: u64,
        2 put grants_forgotten: u64,
        3 put tokens_forgotten: u64,
        4 each administrators: Vec<Administrator>,
    }
}

tagged! {
    pub(super) struct ScopeRow {
        1 put scope: Word,
        2 put tier: u8,
        3 put summed: u8,
        4 each approvers: Vec<Ref>,
        5 put approvals: u8,
        6 maybe longest: Option<u64>,
        7 maybe issued_before: Option<u64>,
        8 put index: u64,
        9 put changed: u64,
    }
}

tagged! {
    pub(super) struct GrantRow {
        1 put number: Ref,
        2 put revision: u64,
        3 put status: u8,
        4 put client: Ref,
        5 maybe subject: Option<Ref>,
        6 each scopes: Vec<ScopeUse>,
        7 maybe resource: Option<Word>,
        8 maybe not_before: Option<u64>,
        9 maybe expires: Option<u64>,
        10 put requester: Ref,
        11 each approvers: Vec<Ref>,
        12 put requested: u64,
        13 put activated: u64,
        14 put active_since: u64,
        15 maybe ended: Option<u64>,
        16 put changed: u64,
    }
}

tagged! {
    pub(super) struct TokenRow {
        1 put token: Ref,
        2 put index: u64,
        3 maybe expires: Option<u64>,
    }
}

tagged! {
    pub(super) struct ReviewRow {
        1 put number: Ref,
        2 put index: u64,
        3 put by: Ref,
        4 maybe due: Option<u64>,
        5 maybe closed: Option<u64>,
        6 each items: Vec<Item>,
    }
}

pub(super) struct Administrator(pub(super) Ref, pub(super) u64);
pub(super) struct ScopeUse(u16, Use);
pub(super) struct Item(Ref, Option<Attested>);

impl ScopeRow {
    pub(super) fn of(scope: &Word, definition: &Definition) -> Self {
        Self {
            scope: scope.clone(),
            tier: definition.tier,
            summed: u8::from(definition.is_summed),
            approvers: definition.approvers.iter().copied().collect(),
            approvals: definition.approvals,
            longest: definition.longest,
            issued_before: definition.issued_before.map(|time| time.0),
            index: definition.index,
            changed: definition.changed,
        }
    }

    pub(super) fn definition(self) -> Result<Definition, Malformed> {
        let is_one = self.tier <= 3 && self.summed <= 1 && (1..=MAX_APPROVALS).contains(&self.approvals);
        let definition = Definition {
            tier: self.tier,
            is_summed: self.summed == 1,
            approvers: parties(&self.approvers, MAX_APPROVERS)?,
            approvals: self.approvals,
            longest: self.longest,
            issued_before: self.issued_before.map(Time),
            index: self.index,
            changed: self.changed,
        };
        is_one.then_some(definition).ok_or(NONE)
    }
}

impl GrantRow {
    pub(super) fn of(number: Ref, grant: &Grant, places: &BTreeMap<&Word, u16>) -> Self {
        let place = |(scope, used): (&Word, &Use)| Some(ScopeUse(*places.get(scope)?, *used));
        Self {
            number,
            revision: grant.revision,
            status: grant.status as u8,
            client: grant.client,
            subject: grant.subject,
            // A grant's scopes are defined, and never cease to be.
            scopes: grant.scopes.iter().filter_map(place).collect(),
            resource: grant.resource.clone(),
            not_before: grant.not_before.map(|time| time.0),
            expires: grant.expires.map(|time| time.0),
            requester: grant.requester,
            approvers: grant.approvers.iter().copied().collect(),
            requested: grant.requested,
            activated: grant.activated,
            active_since: grant.active_since.0,
            ended: grant.ended.map(|time| time.0),
            changed: grant.changed,
        }
    }

    pub(super) fn grant(self, places: &[Word]) -> Result<Grant, Malformed> {
        let status = match self.status {
            1 => Status::Pending,
            2 => Status::Active,
            3 => Status::Denied,
            4 => Status::Revoked,
            _ => return Err(NONE),
        };
        let scope = |used: &ScopeUse| Some((places.get(usize::from(used.0))?.clone(), used.1));
        let scopes = self.scopes.iter().map(scope).collect::<Option<Vec<_>>>().ok_or(NONE)?;
        let has_ended = matches!(status, Status::Denied | Status::Revoked);
        if scopes.is_empty() || has_ended != self.ended.is_some() {
            return Err(NONE);
        }
        Ok(Grant {
            revision: self.revision,
            status,
            client: self.client,
            subject: self.subject,
            scopes: rising(scopes.into_iter(), MAX_GRANT_SCOPES)?,
            resource: self.resource,
            not_before: self.not_before.map(Time),
            expires: self.expires.map(Time),
            requester: self.requester,
            approvers: parties(&self.approvers, usize::from(MAX_APPROVALS))?,
            requested: self.requested,
            activated: self.activated,
            active_since: Time(self.active_since),
            ended: self.ended.map(Time),
            changed: self.changed,
        })
    }
}

impl ReviewRow {
    pub(super) fn of(number: Ref, review: &Review) -> Self {
        Self {
            number,
            index: review.index,
            by: review.by,
            due: review.due.map(|time| time.0),
            closed: review.closed.map(|time| time.0),
            items: review.items.iter().map(|(grant, said)| Item(*grant, *said)).collect(),
        }
    }

    pub(super) fn review(self) -> Result<Review, Malformed> {
        Ok(Review {
            index: self.index,
            by: self.by,
            due: self.due.map(Time),
            closed: self.closed.map(Time),
            items: rising(self.items.into_iter().map(|item| (item.0, item.1)), MAX_REVIEW_ITEMS)?,
        })
    }
}

fn parties(some: &[Ref], most: usize) -> Result<BTreeSet<Ref>, Malformed> {
    Ok(rising(some.iter().map(|who| (*who, ())), most)?.into_keys().collect())
}

impl Value for Administrator {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }

    fn take(bytes: &[u8]) -> Option<Self> {
        let (who, index) = bytes.split_first_chunk()?;
        Some(Self(Ref(*who), Value::take(index)?))
    }
}

impl Value for ScopeUse {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0.to_be_bytes());
        if let Use { count, last: Some(last), first_index, last_index } = self.1 {
            [count, last.0, first_index, last_index].iter().for_each(|number| number.put(out));
        }
    }

    fn take(bytes: &[u8]) -> Option<Self> {
        let (place, numbers) = bytes.split_first_chunk()?;
        let place = u16::from_be_bytes(*place);
        if numbers.is_empty() {
            return Some(Self(place, Use::default()));
        }
        let (numbers, []) = numbers.as_chunks::<8>() else { return None };
        let [count, last, first_index, last_index] = *numbers else { return None };
        let [count, last, first_index, last_index] =
            [count, last, first_index, last_index].map(u64::from_be_bytes);
        (count > 0).then_some(Self(place, Use { count, last: Some(Time(last)), first_index, last_index }))
    }
}

impl Value for Item {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        out.push(self.1.map_or(0, |said| said as u8));
    }

    fn take(bytes: &[u8]) -> Option<Self> {
        let (grant, said) = bytes.split_first_chunk()?;
        let said = match said {
            [0] => None,
            [1] => Some(Attested::Kept),
            [2] => Some(Attested::Revoked),
            _ => return None,
        };
        Some(Self(Ref(*grant), said))
    }
}
