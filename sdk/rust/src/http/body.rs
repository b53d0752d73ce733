//! Bodies that hold files: the kernel puts the bytes of a [blob](crate::blob) in its place, so that a file never passes through here.

/// A body of pieces. Blobs in it need `[blob]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "a body does nothing until it is sent"]
pub struct Body {
    pub(super) bytes: Vec<u8>,
    /// Where a blob goes: `blob` or `blob-base64`, offset and id.
    pub(super) blobs: Vec<(String, String)>,
}

impl Body {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes, or text.
    pub fn bytes(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.bytes.extend_from_slice(bytes.as_ref());
        self
    }

    /// The bytes of a blob.
    pub fn blob(self, id: &str) -> Self {
        self.placed("blob", id)
    }

    /// The bytes of a blob in base64 (standard, padded): within a string of JSON, for instance.
    pub fn base64(self, id: &str) -> Self {
        self.placed("blob-base64", id)
    }

    fn placed(mut self, how: &str, id: &str) -> Self {
        self.blobs.push((how.to_owned(), format!("{} {id}", self.bytes.len())));
        self
    }
}

/// A form of text and files: `multipart/form-data` (RFC 7578).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "a form does nothing until it is sent"]
pub struct Form {
    fields: Vec<Field>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    name: String,
    value: Value,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Text(String),
    File { blob: String, name: String, mime: String },
}

impl Form {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A text.
    pub fn text(self, name: &str, value: impl Into<String>) -> Self {
        self.field(name, Value::Text(value.into()))
    }

    /// A file: a blob, what it is called, and its media type. See [`channel::File`](crate::channel::File).
    pub fn file(self, name: &str, blob: &str, file_name: &str, mime: &str) -> Self {
        self.field(name, Value::File { blob: blob.to_owned(), name: file_name.to_owned(), mime: mime.to_owned() })
    }

    fn field(mut self, name: &str, value: Value) -> Self {
        self.fields.push(Field { name: name.to_owned(), value });
        self
    }

    /// Stands in none of the parts: not in a text, and in no file, for none holds a part of its own SHA-256 by chance.
    fn boundary(&self) -> String {
        let blobs = self.fields.iter().filter_map(|f| match &f.value {
            Value::File { blob, .. } => blob.get(..12),
            Value::Text(_) => None,
        });
        let mut boundary: String = std::iter::once("form-").chain(blobs.take(4)).collect();
        let held = |boundary: &str| {
            self.fields.iter().any(|f| matches!(&f.value, Value::Text(text) if text.contains(boundary)))
        };
        while held(&boundary) {
            boundary.push('x');
        }
        boundary
    }

    /// The content type, and the body.
    pub(super) fn into_body(self) -> (String, Body) {
        let boundary = self.boundary();
        let mut body = Body::new();
        for Field { name, value } in self.fields {
            body = body.bytes(format!("--{boundary}\r\ncontent-disposition: form-data; name=\"{}\"", quoted(&name)));
            body = match value {
                Value::Text(text) => body.bytes("\r\n\r\n").bytes(text),
                Value::File { blob, name, mime } => {
                    let mime: String = mime.chars().filter(|c| !c.is_control()).collect();
                    let head = format!("; filename=\"{}\"\r\ncontent-type: {mime}\r\n\r\n", quoted(&name));
                    body.bytes(head).blob(&blob)
                }
            };
            body = body.bytes("\r\n");
        }
        (format!("multipart/form-data; boundary={boundary}"), body.bytes(format!("--{boundary}--\r\n")))
    }
}

/// As in the HTML standard: what would end the value is percent-encoded.
fn quoted(name: &str) -> String {
    name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_written_as_the_rfc_says_with_blobs_in_their_places() {
        let id = "0123456789abcdef";
        let form = Form::new().text("chat", "7").file("photo", id, "a\"\r\n.png", "image/png");
        let (kind, body) = form.into_body();
        assert_eq!(kind, "multipart/form-data; boundary=form-0123456789ab");
        let text = String::from_utf8(body.bytes).unwrap();
        assert_eq!(
            text,
            "--form-0123456789ab\r\ncontent-disposition: form-data; name=\"chat\"\r\n\r\n7\r\n\
             --form-0123456789ab\r\ncontent-disposition: form-data; name=\"photo\"; filename=\"a%22%0D%0A.png\"\r\n\
             content-type: image/png\r\n\r\n\r\n--form-0123456789ab--\r\n"
        );
        let at = text.find("image/png\r\n\r\n").unwrap() + "image/png\r\n\r\n".len();
        assert_eq!(body.blobs, [("blob".to_owned(), format!("{at} {id}"))]);
    }

    #[test]
    fn no_text_ends_a_form() {
        let form = Form::new().text("a", "--form-\r\n").text("b", "form-x");
        assert_eq!(form.into_body().0, "multipart/form-data; boundary=form-xx");
    }
}
