//! Gateways that ask over HTTP, as their clients see it: G1, G2, X11, X22, B23, F17, F22.

mod another_subject;
mod derived;
mod faults;
mod properties;
mod sequences;
mod stories;
mod troubles;
mod world;
