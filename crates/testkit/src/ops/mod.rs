//! Random operation sequences over any backend, compared with the model.
