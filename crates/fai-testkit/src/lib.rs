//! Tiny real models for tests. Development only: nothing here ships with `fai`.
