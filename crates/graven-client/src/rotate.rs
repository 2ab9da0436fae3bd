//! Following a log to new keys: from those that were pinned, by what its recovery key authorised.
//!
//! A rotation is followed once it is seen to be public: its statement is an entry of the log, under a head that the new keys
//! signed and that is consistent with the last one kept. From then on it is kept beside that head, so that whoever holds ended
//! keys, or withholds the rotation, is refused.

use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError},
};

use graven_merkle::{LeafIndex, leaf_hash, verify_inclusion};
use graven_note::{
    KeyId, Rotation, RotationError, SignatureLine,
    rotation::{MAX_ROTATIONS, format_history, parse_history},
};
use graven_proto::{
    convert::{leaf_index, required},
    v1::{self, get_inclusion_proof_request::Target},
};
use tonic::Code;

use crate::{
    Appender, HeadError, LogClient, VerifiedHead,
    call::call_log,
    follow::{Follower, blocking},
};

/// Whose signatures a head claims in the log's own name, valid or not.
fn signers(head: &VerifiedHead) -> BTreeSet<KeyId> {
    let (note, origin) = (head.verified().note().note(), head.origin().as_str());
    let own = note.signatures().iter().filter(|line| line.name().as_str() == origin);
    own.map(SignatureLine::key_id).collect()
}

/// A rotation with the index of the entry that announces it.
type Announced = (LeafIndex, Rotation);

impl LogClient {
    /// Follows the log to new keys, if the [`Trust`](crate::Trust) pins its recovery key and there are any; `true` where there
    /// were. [`tree_head`](Self::tree_head) does so by itself whenever other keys sign than before.
    ///
    /// # Errors
    /// The server did not answer, or what it says of the log's keys does not hold: see [`HeadError`].
    pub async fn follow_rotations(&self) -> Result<bool, HeadError> {
        self.follower().load_rotations().await?;
        self.follower().follow_rotations().await
    }
}

impl Appender {
    /// The history of the log's keys as the server tells it (see [`graven_note::rotation`]): well formed, and not verified.
    ///
    /// # Errors
    /// The server did not answer, or not as it should.
    pub async fn key_history(&self) -> Result<String, HeadError> {
        let announced = self.fetch_rotations().await?;
        Ok(format_history(announced.iter().map(|(index, rotation)| (*index, rotation))))
    }

    /// The rotations that the server tells of.
    async fn fetch_rotations(&self) -> Result<Vec<Announced>, HeadError> {
        let mut announced: Vec<Announced> = Vec::new();
        while announced.len() < MAX_ROTATIONS {
            let skip = u32::try_from(announced.len()).unwrap_or(u32::MAX);
            let request = v1::ListKeyRotationsRequest { log: self.name().to_owned(), skip };
            let answer =
                call_log(self.pool(), self.pool().retries(), &request, |mut log, request| async move {
                    log.list_key_rotations(request).await
                })
                .await;
            let answer = match answer {
                // It is of an earlier version, where keys did not change.
                Err(error) if error.code() == Code::Unimplemented => return Ok(announced),
                answer => answer?,
            };
            for rotation in &answer.rotations {
                let index = leaf_index("rotations.index", rotation.index)?;
                announced.push((index, Rotation::parse(&rotation.statement)?));
            }
            if answer.rotations.is_empty() || announced.len() >= answer.total.try_into().unwrap_or(usize::MAX)
            {
                return Ok(announced);
            }
        }
        Err(RotationError::Malformed("its keys were rotated more than 1,024 times").into())
    }
}

impl Follower {
    /// Follows the rotations that are kept.
    pub(crate) async fn load_rotations(&self) -> Result<(), HeadError> {
        let load = || async {
            let trust = self.trust();
            if trust.recovery().is_none() {
                return Ok(());
            }
            let (store, origin) = (Arc::clone(&self.store), trust.origin().clone());
            let history = blocking(move || store.load_rotations(&origin)).await?;
            let kept = parse_history(&history)?.into_iter().map(|(_, rotation)| rotation);
            *self.trust.write().unwrap_or_else(PoisonError::into_inner) = trust.rotated_by(kept)?.0;
            Ok(())
        };
        self.rotations_loaded.get_or_try_init(load).await.map(drop)
    }

    /// Follows the log to new keys where other keys sign in its name than before, known or not: so that they are known while the
    /// old ones still sign.
    pub(crate) async fn follow_new_signers(&self, head: &VerifiedHead) -> Result<(), HeadError> {
        if self.trust().recovery().is_some()
            && self.kept().await?.is_none_or(|kept| signers(&kept) != signers(head))
        {
            self.follow_rotations().await?;
        }
        Ok(())
    }

    /// Asks for rotations, and follows those that are new. `false`: there are none, or no recovery key is pinned.
    pub(crate) async fn follow_rotations(&self) -> Result<bool, HeadError> {
        let trust = self.trust();
        if trust.recovery().is_none() {
            return Ok(false);
        }
        let announced = self.log.fetch_rotations().await?;
        let (next, new) = trust.rotated_by(announced.iter().map(|(_, rotation)| rotation.clone()))?;
        if new.is_empty() {
            return Ok(false);
        }
        let known = self.kept().await?;
        let request = v1::GetTreeHeadRequest { log: self.log.name().to_owned() };
        let answer =
            call_log(self.log.pool(), self.log.pool().retries(), &request, |mut log, request| async move {
                log.get_tree_head(request).await
            })
            .await?;
        let head = next.verify_signed(&required("head", answer.head)?.checkpoint)?;
        let is_new = |(_, rotation): &&Announced| new.iter().any(|new| new.rotation() == rotation);
        let new: Vec<&Announced> = announced.iter().filter(is_new).collect();
        for (index, rotation) in &new {
            let request = v1::GetInclusionProofRequest {
                log: self.log.name().to_owned(),
                tree_size: head.size().get(),
                target: Some(Target::Index(index.get())),
            };
            let answer = call_log(
                self.log.pool(),
                self.log.pool().retries(),
                &request,
                |mut log, request| async move { log.get_inclusion_proof(request).await },
            )
            .await?;
            let proof = required("proof", answer.proof)?.to_merkle()?;
            let leaf = leaf_hash(rotation.as_bytes());
            verify_inclusion(leaf, *index, head.size(), &proof, head.root())
                .map_err(HeadError::Unannounced)?;
        }
        // The very log that was followed so far, and no other that its recovery key's thief made.
        if let Some(kept) = &known {
            self.compare(kept, &head).await?;
        }
        // What was proven is added to what is kept, before the first head is that needs it.
        let (store, origin) = (Arc::clone(&self.store), trust.origin().clone());
        let added = format_history(new.iter().map(|(index, rotation)| (*index, rotation)));
        blocking(move || {
            let kept = store.load_rotations(&origin)?;
            store.keep_rotations(&origin, &[&kept, added.as_bytes()].concat())
        })
        .await?;
        *self.trust.write().unwrap_or_else(PoisonError::into_inner) = next;
        self.accept(head, known.as_ref()).await?;
        Ok(true)
    }
}
