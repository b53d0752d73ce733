//! Tool calls of one answer: planned, checked, made, recorded.

use crate::arguments::nearest;
use crate::journal;
use crate::problem;
use crate::repeats::{REFUSED_AT, Repeat, STOPPED_AT};
use crate::rows::Entry;
use crate::turn::Turn;
use carapace_contract::completion::ToolChoice;
use carapace_contract::decision::{Authorized, Circumstances, Effect, Effects, PlannedCall, Verdict, authorize};
use carapace_contract::denial::Denial;
use carapace_contract::message::{Part, ToolCall, ToolResult};
use carapace_contract::ports::{ToolFailure, ToolOutput};
use carapace_contract::turn::{ToolInfo, TurnError, TurnEventKind};
use carapace_store::Batch;
use futures::StreamExt;
use futures::stream;
use serde_json::{Value, json};
use std::collections::{HashSet, VecDeque};
use tokio_util::sync::CancellationToken;

/// What is to happen with a call.
enum Plan {
    /// Nothing: this is the answer.
    Answer { content: String, denied: Option<Box<(PlannedCall, Denial)>> },
    /// It may be repeated, and runs beside its neighbours.
    Beside(Authorized<PlannedCall>),
    /// It changes something: alone, and recorded before and after.
    Alone(Authorized<PlannedCall>),
}

/// A call's answer on its way into the log.
struct Answer {
    result: ToolResult,
    beside: Vec<Part>,
    tainted: bool,
}

/// Characters of one result that are kept.
const LONGEST_RESULT: usize = 256 << 10;

/// What may not simply be done twice.
pub(crate) fn has_side_effects(effects: Effects) -> bool {
    [Effect::Write, Effect::Send, Effect::Execute].into_iter().any(|e| effects.has(e))
}

/// The call's id outside its turn: unique, and the same after a crash.
pub(crate) fn global_id(run: carapace_contract::Ulid, call: &str) -> String {
    format!("{run}.{call}")
}

