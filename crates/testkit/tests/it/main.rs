//! The suite on the model, and proofs that it catches broken backends.

mod broken;
mod model;
mod mutants;
