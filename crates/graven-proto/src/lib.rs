//! The wire interface `graven.v1`: messages, services, limits and reasons for refusal.
//!
//! The definitions in `proto/graven/v1` are the reference; this crate is what Rust makes of them:
//!
//! - [`v1`]: the generated messages; with the features `client` and `server` also the generated
//!   client and the service traits.
//! - [`Refusal`]: how a service says no, in a form that a program can act on. The server builds it,
//!   the client reads it back.
//! - [`limits`]: the bounds that both sides keep.
//! - [`convert`]: from messages to the types of `graven-merkle` and `graven-event`, and back.
//! - [`FILE_DESCRIPTOR_SET`]: the same definitions for gRPC reflection.
//!
//! Nothing here opens a socket, and nothing here verifies: what a message says is a claim until
//! `graven-merkle` and `graven-note` have checked it.

pub mod convert;
pub mod limits;
mod reason;
mod refusal;

pub use refusal::{ERROR_DOMAIN, Refusal};

/// The generated code, documented by the comments of the `.proto` files.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, clippy::unwrap_used)]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/graven.v1.rs"));
}

/// The compiled definitions with everything they import: a serialized `google.protobuf.FileDescriptorSet`.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/graven.v1.bin"));

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    const LOG_SERVICE: &str = include_str!("../../../proto/graven/v1/log_service.proto");
    const WITNESS_SERVICE: &str = include_str!("../../../proto/graven/v1/witness_service.proto");

    fn methods() -> Vec<String> {
        let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
        let services = set.file.into_iter().flat_map(|file| file.service);
        services.flat_map(|service| service.method).map(|method| method.name().to_owned()).collect()
    }

    #[test]
    fn the_descriptors_hold_the_services_and_what_they_import() {
        let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
        assert!(set.file.iter().any(|file| file.name() == "google/protobuf/timestamp.proto"));
        assert_eq!(methods().len(), 58);
    }

    #[test]
    fn no_method_changes_or_removes_what_was_written() {
        for method in methods() {
            let verbs = ["Delete", "Update", "Remove", "Replace", "Set", "Truncate", "Rollback"];
            assert!(
                !verbs.iter().any(|verb| method.starts_with(verb)),
                "a log only grows, but there is {method}"
            );
        }
    }

    #[test]
    fn the_definitions_state_the_limits_that_the_code_keeps() {
        let text = [LOG_SERVICE, WITNESS_SERVICE].concat();
        let text = text.replace("// ", "").replace('\n', " ").replace(',', "");
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for stated in [
            format!("The entry: 1 to {} bytes", limits::MAX_ENTRY_BYTES),
            format!("1 to {} entries of 1 to {} bytes", limits::MAX_BATCH_ENTRIES, limits::MAX_ENTRY_BYTES),
            format!("together at most {} MiB", limits::MAX_BATCH_BYTES >> 20),
            format!("1 to {} visible ASCII bytes", limits::MAX_IDEMPOTENCY_KEY_BYTES),
            format!("1 to {} indices", limits::MAX_PROOF_INDICES),
            format!("How many entries: 1 to {}", limits::MAX_RANGE_ENTRIES),
            format!(
                "at most {} entries or {} MiB",
                limits::STREAM_WINDOW_ENTRIES,
                limits::STREAM_WINDOW_BYTES >> 20
            ),
            format!("1 to {} signature lines", limits::MAX_COSIGNATURES),
            format!("together at most {} KiB", limits::MAX_COSIGNATURES_BYTES >> 10),
        ] {
            assert!(text.contains(&stated), "the definitions do not say: {stated}");
        }
    }
}
