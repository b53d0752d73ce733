//! The form of a request that is left when a server has refused parts of it by name.

use crate::options::{Cache, Options, Thinking};
use crate::rules::{Rules, Sampling};
use carapace_provider_wire::failure::refuses;
use carapace_sdk::provider::{Request, ToolChoice};

/// What the body may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) sampling: Sampling,
    /// What is said about thinking.
    pub(crate) thinking: Option<Thinking>,
    /// How much of it is shown.
    pub(crate) display: Option<&'static str>,
    /// The model's earlier thoughts go back to it.
    pub(crate) thoughts: bool,
    pub(crate) effort: Option<&'static str>,
    pub(crate) cache: Cache,
    /// The answer's schema goes out as such; else as a tool that must be called.
    pub(crate) schema: bool,
}

impl Shape {
    /// What is sent first.
    pub(crate) fn first(request: &Request, options: &Options, model: &str) -> Self {
        let rules = Rules::of(model);
        let forced = matches!(request.tool_choice, ToolChoice::Required | ToolChoice::Named(_));
        Self {
            sampling: rules.sampling,
            // A model that must call a tool may not think before; nor may one that is made to answer by a tool.
            thinking: options.thinking.filter(|_| !(forced || (request.json_schema.is_some() && !rules.schema))),
            display: options.display,
            thoughts: true,
            effort: options.effort,
            cache: options.cache,
            schema: rules.schema,
        }
    }

    /// Whether the model is told to think.
    pub(crate) fn thinks(self) -> bool {
        matches!(self.thinking, Some(Thinking::Adaptive | Thinking::Budget(_)))
    }

