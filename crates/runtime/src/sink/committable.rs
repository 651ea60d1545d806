//! What it takes to commit a part file, as it stands in snapshots.

use millpond_state::Scratch;
use millpond_state::codec::{Codec, DefaultCodec};

use crate::error::Result;

/// A pre-committed part file: shape `tuple<string,string,u64>` in snapshots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committable {
    /// Its present name, which consumers do not look at. Relative to the output folder.
    pub pending_name: String,
    /// The name it gets when it is committed.
    pub final_name: String,
    /// Its length in bytes.
    pub len: u64,
}

type Stored = (String, String, u64);

impl Committable {
    /// Encodes it for a snapshot.
    ///
    /// # Errors
    /// None in practice: strings and integers always encode.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let mut out = Scratch::new();
        let stored: Stored = (self.pending_name.clone(), self.final_name.clone(), self.len);
        DefaultCodec::<Stored>::default().encode_into(&stored, &mut out)?;
        Ok(out.as_slice().to_vec())
    }

    /// Decodes what [`Self::encode`] made.
    ///
    /// # Errors
    /// [`JobErrorKind::State`](crate::JobErrorKind::State) for other bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let (pending_name, final_name, len) =
            DefaultCodec::<Stored>::default().decode_all(bytes)?;
        Ok(Self { pending_name, final_name, len })
    }
}
