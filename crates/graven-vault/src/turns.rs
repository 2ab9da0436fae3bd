//! One writer, and all who wait for it.
//!
//! What arrives while a write runs is written together by the next one: one sync for all of it. Whoever finds the writer free
//! does that for the others, so there is no thread that must be kept alive. A turn that ends in any other way than by
//! [`Turn::end`] (an error, a panic) poisons: nobody writes after it.

use parking_lot::{Condvar, Mutex};

use crate::error::WriteError;

/// See the module. `W` is the writer, `T` what waits to be written.
pub(crate) struct Turns<W, T> {
    state: Mutex<State<W, T>>,
    bell: Condvar,
    max_waiting: usize,
}

struct State<W, T> {
    waiting: Vec<T>,
    /// The round in which `waiting` will be written.
    round: u64,
    /// Rounds that were written.
    done: u64,
    /// The writer, unless somebody has the turn.
    writer: Option<W>,
    is_poisoned: bool,
}

/// The writer, for as long as one has it.
pub(crate) struct Turn<'a, W, T> {
    turns: &'a Turns<W, T>,
    writer: Option<W>,
}

impl<W, T> Turns<W, T> {
    pub(crate) fn new(writer: W, max_waiting: usize) -> Self {
        let state =
            State { waiting: Vec::new(), round: 0, done: 0, writer: Some(writer), is_poisoned: false };
        Self { state: Mutex::new(state), bell: Condvar::new(), max_waiting }
    }

    /// Has `wanted` written, by `write` or by somebody else's, and returns when it is.
    pub(crate) fn submit(
        &self,
        wanted: impl ExactSizeIterator<Item = T>,
        write: impl FnOnce(&mut W, Vec<T>) -> Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        let mut state = self.state.lock();
        if state.waiting.len() + wanted.len() > self.max_waiting {
            return Err(WriteError::Overloaded);
        }
        state.waiting.extend(wanted);
        let round = state.round;
        loop {
            if state.done > round {
                return Ok(());
            }
            if state.is_poisoned {
                return Err(WriteError::Poisoned);
            }
            if let Some(writer) = state.writer.take() {
                let batch = std::mem::take(&mut state.waiting);
                state.round += 1;
                let done = state.round;
                drop(state);
                let mut turn = Turn { turns: self, writer: Some(writer) };
                write(turn.writer(), batch)?;
                turn.end(Some(done));
                return Ok(());
            }
            self.bell.wait(&mut state);
        }
    }

    /// Waits for the writer, and has it alone.
    pub(crate) fn turn(&self) -> Result<Turn<'_, W, T>, WriteError> {
        let mut state = self.state.lock();
        loop {
            if state.is_poisoned {
                return Err(WriteError::Poisoned);
            }
            if let Some(writer) = state.writer.take() {
                return Ok(Turn { turns: self, writer: Some(writer) });
            }
            self.bell.wait(&mut state);
        }
    }
}

impl<W, T> Turn<'_, W, T> {
    pub(crate) fn writer(&mut self) -> &mut W {
        self.writer.as_mut().expect("a turn has the writer until it ends")
    }

    /// Gives the writer back, with everything that was begun done.
    pub(crate) fn finish(self) {
        self.end(None);
    }

    fn end(mut self, done: Option<u64>) {
        let mut state = self.turns.state.lock();
        state.writer = self.writer.take();
        state.done = done.unwrap_or(state.done);
        drop(state);
        self.turns.bell.notify_all();
    }
}

impl<W, T> Drop for Turn<'_, W, T> {
    fn drop(&mut self) {
        if self.writer.is_some() {
            let mut state = self.turns.state.lock();
            state.is_poisoned = true;
            state.waiting.clear();
            drop(state);
            self.turns.bell.notify_all();
        }
    }
}
