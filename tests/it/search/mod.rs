//! AuthZEN searches: what they find is what single questions would have allowed.

mod brute_force;
mod http;
