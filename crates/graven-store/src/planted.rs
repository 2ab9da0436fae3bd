//! Bugs on purpose, so that the tests can be shown to find them.
//!
//! A build with `RUSTFLAGS="--cfg planted"` asks at a few places whether the bug of that name is wanted, by the
//! variable `GRAVEN_PLANTED`. Ordinary builds answer no at compile time; a release build with the flag is refused.

#[cfg(all(planted, not(debug_assertions)))]
compile_error!("planted bugs are for debug builds: drop `--cfg planted`");

/// Whether the bug `name` is wanted in this run.
#[cfg(planted)]
pub fn planted(name: &str) -> bool {
    static WANTED: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    WANTED.get_or_init(|| std::env::var("GRAVEN_PLANTED").unwrap_or_default()) == name
}

/// No bug is wanted in an ordinary build.
#[cfg(not(planted))]
#[inline(always)]
pub fn planted(_name: &str) -> bool {
    false
}
