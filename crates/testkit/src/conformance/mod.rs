//! The contracts as runnable behaviours: public functions over whatever shall be checked, each one
//! behaviour, named as a sentence, plus one macro for each contract that makes tests of all.

pub mod backend;
pub mod storage;
