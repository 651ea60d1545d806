//! The public conformance suite.

use millpond_memory::{MemoryBackendFactory, MemoryOptions};

millpond_testkit::backend_conformance!(MemoryBackendFactory::new(MemoryOptions::new()));
