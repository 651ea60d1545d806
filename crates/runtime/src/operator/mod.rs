//! Operators: user code between exchanges.

mod broadcast;
mod context;
mod keyed;
mod timers;
mod window;

pub use broadcast::BroadcastOperator;
pub use context::{OpenContext, OperatorContext};
pub use keyed::{KeyedBatch, KeyedOperator};
pub use timers::{OperatorTimers, Timer};
pub use window::{
    Window, WindowAggregate, WindowList, WindowOperator, WindowReduce, WindowResult, WindowState,
    WindowTime, Windows,
};

pub(crate) use timers::TimerStore;
