//! What clients connect to: WebSocket, HTTP, the OpenAI-compatible API, health, metrics and the page.
