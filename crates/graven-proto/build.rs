//! Compiles `proto/graven/v1` to Rust, in pure Rust: neither `protoc` nor a C++ compiler is needed.

use std::{env, error::Error, fs, path::Path};

use prost::Message as _;

/// Where the `.proto` files lie, seen from this crate.
const PROTO_ROOT: &str = "../../proto";

/// The files of the package, in the order of their dependence.
const FILES: [&str; 9] = [
    "graven/v1/types.proto",
    "graven/v1/errors.proto",
    "graven/v1/log_service.proto",
    "graven/v1/admin_service.proto",
    "graven/v1/witness_service.proto",
    "graven/v1/event.proto",
    "graven/v1/audit_service.proto",
    "graven/v1/scope_service.proto",
    "graven/v1/alert_service.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={PROTO_ROOT}");

    // The set includes google/protobuf/timestamp.proto, so that reflection can answer for all of it.
    let descriptors = protox::compile(FILES, [PROTO_ROOT])?;
    let out_dir = env::var("OUT_DIR")?;
    fs::write(Path::new(&out_dir).join("graven.v1.bin"), descriptors.encode_to_vec())?;

    tonic_prost_build::configure()
        .build_client(cfg!(feature = "client"))
        .build_server(cfg!(feature = "server"))
        // Entries and hashes are slices of the buffer they arrived in, not copies.
        .bytes(".graven.v1")
        // What is refused is hashed as it came: the same message has the same bytes.
        .btree_map(".graven.v1.Event")
        .compile_fds(descriptors)?;
    Ok(())
}