    /// The next shape after a refusal, and what to note; none if the trouble is another.
    pub(crate) fn after(self, refusal: &str, request: &Request) -> Option<(Self, &'static str)> {
        let text = refusal.to_ascii_lowercase();
        let samples = request.temperature.is_some() || request.top_p.is_some();
        if samples && self.sampling != Sampling::None && !self.thinks() {
            if self.sampling == Sampling::Both && text.contains("temperature") && text.contains("top_p") {
                return Some((
                    Self { sampling: Sampling::One, ..self },
                    "the model takes one of `temperature` and `top_p`; asking again with one",
                ));
            }
            if refuses(&text, "temperature") || refuses(&text, "top_p") {
                return Some((
                    Self { sampling: Sampling::None, ..self },
                    "the model takes neither `temperature` nor `top_p`; asking again without",
                ));
            }
        }
        // Changed since, another model's, or not there where the server wants it. All go: a gap is refused as well.
        let about_thoughts = text.contains("`signature`")
            || text.contains("thinking` block")
            || text.contains("thinking block")
            || text.contains("expected `thinking`");
        if about_thoughts && self.thoughts {
            let thinking = self.thinking.filter(|t| !matches!(t, Thinking::Budget(_)));
            return Some((
                Self { thoughts: false, thinking, ..self },
                "the server does not take the model's earlier thoughts back; asking again without them",
            ));
        }
        if self.display.is_some() && refuses(&text, "display") {
            return Some((
                Self { display: None, ..self },
                "the model knows no `thinkingDisplay`; asking again without",
            ));
        }
        if let Some(thinking) = self.thinking
            && refuses(&text, "thinking")
        {
            let other = match thinking {
                Thinking::Budget(_) if text.contains("adaptive") => Some(Thinking::Adaptive),
                _ => None,
            };
            return Some((
                Self { thinking: other, ..self },
                "the model does not take this `thinking`; asking again with what it takes",
            ));
        }
        if self.effort.is_some() && refuses(&text, "effort") {
            return Some((Self { effort: None, ..self }, "the model knows no `effort`; asking again without"));
        }
        if self.schema && request.json_schema.is_some() && request.tools.is_empty() && refuses(&text, "output") {
            return Some((
                Self { schema: false, thinking: None, ..self },
                "the model follows no schema by itself; asking again for the answer as a tool's arguments",
            ));
        }
        if self.cache != Cache::Off && refuses(&text, "cache_control") {
            return Some((
                Self { cache: Cache::Off, ..self },
                "the server knows no `cache_control`; asking again without",
            ));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use carapace_provider_wire::testing::question;

    fn after(section: &str, model: &str, refusal: &str, change: impl FnOnce(&mut Request)) -> Option<Shape> {
        let mut request = question();
        change(&mut request);
        let options = Options::parse(section).unwrap();
        Shape::first(&request, &options, model).after(refusal, &request).map(|(shape, _)| shape)
    }

    #[test]
    fn what_is_refused_by_name_is_left_out() {
        let warm = |r: &mut Request| (r.temperature, r.top_p) = (Some(0.5), Some(0.9));
        let both = "`temperature` and `top_p` cannot both be specified for this model. Please use only one.";
        assert_eq!(after("{}", "own", both, warm).unwrap().sampling, Sampling::One);
        let gone = "`temperature` is deprecated for this model.";
        assert_eq!(after("{}", "claude-opus-4-6", gone, warm).unwrap().sampling, Sampling::None);
        assert_eq!(after("{}", "claude-opus-4-6", "temperature: must be at most 1", warm), None);

        let manual = "\"thinking.type.enabled\" is not supported for this model. Use \"thinking.type.adaptive\" and \"output_config.effort\" to control thinking behavior.";
        assert_eq!(after(r#"{"thinking":2000}"#, "m", manual, |_| {}).unwrap().thinking, Some(Thinking::Adaptive));
        let always = "\"thinking.type.disabled\" is not supported for this model. Use \"thinking.type.adaptive\" and \"output_config.effort\" to control thinking behavior.";
        assert_eq!(after(r#"{"thinking":"off","effort":"low"}"#, "m", always, |_| {}).unwrap().thinking, None);
        assert_eq!(after("{}", "m", always, |_| {}), None, "nothing was said about it");

        let bound = "messages.1.content.0: Invalid `signature` in `thinking` block. The block is bound to a different conversation.";
        let shape = after(r#"{"thinking":2000}"#, "m", bound, |_| {}).unwrap();
        assert_eq!((shape.thoughts, shape.thinking), (false, None));
        assert!(!after(r#"{"thinking":"adaptive"}"#, "m", bound, |_| {}).unwrap().thoughts);

        let effort = "This model does not support the effort parameter.";
        assert_eq!(after(r#"{"effort":"max"}"#, "m", effort, |_| {}).unwrap().effort, None);
        let cache = "system.0.cache_control: Extra inputs are not permitted";
        assert_eq!(after("{}", "m", cache, |_| {}).unwrap().cache, Cache::Off);
        let display = "thinking.adaptive.display: Extra inputs are not permitted";
        let section = r#"{"thinking":"adaptive","thinkingDisplay":"omitted"}"#;
        let shape = after(section, "m", display, |_| {}).unwrap();
        assert_eq!((shape.display, shape.thinking), (None, Some(Thinking::Adaptive)));
        let schema = |r: &mut Request| r.json_schema = Some("{}".into());
        let format = "output_config.format: Extra inputs are not permitted";
        assert!(!after("{}", "claude-opus-4-5", format, schema).unwrap().schema);
    }

    #[test]
    fn who_must_call_a_tool_does_not_think_before() {
        let options = Options::parse(r#"{"thinking":2000}"#).unwrap();
        let first = |change: &dyn Fn(&mut Request)| {
            let mut request = question();
            change(&mut request);
            Shape::first(&request, &options, "claude-sonnet-4-0")
        };
        assert!(first(&|_| {}).thinks());
        assert!(!first(&|r| r.tool_choice = ToolChoice::Required).thinks());
        assert!(!first(&|r| r.json_schema = Some("{}".into())).thinks());
    }
}
