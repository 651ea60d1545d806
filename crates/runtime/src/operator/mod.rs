//! Operators: user code between exchanges.

mod keyed;
mod window;

pub use keyed::{KeyedBatch, KeyedOperator, OperatorContext};
pub use window::{TumblingWindows, Window, WindowResult};
