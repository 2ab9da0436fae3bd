//! Rules over the events of a log: an expression in [CEL](https://cel.dev) that says which leaves count, and how many of them within
//! which time are worth an alert.
//!
//! ```
//! use graven_event::{Event, Time};
//! use graven_rules::{Evaluator, Fields, Rule};
//!
//! let rule = Rule::parse(r#"
//!     description = "somebody guesses a password"
//!     when = '''event.action == "auth.login" && event.outcome == "denied"'''
//!     by = "event.actor.id"
//!     count = 3
//!     within = "10m"
//! "#)?;
//! let mut evaluator = Evaluator::new(rule);
//! let event: Event = serde_json::from_str(r#"{"action": "auth.login", "actor": "alice", "outcome": "denied"}"#)?;
//! let fields = Fields::of_event(&event);
//! assert_eq!(evaluator.step(7, Time::from_seconds(60), &fields), None);
//! assert_eq!(evaluator.step(8, Time::from_seconds(61), &fields), None);
//! let fired = evaluator.step(9, Time::from_seconds(62), &fields).unwrap();
//! assert_eq!((fired.leaves, fired.group.as_deref()), (vec![7, 8, 9], Some("alice")));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # A rule's text
//! TOML of at most [`MAX_SOURCE_BYTES`], with these keys and no others:
//!
//! | key | what | if absent |
//! |---|---|---|
//! | `when` | expression: whether a leaf counts | it must be there |
//! | `by` | expression: what leaves are counted by, a text, number or truth value | all together |
//! | `count` | how many of them, 1 to [`MAX_COUNT`] | 1 |
//! | `within` | within which time, up to [`MAX_WINDOW`]: `30s`, `10m`, `2h`, `1d` | there must be one where `count` is above 1 |
//! | `quiet` | for how long nothing more is said of the same | as `within`, or not at all |
//! | `description` | what it is for | nothing |
//!
//! # What an expression sees
//! One variable, `event`: see [`Fields`]. It may use CEL's operators, the macros `has`, `all`, `exists`, `exists_one`, `map` and
//! `filter`, and the functions `size`, `contains`, `startsWith`, `endsWith`, `matches` (with a literal pattern), `int`, `uint`, `double`,
//! `string`, `bool`, `dyn` and `type`. Whatever fails is false: a member that is not there, a number where a text is needed. So a leaf that
//! cannot be read, as somebody in it is erased, fires what needs nothing of that, and nothing else.
//!
//! # What is bounded
//! A rule is refused unless its longest possible run has few enough [steps](MAX_STEPS), counted with the [longest list](MAX_ITEMS)
//! wherever it goes through one. Its depth, its patterns and what they take are bounded. Of a leaf, the first [`MAX_ITEMS`] of each
//! list and the first [`MAX_NODES`] values in all are seen, and `event.truncated` says whether there were more. Memory is bounded in groups
//! and in leaves; what was touched longest ago is forgotten first.
//!
//! What is not: a step takes as long as the texts in it, which are at most as long as a record, and comparing two lists or maps
//! is one step. The order of a map's keys in `map` and `filter` is none.

mod bounds;
mod evaluator;
mod fields;
mod program;
mod rule;
#[cfg(test)]
mod tests;

pub use bounds::{MAX_DEPTH, MAX_STEPS};
pub use evaluator::{Evaluator, Fired, MAX_GROUPS, MAX_HITS};
pub use fields::{Fields, MAX_ITEMS, MAX_NESTING, MAX_NODES};
pub use program::{MAX_PATTERN_BYTES, MAX_PATTERNS};
pub use rule::{MAX_COUNT, MAX_SOURCE_BYTES, MAX_WINDOW, Rule, RuleError};
