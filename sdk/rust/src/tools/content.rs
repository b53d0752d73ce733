//! What a tool gives back.

use super::{Content, File, Image, ToolError};
use serde::Serialize;

/// What a tool's function may return: text (`String`, `&str`), an [`Image`], a [`File`], [`Structured`] data, any [`Content`], or
/// several of them.
pub trait IntoContent {
    /// The parts, in order.
    ///
    /// # Errors
    /// The value cannot be written as JSON.
    fn into_content(self) -> Result<Vec<Content>, ToolError>;
}

/// A value that is given to the model as JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Structured<T>(pub T);

impl<T: Serialize> IntoContent for Structured<T> {
    fn into_content(self) -> Result<Vec<Content>, ToolError> {
        let json = serde_json::to_string(&self.0)
            .map_err(|e| ToolError::Failed(format!("the result cannot be written as JSON: {e}")))?;
        Ok(vec![Content::Structured(json)])
    }
}

impl IntoContent for String {
    fn into_content(self) -> Result<Vec<Content>, ToolError> {
        Ok(vec![Content::Text(self)])
    }
}

impl IntoContent for &str {
    fn into_content(self) -> Result<Vec<Content>, ToolError> {
        Ok(vec![Content::Text(self.to_owned())])
    }
}

impl IntoContent for Image {
    fn into_content(self) -> Result<Vec<Content>, ToolError> {
        Ok(vec![Content::Image(self)])
    }
}

impl IntoContent for File {
    fn into_content(self) -> Result<Vec<Content>, ToolError> {
        Ok(vec![Content::File(self)])
    }
}

impl IntoContent for Content {
    fn into_content(self) -> Result<Vec<Content>, ToolError> {
        Ok(vec![self])
    }
}

impl<T: IntoContent> IntoContent for Vec<T> {
    fn into_content(self) -> Result<Vec<Content>, ToolError> {
        let mut all = Vec::with_capacity(self.len());
        for part in self {
            all.extend(part.into_content()?);
        }
        Ok(all)
    }
}
