//! Gateways that ask over HTTP, as their clients see it: G1, X11, B23, F17, F22.

mod stories;
mod world;
