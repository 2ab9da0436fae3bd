//! The watcher's bytes in a snapshot. All numbers are big-endian.
//!
//! ```text
//! 0  1  version: 1
//! 1  2  number of rules, then each by rising name
//!         0  8  index of its leaf
//!         8  8  largest state size of its alerts
//!        16  2  length, then the facts of its leaf
//! …  …  six tables, each of a number of rows in 4 bytes and rows by rising key. Each row begins with the index of the leaf that touched it
//!       in 8 bytes, and goes on:
//!         uses         32 SHA-256 of client and scope
//!         denials      16 who · 1 number of leaves, then each 8 index · 8 log time
//!         escalations  as denials
//!         revoked      16 token · 8 log time
//!         quiet         1 number of a built-in rule · 16 about whom · 8 until when
//!         places       16 who · 4 number of leaves · 1 number of places, then each 16 place · 8 index
//! ```

use super::builtin::{BASELINE, Builtin, DENIALS, ESCALATIONS, MAX_PLACES};
use super::memory::{Hits, Places};
use super::recent::Recent;
use super::{Applied, MAX_RULES, Watcher, is_whole};
use crate::codec::Malformed;
use crate::facts::{Ref, RuleFacts};
use crate::time::Time;

const VERSION: u8 = 1;
const CUT: Malformed = Malformed("alerts that are cut short");
const NEVER: Malformed = Malformed("alerts that no log has");

impl Watcher {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        put(&mut bytes, &narrow::<u16>(self.rules.len()).to_be_bytes());
        for applied in self.rules.values() {
            let facts = applied.facts.encode();
            put(&mut bytes, &applied.index.to_be_bytes());
            put(&mut bytes, &applied.fired.to_be_bytes());
            put(&mut bytes, &narrow::<u16>(facts.len()).to_be_bytes());
            put(&mut bytes, &facts);
        }
        let memory = &self.memory;
        put_table(&mut bytes, &memory.used, |bytes, key, ()| put(bytes, key));
        put_table(&mut bytes, &memory.denials, put_hits);
        put_table(&mut bytes, &memory.escalations, put_hits);
        put_table(&mut bytes, &memory.revoked, |bytes, token, since| {
            put(bytes, &token.0);
            put(bytes, &since.0.to_be_bytes());
        });
        put_table(&mut bytes, &memory.quiet, |bytes, (rule, about), until| {
            bytes.push(narrow(rule.number()));
            put(bytes, &about.0);
            put(bytes, &until.0.to_be_bytes());
        });
        put_table(&mut bytes, &memory.places, |bytes, who, places| {
            put(bytes, &who.0);
            put(bytes, &places.leaves.to_be_bytes());
            bytes.push(narrow(places.known.len()));
            for (place, newest) in &places.known {
                put(bytes, &place.0);
                put(bytes, &newest.to_be_bytes());
            }
        });
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut rest = bytes.strip_prefix(&[VERSION]).ok_or(Malformed("alerts of another version"))?;
        let rest = &mut rest;
        let mut watcher = Self::default();
        let rules = usize::from(u16::from_be_bytes(take(rest)?));
        for _ in 0..rules {
            let (index, fired) = (number(rest)?, number(rest)?);
            let len = usize::from(u16::from_be_bytes(take(rest)?));
            let (facts, after) = rest.split_at_checked(len).ok_or(CUT)?;
            *rest = after;
            let facts = RuleFacts::decode(facts)?;
            if !is_whole(&facts) {
                return Err(NEVER);
            }
            watcher.insert(Applied { index, facts, fired });
        }
        let memory = &mut watcher.memory;
        table(rest, &mut memory.used, |rest| Ok((take(rest)?, ())))?;
        table(rest, &mut memory.denials, |rest| hits(rest, DENIALS))?;
        table(rest, &mut memory.escalations, |rest| hits(rest, ESCALATIONS))?;
        table(rest, &mut memory.revoked, |rest| Ok((Ref(take(rest)?), Time(number(rest)?))))?;
        table(rest, &mut memory.quiet, |rest| {
            let [rule] = take(rest)?;
            let rule = *Builtin::ALL.get(usize::from(rule)).ok_or(NEVER)?;
            Ok(((rule, Ref(take(rest)?)), Time(number(rest)?)))
        })?;
        table(rest, &mut memory.places, places)?;
        // What was out of order or there twice comes out otherwise.
        let is_one = rest.is_empty() && rules <= MAX_RULES && watcher.encode() == bytes;
        is_one.then_some(watcher).ok_or(NEVER)
    }
}

fn put(bytes: &mut Vec<u8>, part: &[u8]) {
    bytes.extend_from_slice(part);
}

fn put_hits(bytes: &mut Vec<u8>, who: &Ref, hits: &Hits) {
    put(bytes, &who.0);
    bytes.push(narrow(hits.len()));
    for (index, time) in hits {
        put(bytes, &index.to_be_bytes());
        put(bytes, &time.0.to_be_bytes());
    }
}

fn put_table<K: Ord + Copy, V, const MOST: usize>(
    bytes: &mut Vec<u8>,
    table: &Recent<K, V, MOST>,
    row: impl Fn(&mut Vec<u8>, &K, &V),
) {
    put(bytes, &narrow::<u32>(table.rows().len()).to_be_bytes());
    for (key, touched, value) in table.rows() {
        put(bytes, &touched.to_be_bytes());
        row(bytes, key, value);
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Malformed> {
    let (taken, tail) = rest.split_first_chunk::<N>().ok_or(CUT)?;
    *rest = tail;
    Ok(*taken)
}

fn number(rest: &mut &[u8]) -> Result<u64, Malformed> {
    take(rest).map(u64::from_be_bytes)
}

fn hits(rest: &mut &[u8], fires_at: usize) -> Result<(Ref, Hits), Malformed> {
    let who = Ref(take(rest)?);
    let [count] = take(rest)?;
    if usize::from(count) >= fires_at {
        return Err(NEVER);
    }
    let hits = (0..count).map(|_| Ok((number(rest)?, Time(number(rest)?)))).collect::<Result<_, _>>()?;
    Ok((who, hits))
}

fn places(rest: &mut &[u8]) -> Result<(Ref, Places), Malformed> {
    let (who, leaves) = (Ref(take(rest)?), u32::from_be_bytes(take(rest)?));
    let [count] = take(rest)?;
    if usize::from(count) > MAX_PLACES || leaves > BASELINE {
        return Err(NEVER);
    }
    let known = (0..count).map(|_| Ok((Ref(take(rest)?), number(rest)?))).collect::<Result<_, _>>()?;
    Ok((who, Places { leaves, known }))
}

fn table<K: Ord + Copy, V, const MOST: usize>(
    rest: &mut &[u8],
    table: &mut Recent<K, V, MOST>,
    row: impl Fn(&mut &[u8]) -> Result<(K, V), Malformed>,
) -> Result<(), Malformed> {
    let rows = u32::from_be_bytes(take(rest)?);
    if rows as usize > Recent::<K, V, MOST>::MOST {
        return Err(NEVER);
    }
    for _ in 0..rows {
        let touched = number(rest)?;
        let (key, value) = row(rest)?;
        table.put_back(key, touched, value);
    }
    Ok(())
}

/// A length that its table's limit keeps small.
fn narrow<T: TryFrom<usize>>(length: usize) -> T {
    T::try_from(length).unwrap_or_else(|_| unreachable!("tables are bounded"))
}
