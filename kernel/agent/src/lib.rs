//! A turn: context, provider, checkpoint, tool, reply; budgets, approvals, taint.