impl Turn<'_> {
    /// Makes the calls that have no result yet, and appends their results in the order of the calls.
    pub(crate) async fn make_calls(&mut self, calls: Vec<ToolCall>, tainted: bool) -> Result<(), TurnError> {
        let catalog = self.agent.tools.catalog();
        let request = &self.job.request;
        let trusted_text = crate::context::trusted_text(&self.transcript, &request.history, request.origin, &catalog);
        let circumstances = Circumstances { trusted_text };
        let (answered, begun) = self.already();
        let mut queue: VecDeque<(ToolCall, Plan)> = VecDeque::new();
        for call in calls {
            let repeat = self.repeats.note(&call.name, &call.arguments);
            if answered.contains(&call.id) {
                continue;
            }
            let plan = if let Some(begun) = begun.iter().find(|b| b.call_id == global_id(self.job.run, &call.id)) {
                self.interrupted(&call, begun.clone()).await?;
                continue;
            } else {
                self.plan(&call, repeat, tainted, &catalog, &circumstances)?
            };
            queue.push_back((call, plan));
        }
        while let Some((call, plan)) = queue.pop_front() {
            match plan {
                Plan::Alone(authorized) => self.alone(call, authorized).await?,
                plan => {
                    let mut group = vec![(call, plan)];
                    while queue.front().is_some_and(|(_, p)| !matches!(p, Plan::Alone(_))) {
                        group.extend(queue.pop_front());
                    }
                    self.together(group).await?;
                }
            }
        }
        Ok(())
    }

    /// Ids of calls with a result, and calls with side effects that were begun in this run and have none.
    fn already(&self) -> (HashSet<String>, Vec<PlannedCall>) {
        let answered: HashSet<String> = self.transcript.current.results().keys().map(|id| (*id).to_owned()).collect();
        let begun = self.transcript.current.rows.iter().filter_map(|r| match &r.entry {
            Entry::ToolCall(call) => Some(call.clone()),
            _ => None,
        });
        let open = begun.filter(|b| !answered.iter().any(|id| global_id(self.job.run, id) == b.call_id)).collect();
        (answered, open)
    }

    fn plan(
        &self,
        call: &ToolCall,
        repeat: Repeat,
        tainted: bool,
        catalog: &[ToolInfo],
        circumstances: &Circumstances,
    ) -> Result<Plan, TurnError> {
        let answer = |content: String| Ok(Plan::Answer { content, denied: None });
        match repeat {
            Repeat::Stop => {
                return Err(problem::turn(
                    "E-TURN-009",
                    format!(
                        "the model called `{}` {STOPPED_AT} times in a row with the same arguments; \
                         the turn was stopped, ask again in other words or with another model",
                        call.name
                    ),
                    false,
                ));
            }
            Repeat::Refuse => {
                return answer(format!(
                    "`{}` was called {} times in a row with the same arguments, its result will not change; \
                     use what it answered, or do something else",
                    call.name,
                    REFUSED_AT - 1
                ));
            }
            Repeat::Fine => {}
        }
        if self.job.request.options.tool_choice == ToolChoice::None {
            return answer(format!("`{}` was not called: tools are off in this turn; answer without them", call.name));
        }
        let offered = || catalog.iter().filter(|t| t.is_for(self.job.request.place.as_ref()));
        let Some(tool) = offered().find(|t| t.name == call.name) else {
            let near = nearest(&call.name, offered().map(|t| t.name.as_str()));
            let hint = if near.is_empty() {
                "use one of the tools on offer".to_owned()
            } else {
                format!("did you mean {}?", near.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(" or "))
            };
            return answer(format!("there is no tool `{}`; {hint}", call.name.chars().take(80).collect::<String>()));
        };
        let arguments = match self.agent.schemas.check(tool, &call.arguments) {
            Ok(arguments) => arguments,
            Err(why) => return answer(why),
        };
        if self.repeats_an_interrupted(tool, &arguments) {
            return answer(format!(
                "`{}` was interrupted before with the same arguments and may already have happened; \
                 it is not done again within this turn. Say so, and let the owner decide",
                tool.name
            ));
        }
        let place = self.job.request.place.as_ref();
        let elsewhere = tool.acts_elsewhere(&arguments, place);
        let planned = PlannedCall {
            run: self.job.run,
            session: self.job.session.to_string(),
            call_id: global_id(self.job.run, &call.id),
            instance: tool.instance.clone(),
            digest: tool.digest,
            tool: tool.name.clone(),
            arguments,
            effects: tool.effects,
            origin: self.job.request.origin,
            tainted,
            place: place.cloned(),
            elsewhere,
        };
        Ok(match authorize(planned.clone(), circumstances) {
            Verdict::Allow(authorized) if has_side_effects(tool.effects) => Plan::Alone(authorized),
            Verdict::Allow(authorized) => Plan::Beside(authorized),
            Verdict::Ask(denial) | Verdict::Deny(denial) => {
                Plan::Answer { content: format!("denied: {denial}"), denied: Some(Box::new((planned, denial))) }
            }
        })
    }

    /// The model must not do by itself what the kernel refuses to do: repeat a call that may have happened.
    fn repeats_an_interrupted(&self, tool: &ToolInfo, arguments: &Value) -> bool {
        has_side_effects(tool.effects)
            && self.transcript.current.rows.iter().any(|r| match &r.entry {
                Entry::ToolCall(c) => {
                    c.tool == tool.name && c.arguments == *arguments && self.interrupted_calls.contains(&c.call_id)
                }
                _ => false,
            })
    }

    /// Calls that may be repeated: at once, answers in order, recorded together.
    async fn together(&mut self, group: Vec<(ToolCall, Plan)>) -> Result<(), TurnError> {
        for (call, plan) in &group {
            self.announce(call, plan).await;
        }
        let agent = self.agent;
        let stop = self.cancel.child_token();
        let _stop_on_drop = stop.clone().drop_guard();
        let most = usize::try_from(self.config.agent.max_parallel_calls).unwrap_or(1).max(1);
        let mut denials = Vec::new();
        let running: Vec<_> = group
            .into_iter()
            .map(|(call, plan)| {
                let stop = stop.child_token();
                let (content, authorized) = match plan {
                    Plan::Answer { content, denied } => {
                        denials.extend(denied);
                        (content, None)
                    }
                    Plan::Beside(authorized) | Plan::Alone(authorized) => (String::new(), Some(authorized)),
                };
                async move {
                    match authorized {
                        None => (refusal(&call, content), "refused"),
                        Some(authorized) => {
                            let outcome = agent.tools.call(&authorized, stop).await;
                            let word = word(&outcome);
                            (answer(&call, authorized.get().effects, outcome), word)
                        }
                    }
                }
            })
            .collect();
        let mut answers = stream::iter(running).buffered(most);
        let mut batch = Batch::relaxed();
        let now = self.agent.clock.now_ms();
        for denied in &denials {
            batch = self.job.audit_denial(batch, &denied.0, &denied.1, now);
        }
        while let Some((answer, outcome)) = answers.next().await {
            count(&agent.tools.catalog(), &answer.result.name, outcome);
            self.tell(&answer.result).await;
            let row = self.job.row(
                self.agent.clock.now_ms(),
                answer.tainted,
                Entry::ToolResult { result: answer.result, beside: answer.beside },
            );
            batch = self.job.append(batch, &row);
            self.transcript.current.rows.push(row);
        }
        self.agent.commit(batch).await
    }

    /// A call with side effects: on the disk before, on the disk after.
    async fn alone(&mut self, call: ToolCall, authorized: Authorized<PlannedCall>) -> Result<(), TurnError> {
        let planned = authorized.get().clone();
        let now = self.agent.clock.now_ms();
        let intent = self.job.row(now, false, Entry::ToolCall(planned.clone()));
        let batch = journal::call_begin(self.job.append(Batch::new(), &intent), &planned, now);
        self.open_call = Some((call.clone(), planned.clone()));
        self.agent.commit(batch).await?;
        self.transcript.current.rows.push(intent);
        self.announce_call(&call, &planned.arguments).await;

        let stop: CancellationToken = self.cancel.child_token();
        let _stop_on_drop = stop.clone().drop_guard();
        let outcome = self.agent.tools.call(&authorized, stop).await;
        count(&self.agent.tools.catalog(), &call.name, word(&outcome));

        let answer = answer(&call, planned.effects, outcome);
        let now = self.agent.clock.now_ms();
        let ended = json!({ "isError": answer.result.is_error });
        let entry = Entry::ToolResult { result: answer.result.clone(), beside: answer.beside };
        let row = self.job.row(now, answer.tainted, entry);
        let batch = self.job.append(Batch::new(), &row).call_end(planned.call_id, ended);
        // Once polled, a commit happens even if the turn is stopped meanwhile: from here on the outcome is known.
        self.open_call = None;
        self.agent.commit(batch).await?;
        self.transcript.current.rows.push(row);
        self.tell(&answer.result).await;
        Ok(())
    }

    /// A call that was begun before a crash and whose outcome nobody knows.
    async fn interrupted(&mut self, call: &ToolCall, planned: PlannedCall) -> Result<(), TurnError> {
        let result = interruption(call);
        let now = self.agent.clock.now_ms();
        let row = self.job.row(now, false, Entry::ToolResult { result: result.clone(), beside: Vec::new() });
        let batch = self.job.audit_interrupted(self.job.append(Batch::new(), &row), &planned, now);
        self.agent.commit(batch.call_end(planned.call_id.clone(), json!({ "interrupted": true }))).await?;
        self.transcript.current.rows.push(row);
        self.interrupted_calls.insert(planned.call_id.clone());
        self.announce_call(call, &planned.arguments).await;
        self.tell(&result).await;
        Ok(())
    }

    async fn announce(&mut self, call: &ToolCall, plan: &Plan) {
        match plan {
            Plan::Beside(a) | Plan::Alone(a) => {
                let arguments = a.get().arguments.clone();
                self.announce_call(call, &arguments).await;
            }
            Plan::Answer { .. } => {
                let shown = serde_json::from_str(&call.arguments).unwrap_or_else(|_| json!(call.arguments));
                self.announce_call(call, &shown).await;
            }
        }
    }

    async fn announce_call(&mut self, call: &ToolCall, arguments: &Value) {
        let arguments = arguments.clone();
        self.events
            .emit(TurnEventKind::ToolCall { call_id: call.id.clone(), name: call.name.clone(), arguments })
            .await;
    }

    async fn tell(&mut self, result: &ToolResult) {
        self.events
            .emit(TurnEventKind::ToolResult {
                call_id: result.call_id.clone(),
                name: result.name.clone(),
                content: result.content.clone(),
                is_error: result.is_error,
            })
            .await;
    }
}

