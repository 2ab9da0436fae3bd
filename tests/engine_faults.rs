//! The engine under one fault at a time: what it must refuse, what it must survive, and what it says.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

#[path = "support/ledger.rs"]
mod ledger;
#[path = "support/sim_outside.rs"]
mod outside;
#[path = "support/sim_rig.rs"]
mod sim_rig;

#[path = "engine_faults/damage.rs"]
mod damage;
#[path = "engine_faults/directory.rs"]
mod directory;
#[path = "engine_faults/hooked.rs"]
mod hooked;
#[path = "engine_faults/limits.rs"]
mod limits;
#[path = "engine_faults/restoring.rs"]
mod restoring;
#[path = "engine_faults/rollback.rs"]
mod rollback;
#[path = "engine_faults/rotating.rs"]
mod rotating;
#[path = "engine_faults/states.rs"]
mod states;
#[path = "engine_faults/storage.rs"]
mod storage;
#[path = "engine_faults/time.rs"]
mod time;
#[path = "engine_faults/witnesses.rs"]
mod witnesses;
