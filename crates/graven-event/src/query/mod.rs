//! Finding events: the language of questions, and the terms by which events are found.
//!
//! ```text
//! actor:alice outcome:denied,failure -action:data.read since:24h "quarterly report"
//!
//! query  = clause *( space clause )          all of them must hold
//! clause = [ "-" ] field ":" value *( "," value )   one of the values; with "-": none of them
//!        / [ "-" ] value                     every word of it is among the event's words
//! value  = bare / quoted, "*" after it: whatever begins so, on clear fields only
//! quoted = DQUOTE *( any / "\" DQUOTE / "\\" ) DQUOTE   for spaces, commas and quotes, and colons in a bare value
//! ```
//!
//! | field | what it finds | kept |
//! |---|---|---|
//! | `actor` | who did it or for whom: id, `kind:id` or name | blinded |
//! | `client` | the application: the same | blinded |
//! | `target` | to what it was done: the same | blinded |
//! | `token`, `request`, `session`, `ip` | `jti`, request, session, address | blinded |
//! | `action`, `outcome`, `product`, `kind`, `class`, `producer` | as in the leaf; producer in hexadecimal | clear |
//! | `scope` | asked for, given or used | clear |
//! | `label` | `KEY=VALUE` | clear |
//! | `since`, `until` | log time from, and before: RFC 3339, or a span back from now as `30m`, `24h`, `7d`, `2w` | clear |
//! | `happened-since`, `happened-until` | the same of the time that the producer gave | clear |
//! | (none) | words of action, product, service, scopes, labels, kinds of targets and policy | clear |
//!
//! Case counts in `token`, `request`, `session`, `scope` and `label` only. What a leaf does not say, or no longer says once somebody was
//! erased, does not hold, so its negation does.
//!
//! [`Query::matches`] answers by looking at one event; [`Query::plan`] says the same in [terms](Term) for an index to look
//! up. An index is never trusted: what it finds is held against `matches` again.

mod ast;
mod blinded;
mod parse;
mod plan;
mod term;
#[cfg(test)]
mod tests;

pub use ast::{Clause, Pattern, Query, What, When};
pub use parse::{MAX_QUERY_BYTES, MAX_VALUES_OF_QUERY, ParseError};
pub use plan::{AllOf, AnyOf, Lookup, Plan};
pub use term::{Blinder, Field, MAX_VALUE_BYTES, Term, terms};