/// What a model is told about a call whose outcome nobody knows.
pub(crate) fn interruption(call: &ToolCall) -> ToolResult {
    ToolResult {
        call_id: call.id.clone(),
        name: call.name.clone(),
        content: format!(
            "interrupted: the kernel stopped while `{}` ran; it may or may not have happened. \
             It will not be repeated by itself: check what can be checked, and tell the owner",
            call.name
        ),
        is_error: true,
    }
}

/// Whether a result is the kernel's own word for that.
pub(crate) fn is_interruption(result: &ToolResult) -> bool {
    let call = ToolCall { id: result.call_id.clone(), name: result.name.clone(), arguments: String::new() };
    *result == interruption(&call)
}

fn refusal(call: &ToolCall, content: String) -> Answer {
    let result = ToolResult { call_id: call.id.clone(), name: call.name.clone(), content, is_error: true };
    Answer { result, beside: Vec::new(), tainted: false }
}

fn answer(call: &ToolCall, effects: Effects, outcome: Result<ToolOutput, ToolFailure>) -> Answer {
    let from_outside = effects.has(Effect::Fetch);
    let (content, beside, is_error, tainted) = match outcome {
        Ok(output) => {
            let (content, beside) = flatten(output.content);
            (content, beside, false, output.tainted || from_outside)
        }
        // The text of a failure may hold what a server answered, or what a note says.
        Err(failure) => {
            let tainted = failure.tainted || from_outside;
            (format!("{}: {}", failure.kind, failure.message), Vec::new(), true, tainted)
        }
    };
    let mut result = ToolResult { call_id: call.id.clone(), name: call.name.clone(), content, is_error };
    crate::context::cut(&mut result.content, LONGEST_RESULT);
    Answer { result, beside, tainted }
}

