//! A copy of a golden directory to work on.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

use crate::{
    bench::{Bench, Server},
    facts::FOLDER,
};

/// The golden directories, in their folder.
pub(crate) const ARCHIVE: &str = "directories.tar.gz";

/// What is in force when they are served: no head is signed anew, so that what is served is what was kept.
const SETTINGS: &str = "\
data_dir = \"data\"
[engine]
segment_mib = 1
reserve_mib = 0
heartbeat_s = 4000000000
";

/// One golden directory in `data` of a folder of its own, next to everything else that is golden.
pub(crate) struct Golden {
    pub(crate) bench: Bench,
    expected: Value,
}

impl Golden {
    pub(crate) fn open(name: &str) -> Self {
        let bench = Bench::new();
        let archive = Path::new(FOLDER).join(ARCHIVE);
        let mut unpack = Command::new("tar");
        unpack.args(["--extract", "--gzip", "--no-same-owner", "--file"]).arg(&archive);
        let unpacked = unpack.arg("--directory").arg(bench.path(".")).arg(format!("./{name}")).status();
        assert!(unpacked.unwrap().success(), "{} does not unpack", archive.display());
        fs::rename(bench.path(name), bench.path("data")).unwrap();
        for name in ["audit.policy", "bundles", "heads"] {
            let copied =
                Command::new("cp").arg("-r").arg(Path::new(FOLDER).join(name)).arg(bench.path(name)).status();
            assert!(copied.unwrap().success());
        }
        bench.write("graven.toml", SETTINGS);
        let expected = fs::read(Path::new(FOLDER).join("expected.json")).unwrap();
        let expected = serde_json::from_slice::<Value>(&expected).unwrap()[name].take();
        Self { bench, expected }
    }

    pub(crate) fn serve(&self) -> Server {
        self.bench.serve_with("serve --config graven.toml --dev --listen 127.0.0.1:0")
    }

    /// The logs, with what was written down about each.
    pub(crate) fn logs(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.expected.as_object().unwrap().iter()
    }

    /// What was written down about a log.
    pub(crate) fn log(&self, name: &str) -> &Value {
        &self.expected[name]
    }
}
