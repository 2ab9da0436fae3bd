//! The state's bytes in a snapshot.
//!
//! ```text
//! rows to the end, each
//!   0  1  kind
//!   1  4  length, big-endian, of
//!   5  …  fields, tagged as in `codec`: ? may be absent, * any number, rising
//!
//! kind, in this order; rows of a kind rise by their first field
//! 1 all            1 appointments u64 · 2 grants forgotten u64 · 3 tokens forgotten u64 · 4 administrators*; once
//!                  administrator: 16 reference · 8 index
//! 2 scope          1 scope word · 2 tier u8 · 3 summed u8 (0, 1) · 4 approvers ref* · 5 approvals u8 · 6 longest u64? · 7 issued_before u64?
//!                  8 index u64 · 9 changed u64
//! 3 grant          1 number ref · 2 revision u64 · 3 status u8 · 4 client ref · 5 subject ref? · 6 scopes* · 7 resource word?
//!                  8 not_before u64? · 9 expires u64? · 10 requester ref · 11 approvers ref* · 12 requested u64 · 13 activated u64
//!                  14 active_since u64 · 15 ended u64? · 16 changed u64
//!                  scope: 2 its place among rows of kind 2, from 0 · then, if it was used: 8 count · 8 last · 8 first_index · 8 last_index
//! 4 revoked token  1 token ref · 2 index u64 · 3 expires u64?
//! 5 review         1 number ref · 2 index u64 · 3 by ref · 4 due u64? · 5 closed u64? · 6 items*
//!                  item: 16 grant · 1 what was said: 0 nothing, 1 kept, 2 revoked
//!
//! u8, u64, ref and word as in `facts`
//! ```
//!
//! Which grants a client has and what ends when follows from the rows and is not there.

mod rows;

use std::collections::BTreeMap;

use crate::codec::Malformed;
use crate::facts::Word;
use crate::scopes::book::Revoked;
use crate::scopes::{
    MAX_ADMINISTRATORS, MAX_GRANTS, MAX_REVIEW_ITEMS, MAX_REVIEWS, MAX_REVOKED_TOKENS, MAX_SCOPES, ScopeState,
};
use crate::time::Time;
use rows::{Administrator, AllRow, GrantRow, ReviewRow, ScopeRow, TokenRow};

const ALL: u8 = 1;
const SCOPE: u8 = 2;
const GRANT: u8 = 3;
const TOKEN: u8 = 4;
const REVIEW: u8 = 5;

impl ScopeState {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut row = |kind: u8, fields: &[u8]| {
            bytes.push(kind);
            bytes.extend_from_slice(&u32::try_from(fields.len()).unwrap_or(u32::MAX).to_be_bytes());
            bytes.extend_from_slice(fields);
        };
        row(ALL, &self.all_row().encode());
        for (scope, definition) in &self.scopes {
            row(SCOPE, &ScopeRow::of(scope, definition).encode());
        }
        let places: BTreeMap<&Word, u16> = self.scopes.keys().zip(0..).collect();
        for (number, grant) in self.grants.in_order() {
            row(GRANT, &GrantRow::of(number, grant, &places).encode());
        }
        for (token, revoked) in self.tokens.in_order() {
            let expires = revoked.expires.map(|end| end.0);
            row(TOKEN, &TokenRow { token, index: revoked.index, expires }.encode());
        }
        for (number, review) in &self.reviews {
            row(REVIEW, &ReviewRow::of(*number, review).encode());
        }
        bytes
    }

    /// Whatever this takes, [`encode`](Self::encode) writes again: each field has one encoding, and rows have one order.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut rows = Rows(bytes);
        let all = AllRow::decode(rows.next(ALL)?.ok_or(NONE)?)?;
        let mut state = Self { appointments: all.appointments, ..Self::default() };
        state.administrators =
            rising(all.administrators.into_iter().map(|one| (one.0, one.1)), MAX_ADMINISTRATORS)?;
        (state.grants.forgotten, state.tokens.forgotten) = (all.grants_forgotten, all.tokens_forgotten);
        while let Some(row) = rows.next(SCOPE)? {
            let row = ScopeRow::decode(row)?;
            let last = state.scopes.last_key_value().map(|(scope, _)| scope);
            follows(last, &row.scope, state.scopes.len(), MAX_SCOPES)?;
            state.scopes.insert(row.scope.clone(), row.definition()?);
        }
        let places: Vec<Word> = state.scopes.keys().cloned().collect();
        let mut last = None;
        while let Some(row) = rows.next(GRANT)? {
            let row = GrantRow::decode(row)?;
            follows(last.replace(row.number).as_ref(), &row.number, state.grants.len(), MAX_GRANTS)?;
            state.grants.put(row.number, row.grant(&places)?);
        }
        let mut last = None;
        while let Some(row) = rows.next(TOKEN)? {
            let row = TokenRow::decode(row)?;
            follows(last.replace(row.token).as_ref(), &row.token, state.tokens.len(), MAX_REVOKED_TOKENS)?;
            state.tokens.put(row.token, Revoked { index: row.index, expires: row.expires.map(Time) });
        }
        while let Some(row) = rows.next(REVIEW)? {
            let row = ReviewRow::decode(row)?;
            let last = state.reviews.last_key_value().map(|(number, _)| number);
            follows(last, &row.number, state.reviews.len(), MAX_REVIEWS)?;
            state.reviews.insert(row.number, row.review()?);
        }
        let items = state.reviews.values().map(|review| review.items.len()).sum::<usize>();
        (rows.0.is_empty() && items <= MAX_REVIEW_ITEMS).then_some(state).ok_or(NONE)
    }

    fn all_row(&self) -> AllRow {
        AllRow {
            appointments: self.appointments,
            grants_forgotten: self.grants.forgotten,
            tokens_forgotten: self.tokens.forgotten,
            administrators: self.administrators().map(|(who, index)| Administrator(who, index)).collect(),
        }
    }
}

const NONE: Malformed = Malformed("scopes that no log has");

struct Rows<'a>(&'a [u8]);

impl<'a> Rows<'a> {
    /// The next row, if it is of this kind.
    fn next(&mut self, kind: u8) -> Result<Option<&'a [u8]>, Malformed> {
        let Some((_, rest)) = self.0.split_first().filter(|(found, _)| **found == kind) else {
            return Ok(None);
        };
        let (len, rest) = rest.split_first_chunk::<4>().ok_or(NONE)?;
        let len = usize::try_from(u32::from_be_bytes(*len)).map_err(|_| NONE)?;
        let (row, rest) = rest.split_at_checked(len).ok_or(NONE)?;
        self.0 = rest;
        Ok(Some(row))
    }
}

/// Whether one more fits behind those that are there.
fn follows<K: Ord>(last: Option<&K>, key: &K, count: usize, most: usize) -> Result<(), Malformed> {
    let is_next = last.is_none_or(|last| last < key);
    (is_next && count < most).then_some(()).ok_or(NONE)
}

/// Collects what stands in order.
fn rising<K: Ord, V>(some: impl Iterator<Item = (K, V)>, most: usize) -> Result<BTreeMap<K, V>, Malformed> {
    let mut all = BTreeMap::new();
    for (key, value) in some {
        follows(all.last_key_value().map(|(last, _)| last), &key, all.len(), most)?;
        all.insert(key, value);
    }
    Ok(all)
}
