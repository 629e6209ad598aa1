//! Which RSA keys are good enough.

use super::KeyRefusal;

/// Bits of a modulus, at least and at most. Larger ones are an attack on whoever verifies.
const BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Bytes of an exponent. What is larger buys nothing and costs the verifier.
const EXPONENT_BYTES_MAX: usize = 4;

/// The primes of the fingerprint below.
const ROCA_PRIMES: [u32; 17] = [
    11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157,
];

/// Checks modulus and exponent, big-endian.
///
/// # Errors
/// What is wrong with them.
pub(super) fn check(n: &[u8], e: &[u8]) -> Result<(), KeyRefusal> {
    let first = *n.first().ok_or(KeyRefusal::Missing("n"))?;
    if first == 0 || e.first().is_none_or(|first| *first == 0) {
        return Err(KeyRefusal::Malformed("n or e (leading zeros)"));
    }
    let bits = n.len() * 8 - first.leading_zeros() as usize;
    if !BITS.contains(&bits) {
        return Err(KeyRefusal::RsaBits(bits));
    }
    let is_odd = |number: &[u8]| number.last().is_some_and(|last| last % 2 == 1);
    if !is_odd(n) {
        return Err(KeyRefusal::Malformed("n (even)"));
    }
    if e.len() > EXPONENT_BYTES_MAX || !is_odd(e) || e == [1] {
        return Err(KeyRefusal::RsaExponent);
    }
    if is_roca(n) {
        return Err(KeyRefusal::Roca);
    }
    Ok(())
}

/// Whether the modulus was made by the library whose keys can be factored (CVE-2017-15361, Nemec
/// et al. 2017): its primes are powers of 65537 modulo many small primes, so their product is,
/// too. Of sound keys about one in 2^27 looks the same, and is refused with them.
fn is_roca(n: &[u8]) -> bool {
    ROCA_PRIMES.iter().all(|prime| {
        let rest = n
            .iter()
            .fold(0, |rest, byte| (rest * 256 + u32::from(*byte)) % prime);
        let mut power = 1;
        loop {
            if power == rest {
                return true;
            }
            power = power * 65537 % prime;
            if power == 1 {
                return false;
            }
        }
    })
}
