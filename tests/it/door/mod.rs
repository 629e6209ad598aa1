//! The engine's own door: who gets in, how often, at which listener, and how it is closed.

mod listeners;
mod rates;
