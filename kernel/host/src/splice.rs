//! Where blobs belong in a request's body.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};

/// Blobs of one request.
const MOST: usize = 16;

/// A blob in a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// Before this byte.
    pub(crate) at: usize,
    /// Its id.
    pub(crate) id: String,
    base64: bool,
}

impl Place {
    /// How many bytes it takes, of a blob of `size`.
    pub(crate) fn size(&self, size: u64) -> u64 {
        if self.base64 { size.div_ceil(3).saturating_mul(4) } else { size }
    }

    /// Puts it there.
    pub(crate) fn put(&self, data: Vec<u8>, body: &mut Vec<u8>) {
        if self.base64 {
            body.extend(BASE64.encode(data).into_bytes());
        } else {
            body.extend(data);
        }
    }
}

/// What a request's `extra` says of blobs, for a body of so many bytes.
pub(crate) fn places(extra: &[(String, String)], body: usize) -> Result<Vec<Place>, String> {
    let mut places: Vec<Place> = Vec::new();
    for (name, value) in extra {
        let base64 = match name.as_str() {
            "blob" => false,
            "blob-base64" => true,
            _ => continue,
        };
        let place = value.split_once(' ').and_then(|(at, id)| {
            let at = at.parse().ok().filter(|at| *at <= body && places.last().is_none_or(|p| p.at <= *at))?;
            Some(Place { at, id: id.to_owned(), base64 })
        });
        let shown = || value.chars().filter(|c| !c.is_control()).take(100).collect::<String>();
        places.push(place.ok_or_else(|| {
            format!("`{name}: {}`: it is `OFFSET ID`, within the body and not before the one before it", shown())
        })?);
        if places.len() > MOST {
            return Err(format!("a request holds at most {MOST} blobs"));
        }
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(extra: &[(&str, &str)], body: usize) -> Result<Vec<Place>, String> {
        places(&extra.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect::<Vec<_>>(), body)
    }

    #[test]
    fn blobs_stand_in_order_within_the_body() {
        let found = of(&[("blob", "0 a"), ("later", "x"), ("blob-base64", "0 b"), ("blob", "7 c")], 7).unwrap();
        assert_eq!(found.iter().map(|p| (p.at, p.id.as_str())).collect::<Vec<_>>(), [(0, "a"), (0, "b"), (7, "c")]);
        for wrong in ["8 a", "-1 a", "a", "", "1", "18446744073709551616 a"] {
            assert!(of(&[("blob", wrong)], 7).is_err(), "{wrong}");
        }
        of(&[("blob", "3 a"), ("blob", "2 b")], 7).unwrap_err();
        of(&[("blob", "0 a"); 17], 7).unwrap_err();
    }

    #[test]
    fn base64_is_measured_as_it_is_written() {
        for n in 0..10_u64 {
            let mut body = Vec::new();
            let place = &of(&[("blob-base64", "0 a")], 0).unwrap()[0];
            place.put(vec![7; usize::try_from(n).unwrap()], &mut body);
            assert_eq!(body.len() as u64, place.size(n));
        }
    }
}
