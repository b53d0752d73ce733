//! Randomness of the operating system.
//!
//! With the feature `getrandom`, the crates `getrandom` 0.3 and 0.4, and what stands on them (`rand`, `uuid`), draw from here. They need
//! `--cfg getrandom_backend="custom"` in the flags of the target, which the templates' `.cargo/config.toml` has.

use crate::{Error, host};

/// Random bytes, at most 64 KiB a call.
///
/// # Errors
/// More than 64 KiB, or a limit of the call was reached.
pub fn bytes(length: usize) -> Result<Vec<u8>, Error> {
    host::random(u32::try_from(length).unwrap_or(u32::MAX))
}

/// A whole number below `bound`, each as likely as any other.
///
/// # Errors
/// `bound` is 0, or as [`bytes`].
pub fn below(bound: u32) -> Result<u32, Error> {
    if bound == 0 {
        return Err(Error::Invalid("random::below(0): there is no number below 0".to_owned()));
    }
    // Numbers above the last whole multiple of the bound would favour the small results.
    let rest = (u64::from(u32::MAX) + 1) % u64::from(bound);
    loop {
        let n = host::random(4)?.into_iter().fold(0u32, |n, b| n << 8 | u32::from(b));
        if u64::from(n) + rest <= u64::from(u32::MAX) {
            return Ok(n % bound);
        }
    }
}

/// A random identifier: 96 bits in hexadecimal.
///
/// # Errors
/// As [`bytes`].
pub fn id() -> Result<String, Error> {
    Ok(host::random(12)?.iter().map(|b| format!("{b:02x}")).collect())
}

/// The backend of the `getrandom` crates.
#[cfg(all(feature = "getrandom", target_family = "wasm"))]
mod backend {
    use crate::host;

    /// # Safety
    /// `dest` is valid for writes of `len` bytes.
    #[unsafe(no_mangle)]
    #[allow(unsafe_code, reason = "the signature that getrandom's custom backend asks for")]
    unsafe extern "Rust" fn __getrandom_v03_custom(dest: *mut u8, len: usize) -> Result<(), getrandom::Error> {
        let mut done = 0;
        while done < len {
            let piece = (len - done).min(64 << 10);
            // `piece` is at most 64 KiB.
            let bytes = host::random(piece as u32).map_err(|_| getrandom::Error::UNEXPECTED)?;
            let piece = piece.min(bytes.len());
            if piece == 0 {
                return Err(getrandom::Error::UNEXPECTED);
            }
            // SAFETY: the caller promises `len` writable bytes at `dest`, and `done + piece <= len`; the source has `piece` bytes and is ours.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), dest.add(done), piece) };
            done += piece;
        }
        Ok(())
    }
}
