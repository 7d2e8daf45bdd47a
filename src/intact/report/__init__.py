"""A result as files: result.json, result.md, plan.json. Reports read figures, never models."""
