//! The memory backend against its contract, a model, and its bounds.

#![allow(clippy::disallowed_methods, reason = "tests start threads")]

mod conformance;
mod model;
mod support;
