//! Segment files that are written in no time, or cannot be.

pub(crate) mod segment {
    #[derive(Debug)]
    pub(crate) struct Segment;
}

pub(crate) mod map {
    use std::io;
    use std::path::PathBuf;

    pub(crate) struct NewFile;

    impl NewFile {
        pub(crate) fn create(_: PathBuf) -> io::Result<Self> {
            Ok(Self)
        }
    }
}

pub(crate) mod seal {
    use millpond_state::{ErrorKind, Result, StateError};

    use super::map::NewFile;
    use super::segment::Segment;
    use crate::{FAILURES, SEALED};

    /// Fails as often as the test wants.
    pub(crate) fn seal(_: &[u8], _: NewFile, name: String) -> Result<Segment> {
        // As long as a write may take.
        shuttle::thread::yield_now();
        SEALED.set(SEALED.get() + 1);
        let failures = FAILURES.get();
        FAILURES.set(failures.saturating_sub(1));
        if failures == 0 { Ok(Segment) } else { Err(gave_up(&name)) }
    }

    pub(crate) fn gave_up(name: &str) -> StateError {
        StateError::new(ErrorKind::Io, format!("{name} could not be written"))
    }
}