/// Text and structured content in words; images and files beside it.
fn flatten(parts: Vec<Part>) -> (String, Vec<Part>) {
    let (mut words, mut beside) = (Vec::new(), Vec::new());
    for part in parts {
        match part {
            Part::Text { text } => words.push(text),
            Part::Other { name, value } if name == "structured" => words.push(value),
            Part::Other { name, value } => words.push(format!("[{name}: {value}]")),
            Part::Media(media) => {
                words.push(format!("[{}: it goes along with the answer, where files can be shown]", media.in_words()));
                beside.push(Part::Media(media));
            }
            // No tool answers these: an image or a file of one is media by now.
            Part::Image { .. } | Part::Reasoning { .. } | Part::ToolCall(_) | Part::ToolResult(_) => {}
        }
    }
    (words.join("\n"), beside)
}

fn word(outcome: &Result<ToolOutput, ToolFailure>) -> &'static str {
    if outcome.is_ok() { "ok" } else { "failed" }
}

/// Only known names become labels: a model can invent any number of others.
fn count(catalog: &[ToolInfo], tool: &str, outcome: &'static str) {
    let tool = if catalog.iter().any(|t| t.name == tool) { tool.to_owned() } else { "unknown".to_owned() };
    metrics::counter!("carapace_tool_calls_total", "tool" => tool, "outcome" => outcome).increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use carapace_contract::media::Media;

    #[test]
    fn a_model_reads_what_a_file_is_and_not_its_bytes() {
        let name = Some("a.pdf".to_owned());
        let file = Media { id: "0".into(), size: 4, mime: "application/pdf".into(), pixels: None, name };
        let (words, beside) = flatten(vec![Part::text("here:"), Part::Media(file.clone())]);
        assert_eq!(
            words,
            "here:\n[a.pdf (application/pdf, 4 bytes): it goes along with the answer, where files can be shown]"
        );
        assert_eq!(beside, [Part::Media(file)]);
    }
}
