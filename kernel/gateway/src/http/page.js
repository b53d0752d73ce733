"use strict";
const $ = (id) => document.getElementById(id);
const row = (...cells) => {
  const tr = document.createElement("tr");
  for (const text of cells) tr.appendChild(document.createElement("td")).textContent = text;
  return tr;
};
$("form").hidden = false;
$("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  $("message").textContent = "Asking…";
  $("details").hidden = true;
  try {
    const answer = await fetch("/api/status", { headers: { Authorization: "Bearer " + $("token").value.trim() } });
    const body = await answer.json();
    if (!answer.ok) throw new Error(body.error.message);
    $("badge").textContent = body.ready ? "ready" : "not ready";
    $("badge").className = "badge " + (body.ready ? "ready" : "waiting");
    $("message").textContent = body.notReady.join("; ");
    $("route").textContent = body.route.join(" → ") || "none configured";
    $("instances").replaceChildren(...body.instances.map((i) => row(i.instance, i.version, i.kinds.join(", "), i.state, i.meter.calls)));
    $("models").replaceChildren(...body.models.map((m) => Object.assign(document.createElement("li"), { textContent: m.id })));
    $("tools").replaceChildren(...body.tools.map((t) => row(t.name, t.instance, t.effects.join(", ") || "none")));
    $("details").hidden = false;
  } catch (error) {
    $("message").textContent = error.message;
  }
});
